"""One Parquet file of the archive: written from sorted batches, checked, and read again, in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloud.archive.manifest import SCHEMA_VERSION, Damaged
from cloud.store.whole_rows import ROWS, DayId

VERSION_KEY = b"gaugeline.schema_version"
ROW_GROUP = 500_000
LEVEL = 15  # of zstd: 8 % less than level 9, for 0.5 s of a core per million samples
_TRIAL = 100_000
_READ = 65_536
_DICTIONARIES = ["group", "node", "device", "tag", "datatype", "quality", "reason"]
_SORTED_BY = ("node", "device", "tag", "ts_ms")


def schema_of(day: DayId) -> pa.Schema:
    facts = {VERSION_KEY: str(SCHEMA_VERSION), b"gaugeline.site": day.group, b"gaugeline.day": day.date}
    return ROWS.with_metadata(facts)


class DayWriter:
    """Writes batches that come sorted. rows, first_ms, last_ms: of what was written so far."""

    def __init__(self, path: Path, day: DayId) -> None:
        self._path, self._schema = path, schema_of(day)
        self._writer: pq.ParquetWriter | None = None
        self._held: list[Any] = []
        self._held_rows = 0
        self.rows = 0
        self.first_ms, self.last_ms = 2**63 - 1, 0

    def write(self, batch: Any) -> None:
        """Raises OSError (disk full)."""
        if not batch.num_rows:
            return
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self.rows += batch.num_rows
        stamps = pc.min_max(batch.column("ts_ms")).as_py()
        self.first_ms, self.last_ms = min(self.first_ms, stamps["min"]), max(self.last_ms, stamps["max"])
        if self._held_rows >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        table = pa.Table.from_batches(self._held, ROWS).replace_schema_metadata(self._schema.metadata)
        self._held, self._held_rows = [], 0
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, **_settings(table.slice(0, _TRIAL)))
        self._writer.write_table(table, row_group_size=ROW_GROUP)

    def finish(self) -> None:
        """Raises OSError."""
        self._flush()
        self.abandon()

    def abandon(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def _settings(trial: Any) -> dict[str, Any]:
    """Stamps and values in whichever encoding of Parquet makes them smallest: it depends on the plant.

    Stamps: differences, or as they are where the tags of a device share theirs (zstd finds the repetition). Values:
    planes of bytes for measured floats, a dictionary for few distinct ones, or as they are.
    """
    common: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": LEVEL,
        "version": "2.6",
        "data_page_size": 4 << 20,  # so that zstd sees the same stamps of the next tag
        "dictionary_pagesize_limit": 4 << 20,
        "sorting_columns": [pq.SortingColumn(ROWS.names.index(name)) for name in _SORTED_BY],
    }
    dictionaries, encodings = list(_DICTIONARIES), {"value_int": "DELTA_BINARY_PACKED"}
    for column, choices in (
        ("ts_ms", ("DELTA_BINARY_PACKED", "PLAIN", "DICTIONARY")),
        ("value", ("BYTE_STREAM_SPLIT", "DICTIONARY", "PLAIN")),
        ("value_text", ("DICTIONARY", "PLAIN")),
    ):
        best = min(choices, key=lambda encoding: _size(trial.select([column]), encoding))
        if best == "DICTIONARY":
            dictionaries.append(column)
        else:
            encodings[column] = best
    return {**common, "use_dictionary": dictionaries, "column_encoding": encodings}


def _size(column: Any, encoding: str) -> int:
    (name,) = column.column_names
    settings: dict[str, Any] = {"use_dictionary": [name]}
    if encoding != "DICTIONARY":
        settings = {"use_dictionary": False, "column_encoding": {name: encoding}}
    buffer = io.BytesIO()
    pq.write_table(column, buffer, compression="zstd", data_page_size=4 << 20, **settings)
    return buffer.tell()


def opened(source: Any, what: str) -> pq.ParquetFile:
    """A file of this schema version. source: a path or a pyarrow file. Raises Damaged, FileNotFoundError."""
    try:
        found = pq.ParquetFile(source)
    except (pa.ArrowInvalid, pa.ArrowException) as fault:
        raise Damaged(f"{what} is no whole Parquet file ({str(fault)[:120]})") from fault
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise Damaged(f"{what} cannot be read as Parquet ({str(fault)[:120]})") from fault
    version = (found.schema_arrow.metadata or {}).get(VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise Damaged(
            f"{what} has schema version {version}, this Gaugeline reads version {SCHEMA_VERSION}:"
            " use the Gaugeline that wrote it, or a newer one"
        )
    missing = [name for name in ROWS.names if name not in found.schema_arrow.names]
    if missing:
        raise Damaged(f"{what} has no column {', '.join(missing)}")
    return found


def batches(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[Any]:
    """Raises Damaged."""
    try:
        yield from file.iter_batches(batch_size=_READ, columns=columns)
    except (pa.ArrowException, OSError) as fault:
        raise Damaged(f"the content cannot be read ({str(fault)[:120]})") from fault
