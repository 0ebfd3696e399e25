"""Where normal operation is read from: a CSV file, Parquet, or a running host."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from models.history import Asked, History, read_csv
from models.settings import Settings
from wire.errors import ModelError


def read(asked: Asked, settings: Settings, told: Callable[[str, float], None] = lambda step, part: None) -> History:
    """The history of the settings' inputs. Raises ModelError."""
    columns, where = [each.name for each in settings.inputs], settings.only_where
    if asked.data.startswith(("http://", "https://")):
        if not (asked.asset and asked.from_):
            raise ModelError(f"--data {asked.data}: a host needs --asset and --from (and --to, where now is too late)")
        from models.from_store import read_store

        begin = _epoch_ms(asked.from_, settings.time_zone, "--from")
        end = _epoch_ms(asked.to, settings.time_zone, "--to") if asked.to else int(datetime.now(UTC).timestamp() * 1000)
        if end <= begin:
            raise ModelError(f"--to {asked.to or 'now'} must come after --from {asked.from_}")
        return read_store(
            asked.data, asked.asset, columns, where, settings.period_s, settings.hold_s, begin, end, told
        )  # fmt: skip
    if asked.from_ or asked.to:
        raise ModelError("--from and --to are for a host (--data http://...): cut a file before")
    path = Path(asked.data)
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        from models.parquet import read_parquet

        return read_parquet(
            path, settings.time_column, columns, where, settings.period_s, settings.hold_s, asked.asset
        )  # fmt: skip
    if asked.asset:
        raise ModelError("--asset is for a host, or for Parquet with a column asset")
    return read_csv(path, settings.time_column, columns, where)


def _epoch_ms(text: str, zone: str, option: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as fault:
        raise ModelError(f"{option} {text}: must be a time such as 2026-01-30 or 2026-01-30T08:00:00+01:00") from fault
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone) if zone else UTC)
    return int(moment.timestamp() * 1000)
