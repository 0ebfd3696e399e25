"""The archive as tables of Ibis on DuckDB."""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb
import ibis
import pyarrow as pa

from cloud.analytics.question import Options, Question, Tables
from cloud.archive.folder import ArchiveDown, Folder
from cloud.archive.manifest import Manifest, folder_of, manifests
from cloud.archive.tags import TagFacts, tags_of
from cloud.store.whole_rows import ROWS

MEMORY = "1GB"


class Range(NamedTuple):
    """from_ms included, to_ms not; site None: all of them."""

    site: str | None
    from_ms: int
    to_ms: int

    def holds(self, day: Manifest) -> bool:
        return self.site in (None, day.site) and day.last_ms >= self.from_ms and day.first_ms < self.to_ms


def answer(folder: Folder, question: Question, wanted: Range, options: Options) -> Any:
    """The answer as an Arrow table. Raises ArchiveDown, ConfigError."""
    days = [day for day in manifests(folder) if wanted.holds(day)]
    con = ibis.duckdb.connect(memory_limit=MEMORY)
    try:
        samples = _samples(con, folder, days)
        samples = samples.filter((samples.ts_ms >= wanted.from_ms) & (samples.ts_ms < wanted.to_ms))
        tags = [one for site in sorted({day.site for day in days}) for one in tags_of(folder, site)]
        return con.to_pyarrow(question.ask(Tables(samples, _tags(tags)), options))
    except (duckdb.Error, OSError, pa.ArrowException) as fault:
        raise ArchiveDown(
            f"archive {folder.place}: {str(fault)[:300]}; `gaugeline cloud archive verify` finds what is damaged"
        ) from fault
    finally:
        con.disconnect()


def _samples(con: Any, folder: Folder, days: list[Manifest]) -> Any:
    paths = [f"{folder_of(day.id)}/{part.name}" for day in days for part in day.parts]
    plain = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in ROWS])
    if not paths:
        found = ibis.memtable(plain.empty_table())
    elif folder.is_local:
        found = con.read_parquet([str(folder.path_of(path)) for path in paths])
    else:  # DuckDB itself would have to fetch an extension to read from S3
        found = ibis.memtable(folder.dataset(paths, plain))
    return found.rename(site="group")


def _tags(found: list[TagFacts]) -> Any:
    schema = pa.schema([(name, pa.string()) for name in TagFacts._fields])
    return ibis.memtable(pa.Table.from_pylist([one._asdict() for one in found], schema=schema))
