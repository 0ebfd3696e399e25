"""History from Parquet: one file or a folder of them, a column for each tag, or one value a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.align import Course, aligned, digest, written
from models.history import History
from wire.block import FloatArray
from wire.errors import ModelError

_TIMES = ("ts", "ts_ms", "t_s", "time", "timestamp")
_TAG, _VALUE, _DEVICE, _ASSET, _QUALITY = "tag", "value", "device", "asset", "quality"


def read_parquet(
    path: Path, time_column: str, columns: Sequence[str], only_where: str, period_s: float, hold_s: float | None,
    asset: str = "",
) -> History:  # fmt: skip
    """path: a file, or a folder with *.parquet in it, also below (folders called `key=value` are columns).

    Wide: a column for each input, rows in the order of time. Long: `tag` and `value`, with `quality` (0 is bad),
    `device` and `asset` where there are such. The time is the column time_column, or one of ts, ts_ms, t_s, time,
    timestamp: a timestamp, seconds, or (where its name ends in _ms) milliseconds. Raises ModelError.
    """
    names, table = _table(path)
    time = next((name for name in (time_column, *_TIMES) if name in names), None)
    if time is None:
        raise ModelError(f"{path}: no column of the time: neither {time_column!r} nor one of {', '.join(_TIMES)}")
    wanted = [*columns, *([only_where] if only_where else [])]
    long = {_TAG, _VALUE} <= set(names)
    missing = [] if long else [name for name in wanted if name not in names]
    if missing:
        raise ModelError(
            f"{path}: no column {', '.join(map(repr, missing))}, nor columns tag and value; it has: {', '.join(names)}"
        )
    seconds = _seconds(table, time, path)
    if long:
        return aligned(_courses(table, names, seconds, asset, path), columns, only_where, period_s, hold_s, str(path))
    rows = np.column_stack([_numbers(table, name, path) for name in columns])
    if only_where:
        rows[_numbers(table, only_where, path) != 1.0] = np.nan
    if path.is_dir():  # files of a folder come in any order
        order = np.argsort(seconds, kind="stable")
        seconds, rows = seconds[order], rows[order]
    if not len(seconds):
        raise ModelError(f"{path}: no rows")
    back = np.flatnonzero(np.diff(seconds) <= 0)
    if back.size:
        at = int(back[0]) + 1
        raise ModelError(
            f"{path}: row {at + 1}: {time}: {written(seconds[at])} does not come after {written(seconds[at - 1])}; "
            "sort the rows by time, and keep one of each time"
        )
    sha256 = digest(seconds, rows) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return History(tuple(written(second) for second in seconds), seconds, rows, sha256)


def _table(path: Path) -> tuple[list[str], Any]:
    import pyarrow
    from pyarrow import dataset

    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise ModelError(f"{path}: no *.parquet in this folder")
    try:
        base = str(path) if path.is_dir() else None
        found = dataset.dataset(
            [str(file) for file in files],
            format="parquet",
            partitioning=dataset.partitioning(flavor="hive") if base else None,
            partition_base_dir=base,
        )
        table = found.to_table()
    except OSError as fault:
        raise ModelError(f"{path}: cannot be read: {str(fault).splitlines()[0]}") from fault
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError) as fault:
        raise ModelError(
            f"{path}: not Parquet, truncated, or files that differ: {str(fault).splitlines()[0]}"
        ) from fault
    return list(table.column_names), table


def _seconds(table: Any, name: str, path: Path) -> FloatArray:
    import pyarrow

    column = table[name]
    if column.null_count:
        raise ModelError(f"{path}: {name}: {column.null_count} rows have no time")
    if pyarrow.types.is_timestamp(column.type):
        return np.asarray(column.cast(pyarrow.timestamp("us")).cast(pyarrow.int64()).to_numpy() / 1e6)
    numbers = _numbers(table, name, path)
    return numbers / 1000 if name.endswith("_ms") else numbers


def _numbers(table: Any, name: str, path: Path) -> FloatArray:
    import pyarrow

    try:
        column = table[name]
        if pyarrow.types.is_boolean(column.type):
            column = column.cast(pyarrow.int8())
        found = np.array(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False), float)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as fault:
        raise ModelError(f"{path}: {name}: must be numbers (is {table[name].type})") from fault
    found[np.isinf(found)] = np.nan
    return found


def _courses(table: Any, names: Sequence[str], seconds: FloatArray, asset: str, path: Path) -> dict[str, Course]:
    """Each tag's course, sorted by time."""
    values = _numbers(table, _VALUE, path)
    if _QUALITY in names:
        values[_numbers(table, _QUALITY, path) == 0] = np.nan
    tags = np.array(table[_TAG].to_pylist(), object)
    keep = np.ones(len(tags), bool)
    if asset:
        if _ASSET not in names:
            raise ModelError(f"{path}: --asset {asset}: the data has no column asset")
        keep = np.array(table[_ASSET].to_pylist(), object) == asset
    devices = np.array(table[_DEVICE].to_pylist(), object) if _DEVICE in names else np.full(len(tags), "", object)
    found: dict[str, Course] = {}
    for tag in sorted({str(tag) for tag in tags[keep]}):
        mine = keep & (tags == tag)
        owners = sorted({str(device) for device in devices[mine]})
        if len(owners) > 1:
            raise ModelError(f"{path}: tag {tag} stands for several devices ({', '.join(owners)}): choose with --asset")
        order = np.argsort(seconds[mine], kind="stable")
        found[tag] = Course(seconds[mine][order], values[mine][order])
    return found
