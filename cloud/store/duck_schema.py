"""The tables of a DuckDB file."""

from __future__ import annotations

from cloud.store.windows import LEVELS

SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER, "group" VARCHAR, node VARCHAR, device VARCHAR, tag VARCHAR, datatype UTINYINT);
-- No primary key: known batches are dropped before BEGIN, and an index costs more than all the rest.
CREATE TABLE IF NOT EXISTS samples (
    series INTEGER, ts_ms BIGINT, quality UTINYINT, reason UTINYINT,
    value DOUBLE, value_int BIGINT, value_text VARCHAR);
CREATE TABLE IF NOT EXISTS ledger (
    "group" VARCHAR, node VARCHAR, epoch VARCHAR, number BIGINT, device VARCHAR, digest VARCHAR,
    samples INTEGER, dead INTEGER, collided INTEGER, first_ms BIGINT, last_ms BIGINT);
-- Rows that retention took out of `samples`, per device, UTC day and class of tags.
CREATE TABLE IF NOT EXISTS removed (
    "group" VARCHAR, node VARCHAR, device VARCHAR, day INTEGER, name VARCHAR, rows BIGINT,
    PRIMARY KEY ("group", node, device, day, name));
""" + "".join(
    # Roll-ups; series: the lowest number of a tag that has several.
    f"""CREATE TABLE IF NOT EXISTS rollup_{level} (
    series INTEGER, start_ms BIGINT, "count" INTEGER, num INTEGER, good INTEGER,
    mean DOUBLE, "min" DOUBLE, "max" DOUBLE, "last" DOUBLE);
"""
    for level in LEVELS
)
