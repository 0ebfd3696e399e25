"""A single series from a CSV file: `timestamp,value`, plain or gzip, local time as written."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from wire.block import FloatArray
from wire.errors import ModelError

_HEADER = ["timestamp", "value"]
# Only in a file of results: of ours, or of the benchmark's own.
_RESULT = "anomaly_score"
# Local clocks are set back by an hour each autumn (and NAB's machine temperature holds a step of 55 minutes); a longer
# step back is a file whose rows are not in order.
_SET_BACK = timedelta(hours=1)


class NoSeries(ModelError):
    """A CSV file with something else in it."""


@dataclass(frozen=True)
class Series:
    """name: the path below the folder, with / and ending in .csv. stamps: as written.

    values: shape (n_rows,), NaN where the cell is empty. clocks: shape (n_rows, 2), second of the local day and weekday
    (0 is Monday). period_s: the usual step. set_back: how often the clock was set back.
    """

    name: str
    path: Path
    stamps: tuple[str, ...]
    values: FloatArray
    clocks: FloatArray
    period_s: float
    set_back: int


def find(folder: Path) -> dict[str, Path]:
    """Every .csv and .csv.gz below the folder: name -> file, sorted. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.csv")) + sorted(folder.rglob("*.csv.gz")):
        name = path.relative_to(folder).as_posix().removesuffix(".gz")
        if not path.is_file() or any(part.startswith((".", "__")) for part in name.split("/")):
            continue  # what programs leave behind: .ipynb_checkpoints, __MACOSX, ._1.csv
        if name in found:
            raise ModelError(f"{path}: {found[name].name} lies beside it: which of the two is meant? Remove one")
        found[name] = path
    if not found:
        raise ModelError(f"{folder}: no .csv and no .csv.gz in it or below it")
    return dict(sorted(found.items()))


def read(name: str, path: Path) -> Series:
    """Raises ModelError, with the line, for what is not `timestamp,value` in the order of time, NoSeries for a table of
    something else."""
    stamps: list[str] = []
    times: list[datetime] = []
    values: list[float] = []
    set_back = 0
    reader = csv.reader(io.StringIO(_text(path)))
    header = [cell.strip() for cell in next(reader, [])]
    if not set(_HEADER) & set(header):
        raise NoSeries(f"{path}:1: the header must be {','.join(_HEADER)} (got {','.join(header)[:80]!r})")
    if not set(_HEADER) <= set(header) or _RESULT in header:
        raise ModelError(f"{path}:1: the header must be {','.join(_HEADER)} (got {','.join(header)[:80]!r})")
    stamp_at, value_at = (header.index(name) for name in _HEADER)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}:{reader.line_num}"
        if len(cells) != len(header):
            raise ModelError(f"{where}: {len(cells)} cells instead of {len(header)}")
        stamp, cell = cells[stamp_at], cells[value_at].strip()
        try:
            time = datetime.fromisoformat(stamp.strip())
            value = float(cell) if cell else math.nan
        except ValueError as fault:
            raise ModelError(f"{where}: must be a time like 2014-04-01 00:05:00 and a number ({fault})") from fault
        if (time.tzinfo is None) != (not times or times[0].tzinfo is None):
            raise ModelError(f"{where}: times with and without a zone in one file")
        if times and time < times[-1]:
            if times[-1] - time > _SET_BACK:
                raise ModelError(
                    f"{where}: {stamp} comes after {stamps[-1]}: the rows must be in the order of time "
                    "(only a clock set back by at most an hour is let pass)"
                )
            set_back += 1
        stamps.append(stamp)
        times.append(time)
        values.append(value if math.isfinite(value) else math.nan)
    if not times:
        raise ModelError(f"{path}: no rows")
    clocks = [(float(at.hour * 3600 + at.minute * 60 + at.second), float(at.weekday())) for at in times]
    steps = np.diff([at.timestamp() for at in times])
    period_s = float(np.median(steps)) if len(steps) else 0.0
    return Series(name, path, tuple(stamps), np.array(values), np.array(clocks), period_s, set_back)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as fault:
        raise ModelError(f"{path}: cannot be read: {fault}") from fault
    except UnicodeDecodeError as fault:
        raise ModelError(f"{path}: not a CSV file in UTF-8 (byte {fault.start})") from fault
