"""Rows for training and scoring from a CSV file: the named columns, split where rows are missing."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from wire.block import FloatArray
from wire.errors import ModelError

# A step longer than this many periods is a gap: no smoothing across it.
_GAP_PERIODS = 1.5
# The data's usual step may differ from the stated period by this part.
_PERIOD_TOLERANCE = 0.1


class Asked(NamedTuple):
    """Which data a person asks for. data: a path or a URL. asset: of a host, or of a table of several."""

    data: str
    asset: str = ""
    from_: str = ""
    to: str = ""


@dataclass(frozen=True)
class History:
    """times: as written, one a row. seconds: shape (n_rows,), rising. rows: shape (n_rows, n_columns), NaN where empty.

    sha256: of the file's bytes.
    """

    times: tuple[str, ...]
    seconds: FloatArray
    rows: FloatArray
    sha256: str

    def pieces(self, period_s: float) -> list[FloatArray]:
        """Contiguous stretches of complete rows."""
        return [self.rows[piece] for piece in self.stretches(period_s)]

    def stretches(self, period_s: float) -> list[NDArray[np.int64]]:
        """The numbers of the rows of each piece."""
        whole = np.flatnonzero(~np.isnan(self.rows).any(axis=1))
        if not whole.size:
            return []
        near = np.diff(self.seconds[whole]) <= _GAP_PERIODS * period_s
        cuts = np.flatnonzero(~(near & (np.diff(whole) == 1))) + 1
        return list(np.split(whole, cuts))

    def clocks(self, zone: str) -> FloatArray:
        """Second of the local day and weekday (0 is Monday) of each row: shape (n_rows, 2). zone: '' as written."""
        local = ZoneInfo(zone) if zone else UTC
        moments = [datetime.fromtimestamp(second, local) for second in self.seconds]
        return np.array([(m.hour * 3600 + m.minute * 60 + m.second, m.weekday()) for m in moments], float)


def read_csv(path: Path, time_column: str, columns: Sequence[str], only_where: str = "") -> History:
    """only_where: a column of 1 and 0 (or true and false); rows without 1 there count as empty ('' takes all rows).

    Raises ModelError for a missing file or column, a word where a number should be, or times that step back.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as fault:
        raise ModelError(f"{path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ModelError(f"{path}: not a CSV file in UTF-8 (byte {fault.start})") from fault
    reader = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(reader, [])]
    wanted = [time_column, *columns, *([only_where] if only_where else [])]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise ModelError(
            f"{path}:1: no column {', '.join(map(repr, missing))}; the file has: {', '.join(header) or 'nothing'}"
        )
    at = [header.index(name) for name in columns]
    time_at = header.index(time_column)
    where_at = header.index(only_where) if only_where else -1
    times: list[str] = []
    seconds: list[float] = []
    rows: list[list[float]] = []
    for cells in reader:
        if not any(cells):
            continue
        where = f"{path}:{reader.line_num}"
        if len(cells) != len(header):
            raise ModelError(f"{where}: {len(cells)} columns, the header has {len(header)}")
        times.append(cells[time_at])
        seconds.append(_seconds(cells[time_at], f"{where}: {time_column}"))
        if len(seconds) > 1 and seconds[-1] <= seconds[-2]:
            raise ModelError(
                f"{where}: {time_column}: {times[-1]} does not come after {times[-2]}; sort the rows by time"
            )
        taken = where_at < 0 or _truth(cells[where_at], f"{where}: {only_where}")
        rows.append([_number(cells[i], f"{where}: {header[i]}") if taken else math.nan for i in at])
    if not rows:
        raise ModelError(f"{path}: a header, but no rows")
    return History(tuple(times), np.array(seconds), np.array(rows), hashlib.sha256(content).hexdigest())


def check_period(history: History, period_s: float, path: Path | str) -> None:
    """Raises ModelError when the rows are not sampled as stated."""
    step_s = float(np.median(np.diff(history.seconds))) if len(history.seconds) > 1 else period_s
    if abs(step_s - period_s) > _PERIOD_TOLERANCE * period_s:
        raise ModelError(f"{path}: its rows are {step_s:.6g} s apart, the model is for rows every {period_s:.6g} s")


def _seconds(cell: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        try:
            moment = datetime.fromisoformat(cell)
            # A time without a zone is taken as UTC: only differences count, and no hour comes twice.
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError as fault:
            raise ModelError(
                f"{where}: neither seconds nor a time such as 2014-01-30 00:00:00 (got {cell!r})"
            ) from fault
    if not math.isfinite(number):
        raise ModelError(f"{where}: must be a time (got {cell!r})")
    return number


def _number(cell: str, where: str) -> float:
    """NaN for an empty cell; infinity counts as no value."""
    if not cell.strip():
        return math.nan
    try:
        number = float(cell)
    except ValueError as fault:
        raise ModelError(f"{where}: must be a number or empty (got {cell!r})") from fault
    return number if math.isfinite(number) else math.nan


def _truth(cell: str, where: str) -> bool:
    word = cell.strip().lower()
    if word not in ("1", "true", "0", "false", ""):
        raise ModelError(f"{where}: must be 1 or 0, true or false (got {cell!r})")
    return word in ("1", "true")
