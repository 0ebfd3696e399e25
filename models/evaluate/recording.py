"""A benchmark's recording: a CSV file with semicolons, packed or not."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wire.block import FloatArray
from wire.errors import ModelError

_TIME, _LABEL = "datetime", "anomaly"
_EMPTY = frozenset({"", "na", "n/a", "null", "none"})


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


def names_of(folder: Path, out: Path) -> tuple[list[str], list[str]]:
    """(the recordings below a folder, .csv or .csv.gz; other CSV files there). Raises ModelError.

    A recording has a column `datetime`; a table of results or a list of labels that lies beside has not. out: what is
    below it was written by us.
    """
    if not folder.is_dir():
        raise ModelError(f"--data {folder}: there is no such folder")
    names: dict[str, str] = {}
    others: list[str] = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not name.endswith((".csv", ".csv.gz")) or not file.is_file() or _hidden(name) or out in file.parents:
            continue
        if _TIME not in _cells(_text(file)[0].partition("\n")[0])[0]:
            others.append(name)
        elif (twin := names.setdefault(name.removesuffix(".gz"), name)) != name:
            raise ModelError(f"{file}: {twin} lies beside it: which of the two is meant? Remove one")
    if not names:
        raise ModelError(
            f"--data {folder}: no group/n.csv or group/n.csv.gz with a column {_TIME} in it"
            + (f" (not so: {', '.join(others[:5])})" if others else "")
        )
    return list(names.values()), others


def _hidden(name: str) -> bool:
    """What programs leave behind: .ipynb_checkpoints, __MACOSX, ._1.csv."""
    return any(part.startswith((".", "__")) for part in name.split("/"))


def _text(path: Path) -> tuple[str, bytes]:
    """(the text, the file's bytes). Raises ModelError."""
    try:
        packed = path.read_bytes()
        return (gzip.decompress(packed) if path.name.endswith(".gz") else packed).decode("utf-8-sig"), packed
    except (OSError, EOFError, zlib.error) as fault:
        raise ModelError(f"{path}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault
    except UnicodeDecodeError as fault:
        raise ModelError(f"{path}: not a CSV file in UTF-8 (byte {fault.start})") from fault


def _cells(header: str) -> tuple[list[str], str]:
    """(the header's cells, what separates them): semicolons, as published, or what a program made of them."""
    separator = next((each for each in ";\t," if each in header), ";")
    return [cell.strip() for cell in next(csv.reader([header], delimiter=separator), [])], separator


def read(folder: Path, name: str, columns: Iterable[str]) -> Recording:
    """Raises ModelError for a file that cannot be read, with the line and column."""
    path = folder / name
    text, packed = _text(path)
    header, separator = _cells(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    next(reader, None)
    wanted = [_TIME, *columns]
    missing = [column for column in wanted if column not in header]
    if missing:
        raise ModelError(
            f"{path}:1: no column {', '.join(map(repr, missing))}; the file has: {', '.join(header) or 'nothing'} "
            "(cells must be separated by semicolons, commas or tabs)"
        )
    at = [header.index(column) for column in columns]
    label_at = header.index(_LABEL) if _LABEL in header else -1
    times: list[str] = []
    rows: list[list[float]] = []
    labels: list[float] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}:{reader.line_num}"
        if len(cells) != len(header):
            raise ModelError(f"{where}: {len(cells)} columns, the header has {len(header)}")
        times.append(cells[header.index(_TIME)])
        rows.append([_number(cells[i], f"{where}: {header[i]}") for i in at])
        if label_at >= 0:
            labels.append(_number(cells[label_at], f"{where}: {_LABEL}"))
    values = np.array(rows, np.float64).reshape(len(rows), len(at))
    period_s, sha256 = _period_s(times, path), hashlib.sha256(packed).hexdigest()
    # They are for counting only: a file in which some are not there is one without them.
    known = bool(labels) and set(labels) <= {0.0, 1.0}
    truth = np.array(labels, np.int64) if known else None
    return Recording(name.removesuffix(".gz"), tuple(times), values, period_s, sha256, truth)


def _number(cell: str, where: str) -> float:
    """NaN for an empty cell, and for what is no finite number. Raises ModelError."""
    if cell.strip().lower() in _EMPTY:
        return math.nan
    try:
        number = float(cell)
    except ValueError as fault:
        raise ModelError(f"{where}: must be a number with a decimal point, or empty (got {cell!r})") from fault
    return number if math.isfinite(number) else math.nan


def _period_s(times: list[str], path: Path) -> float:
    """The median step, for the description's sake; 1 s where two rows do not tell one."""
    try:
        seconds = [datetime.fromisoformat(each).timestamp() for each in times[:1000]]
    except ValueError as fault:
        raise ModelError(f"{path}: {_TIME}: must be a time such as 2020-03-09 10:14:33 ({fault})") from fault
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0
    return step if step > 0.0 else 1.0
