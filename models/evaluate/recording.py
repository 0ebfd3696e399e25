"""A benchmark's recording: a CSV file with semicolons, packed or not."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wire.block import FloatArray
from wire.errors import ModelError

_TIME, _LABEL = "datetime", "anomaly"


@dataclass(frozen=True)
class Recording:
    """name: path below the folder, without .gz. times: as written. rows: shape (n, columns), NaN where a cell is empty.

    period_s: the usual step. sha256: of the file's bytes. labels: 0 and 1, for counting only, or None.
    """

    name: str
    times: tuple[str, ...]
    rows: FloatArray
    period_s: float
    sha256: str
    labels: NDArray[np.int64] | None

    def without_first(self, rows: int) -> Recording:
        labels = None if self.labels is None else self.labels[rows:]
        return Recording(self.name, self.times[rows:], self.rows[rows:], self.period_s, self.sha256, labels)


def names_of(folder: Path) -> list[str]:
    """The CSV files below a folder, .gz or not, that look like recordings. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"--data {folder}: there is no such folder")
    files = [file for file in sorted(folder.rglob("*")) if file.name.endswith((".csv", ".csv.gz"))]
    names = [file.relative_to(folder).as_posix() for file in files if file.parent != folder]
    if not names:
        raise ModelError(f"--data {folder}: no group/n.csv or group/n.csv.gz in it")
    return names


def read(folder: Path, name: str, columns: Iterable[str]) -> Recording:
    """Raises ModelError for a file that cannot be read, with the line and column."""
    path = folder / name
    try:
        packed = path.read_bytes()
        text = (gzip.decompress(packed) if name.endswith(".gz") else packed).decode("utf-8-sig")
    except (OSError, EOFError) as fault:
        raise ModelError(f"{path}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault
    except UnicodeDecodeError as fault:
        raise ModelError(f"{path}: not a CSV file in UTF-8 (byte {fault.start})") from fault
    reader = csv.reader(io.StringIO(text), delimiter=";")
    header = [cell.strip() for cell in next(reader, [])]
    wanted = [_TIME, *columns]
    missing = [column for column in wanted if column not in header]
    if missing:
        raise ModelError(
            f"{path}:1: no column {', '.join(map(repr, missing))}; the file has: {', '.join(header) or 'nothing'} "
            "(cells must be separated by semicolons)"
        )
    at = [header.index(column) for column in columns]
    label_at = header.index(_LABEL) if _LABEL in header else -1
    times: list[str] = []
    rows: list[list[float]] = []
    labels: list[int] = []
    for cells in reader:
        if not any(cells):
            continue
        where = f"{path}:{reader.line_num}"
        if len(cells) != len(header):
            raise ModelError(f"{where}: {len(cells)} columns, the header has {len(header)}")
        times.append(cells[header.index(_TIME)])
        rows.append([_number(cells[i], f"{where}: {header[i]}") for i in at])
        if label_at >= 0:
            labels.append(int(_number(cells[label_at], f"{where}: {_LABEL}")))
    values = np.array(rows, np.float64).reshape(len(rows), len(at))
    period_s, sha256 = _period_s(times, path), hashlib.sha256(packed).hexdigest()
    truth = np.array(labels) if labels else None
    return Recording(name.removesuffix(".gz"), tuple(times), values, period_s, sha256, truth)


def _number(cell: str, where: str) -> float:
    """NaN for an empty cell. Raises ModelError."""
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError as fault:
        raise ModelError(f"{where}: must be a number or empty (got {cell!r})") from fault


def _period_s(times: list[str], path: Path) -> float:
    """The median step, for the description's sake; 1 s where two rows do not tell one."""
    try:
        seconds = [datetime.fromisoformat(each).timestamp() for each in times[:1000]]
    except ValueError as fault:
        raise ModelError(f"{path}: {_TIME}: must be a time such as 2020-03-09 10:14:33 ({fault})") from fault
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0
    return step if step > 0.0 else 1.0
