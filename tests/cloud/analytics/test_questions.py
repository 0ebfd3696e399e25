"""What the questions answer, against figures worked out by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ibis
import pytest
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from ibis.config import Config

from cloud.analytics.catalogue import QUESTIONS, question
from cloud.analytics.question import Options, Tables
from cloud.analytics.source import Range, answer
from cloud.archive.folder import ArchiveDown, Folder
from tests.cloud.archive.keeping import DAY, NEXT, NODE, Keeping, flow, keeping
from wire.block import Quality, Reason, Sample
from wire.errors import ConfigError
from wire.ids import NodeId
from wire.tag import Datatype

ALL = Range(None, 0, 2**42)
HOUR = 3_600_000
MORNING = DAY.from_ms + 6 * HOUR
BIRTHS: Any = {
    (NODE, "meter"): [
        ("import", Datatype.DOUBLE, {"engUnit": "kW.h", "measures": "energy", "asset": "press"}),
        ("export", Datatype.DOUBLE, {"engUnit": "MJ", "measures": "energy"}),
        ("odd", Datatype.DOUBLE, {"engUnit": "m3", "measures": "energy"}),
    ],
    (NODE, "pump-1"): [("flow", Datatype.DOUBLE, {"engUnit": "m3/h"})],
}


def ask(folder: Folder, name: str, wanted: Range = ALL, options: Options | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(folder, question(name), wanted, options or Options()).to_pylist()
    return found


@pytest.fixture
async def k(tmp_path: Path) -> AsyncIterator[Keeping]:
    async with keeping(tmp_path, births=BIRTHS) as found:
        yield found


async def test_energy_is_booked_per_day_and_a_reset_is_told(k: Keeping) -> None:
    register = [100.0, 110.0, None, 125.0, 5.0, 6.5, 7.0]
    stamps = [MORNING + i * HOUR for i in range(6)] + [NEXT.from_ms + HOUR]
    await k.write(*(flow(t, v, "import") for t, v in zip(stamps, register, strict=True)), device="meter")
    await k.write(flow(MORNING, 3.6, "export"), flow(MORNING + 1, 7.2, "export"), device="meter")
    await k.write(flow(MORNING, 1.0, "odd"), flow(MORNING + 1, 2.0, "odd"), device="meter")
    await k.write(flow(MORNING, 1.0), flow(MORNING + 1, 2.0))
    await k.run()
    found = {(r["tag"], r["day"]): r for r in ask(k.folder, "energy")}
    assert list(found) == [
        ("export", "2026-05-01"),
        ("odd", "2026-05-01"),
        ("import", "2026-05-01"),
        ("import", "2026-05-02"),
    ]
    first = found["import", "2026-05-01"]
    assert (first["kwh"], first["resets"], first["asset"]) == (pytest.approx(10 + 15 + 1.5), 1, "press")
    assert (found["import", "2026-05-02"]["kwh"], found["import", "2026-05-02"]["resets"]) == (0.5, 0)
    assert found["export", "2026-05-01"]["kwh"] == pytest.approx(1.0)
    assert found["odd", "2026-05-01"]["kwh"] is None


async def test_good_hours_are_weighted_by_time(k: Keeping) -> None:
    await k.write(
        flow(MORNING, 1.0), flow(MORNING + HOUR, None), flow(MORNING + 4 * HOUR, 1.0), flow(MORNING + 5 * HOUR, 1.0)
    )
    await k.write(Sample("level", Datatype.DOUBLE, MORNING, Quality.UNCERTAIN, 1.0), flow(MORNING + HOUR, 1.0, "level"))
    await k.run()
    found = {r["tag"]: r for r in ask(k.folder, "good-hours")}
    assert (found["flow"]["hours_good"], found["flow"]["hours"], found["flow"]["share_good"]) == (2.0, 5.0, 0.4)
    assert (found["level"]["hours_good"], found["level"]["hours"]) == (0.0, 1.0)


async def test_hours_have_lowest_mean_and_highest(k: Keeping) -> None:
    await k.write(*(flow(MORNING + i * 900_000, v) for i, v in enumerate([1.0, 2.0, None, 6.0, 9.0])))
    await k.run()
    assert [(r["hour"], r["samples"], r["lowest"], r["mean"], r["highest"]) for r in ask(k.folder, "hourly")] == [
        ("2026-05-01T06:00Z", 3, 1.0, 3.0, 6.0),
        ("2026-05-01T07:00Z", 1, 9.0, 9.0, 9.0),
    ]
    assert [r["highest"] for r in ask(k.folder, "hourly", Range("plant", MORNING + 1, MORNING + HOUR))] == [6.0]
    assert ask(k.folder, "hourly", Range("elsewhere", 0, 2**42)) == []
    assert ask(k.folder, "hourly", options=Options("level")) == []


async def test_operating_hours_are_split_at_midnight(k: Keeping) -> None:
    evening = NEXT.from_ms - 2 * HOUR
    speed = [(evening - 2 * HOUR, 0.0), (evening - HOUR, 1500.0), (evening - HOUR // 2, None), (evening, 1500.0)]
    await k.write(*(flow(t, v, "speed") for t, v in [*speed, (evening + HOUR, 1400.0)]))
    await k.write(flow(NEXT.from_ms + 3 * HOUR, 20.0, "speed"), flow(NEXT.from_ms + 4 * HOUR, 20.0, "speed"))
    await k.run()
    found = ask(k.folder, "operating-hours", options=Options("speed", 50.0))
    assert [(r["day"], r["hours"], r["known_hours"], r["starts"]) for r in found] == [
        ("2026-05-01", 2.5, 4.0, 2),
        ("2026-05-02", 3.0, 4.0, 0),
    ]
    with pytest.raises(ConfigError, match="--tag speed_rpm --above 50"):
        ask(k.folder, "operating-hours")


async def test_data_quality_tells_what_is_bad_and_what_is_missing(k: Keeping) -> None:
    await k.write(*(flow(MORNING + i * 1000, 1.0) for i in range(60)), flow(MORNING + 59_000 + HOUR, None))
    other = NodeId("plant", "gw-2")
    late = Sample("flow", Datatype.DOUBLE, MORNING, Quality.UNCERTAIN, 1.0, Reason.CLOCK_UNKNOWN)
    await k.write(late, flow(MORNING + 1000, 1.0), node=other)
    await k.run()
    first, second = ask(k.folder, "data-quality")
    assert (first["node"], first["day"], first["tags"], first["samples"]) == ("gw-1", "2026-05-01", 1, 61)
    assert (first["share_good"], first["share_bad"]) == (pytest.approx(60 / 61), pytest.approx(1 / 61))
    assert (first["missing_tag_hours"], first["longest_pause_s"]) == (1.0, 3600.0)
    assert (second["share_uncertain"], second["share_placed"], second["missing_tag_hours"]) == (0.5, 0.5, 0.0)


async def test_a_damaged_file_is_told_with_what_to_do(k: Keeping, tmp_path: Path) -> None:
    await k.write(flow(MORNING, 1.0))
    await k.run()
    (file,) = (tmp_path / "archive").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ArchiveDown, match="cloud archive verify"):
        ask(k.folder, "hourly")


@pytest.mark.parametrize(
    ("name", "told"),
    [("enrgy", "did you mean energy"), ("hours", "did you mean"), ("xyz", "there are: data-quality, energy")],
)
def test_an_unknown_question_is_told_with_what_was_meant(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        question(name)


class SparkOptions(Config):  # type: ignore[misc]
    """What Ibis would set when it is connected to a Spark."""

    treat_nan_as_null: bool = False


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_can_be_written_for_spark(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is only made here; no Spark runs."""
    monkeypatch.setattr(ibis.options, "pyspark", SparkOptions(), raising=False)
    keys = dict.fromkeys(("site", "node", "device", "tag"), "string")
    facts = {"ts_ms": "int64", "quality": "int16", "reason": "int16", "value": "float64"}
    samples = ibis.table({**keys, **facts}, name="samples")
    tags = ibis.table({**keys, "unit": "string", "measures": "string", "asset": "string"}, name="tags")
    found = QUESTIONS[name].ask(Tables(samples, tags), Options("flow"))
    assert "FROM `samples`" in PySparkCompiler().to_sqlglot(found).sql("spark")
