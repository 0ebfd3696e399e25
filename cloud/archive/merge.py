"""Two files of one day by identity (node, device, tag, ts_ms), in bounded memory: DuckDB sorts on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from cloud.archive.folder import ArchiveDown
from cloud.store.whole_rows import ROWS

MEMORY = "256MB"
_READ = 65_536
_NAMES = ", ".join(f'"{name}"' for name in ROWS.names)
_ALONE = (
    f"SELECT {_NAMES} FROM read_parquet(?) AS a WHERE NOT EXISTS (SELECT 1 FROM read_parquet(?) AS b"  # noqa: S608
    " WHERE a.node = b.node AND a.device = b.device AND a.tag = b.tag AND a.ts_ms = b.ts_ms)"
)
_ORDER = " ORDER BY node, device, tag, ts_ms"


def only_in(first: Path, second: Path, scratch: str) -> Iterator[Any]:
    """Rows of the first file whose identity the second one does not have, sorted. Raises ArchiveDown."""
    with _told(scratch) as con:
        yield from _rows(con, _ALONE + _ORDER, [str(first), str(second)])


def count_only_in(first: Path, second: Path, scratch: str) -> int:
    with _told(scratch) as con:
        found = con.execute(f"SELECT count(*) FROM ({_ALONE})", [str(first), str(second)]).fetchone()  # noqa: S608
        assert found is not None
        return int(found[0])


def count_not_in(identities: Path, day: Path, node: str, device: str, scratch: str) -> int:
    """Of a file of one device's identities (tag, ts_ms) those that the day does not have."""
    sql = (
        "SELECT count(*) FROM read_parquet(?) AS a WHERE NOT EXISTS (SELECT 1 FROM read_parquet(?) AS b"
        " WHERE b.node = ? AND b.device = ? AND a.tag = b.tag AND a.ts_ms = b.ts_ms)"
    )
    with _told(scratch) as con:
        found = con.execute(sql, [str(identities), str(day), node, device]).fetchone()
        assert found is not None
        return int(found[0])


def count_by_device(day: Path, scratch: str) -> dict[tuple[str, str], int]:
    """(node, device) -> rows of the file."""
    with _told(scratch) as con:
        sql = "SELECT node, device, count(*) FROM read_parquet(?) GROUP BY node, device"
        return {(node, device): rows for node, device, rows in con.execute(sql, [str(day)]).fetchall()}


def union(newer: Path, older: Path, scratch: str) -> Iterator[Any]:
    """Rows of both, sorted; where both have an identity, the newer one's."""
    sql = f"SELECT {_NAMES} FROM read_parquet(?) UNION ALL ({_ALONE})"  # noqa: S608
    with _told(scratch) as con:
        yield from _rows(con, f"SELECT * FROM ({sql}){_ORDER}", [str(newer), str(older), str(newer)])  # noqa: S608


def _rows(con: Any, sql: str, values: list[str]) -> Iterator[Any]:
    for batch in con.sql(sql, params=values).to_arrow_reader(_READ):
        columns = [
            column.dictionary_encode() if pa.types.is_dictionary(field.type) else column.cast(field.type)
            for column, field in zip(batch.columns, ROWS, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=ROWS)


@contextmanager
def _told(scratch: str) -> Iterator[Any]:
    settings: dict[str, Any] = {"memory_limit": MEMORY, "temp_directory": f"{scratch}/.tmp-merge", "threads": 1}
    try:
        with duckdb.connect(config=settings) as con:
            yield con
    except duckdb.Error as fault:
        raise ArchiveDown(f"archive {scratch}: two versions of a day cannot be merged: {fault}") from fault
