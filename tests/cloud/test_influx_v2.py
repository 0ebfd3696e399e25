"""The write path of InfluxDB 2.x, 3.x and Cloud: for real against VictoriaMetrics, and against documented answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.store.influx import InfluxStore
from cloud.store.influx_client import Unacceptable
from cloud.store.influx_http import InfluxHttp
from cloud.store.influx_v2 import Bucket, InfluxV2
from tests.certificates import Authority
from tests.cloud import influx2 as said
from tests.cloud.influx2 import Answer, Influx2, influx2
from tests.contract.test_stores import EVERY_KIND, NODE, T0, batch, flow
from tests.servers import InfluxDB, VictoriaMetrics, free_port
from wire.errors import StoreDown
from wire.tag import Datatype


@pytest.fixture
def victoriametrics(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    server = VictoriaMetrics(tmp_path / "victoriametrics")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server() -> Iterator[Influx2]:
    with influx2() as found:
        yield found


def bucket(url: str, **more: str) -> Bucket:
    return replace(Bucket(url, "samples", "plant", "secret"), **more)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(url: str, days: int | None = None, **more: str) -> AsyncIterator[InfluxStore]:
    store = InfluxStore(InfluxV2(bucket(url, **more), timeout_s=5, retention_days=days), lambda: T0 + 1000)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("packed", [False, True])
async def test_what_victoriametrics_was_given_as_influxdb_2_it_exports_again(
    victoriametrics: VictoriaMetrics, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr("cloud.store.influx_v2.near", lambda _url: not packed)
    numbers = [s for s in EVERY_KIND if s.datatype not in (Datatype.STRING, Datatype.TEXT)]
    async with opened(victoriametrics.url, days=3) as store:
        assert await store.write([batch(1, *numbers), batch(2, flow(T0, 2.5), flow(T0 + 7, 3.5), device="")]) == []
        assert "bucket samples, its retention is not known" in store.about
        found = victoriametrics.exported()
        victoriametrics.kill()
        with pytest.raises(StoreDown, match="InfluxDB http://127"):
            await store.write([batch(3, flow(T0, 2.5))])
    values = {(s["metric"]["__name__"], s["metric"]["tag"]): s for s in found if s["metric"]["device"] == "pump-1"}
    assert {s["metric"]["group"] + "/" + s["metric"]["node"] for s in found} == {str(NODE)}
    stored = {s.name: s for s in numbers}
    assert {tag for name, tag in values if name == "sample_quality"} == set(stored)
    for name in ("f32", "f64", "i8", "on"):
        assert values["sample_value", name]["values"] == [pytest.approx(float(stored[name].value or 0), rel=1e-12)]
    assert values["sample_quality", "dead"]["values"] == [0]
    (of_node,) = [s for s in found if s["metric"]["device"] == "@node" and s["metric"]["__name__"] == "sample_value"]
    assert (of_node["values"], of_node["timestamps"]) == ([2.5, 3.5], [T0, T0 + 7])


async def test_a_bucket_is_made_with_its_retention_and_found_by_queries(server: Influx2) -> None:
    async with opened(server.url, days=90) as store:
        assert server.buckets == {"samples": 90 * 86_400}
        assert server.mappings == {"samples": "1" * 16}
        assert store.about == f"InfluxDB 2.7.11, {server.url}, bucket samples, keeps 90 days"
        assert await store.write([batch(1, flow(T0, 1.5))]) == []
        assert await store.count() == {}
        calls = len(server.calls)
        await store.open()
        assert not [c for c in server.calls[calls:] if c.startswith("POST")]
    assert server.written_to == [{"org": ["plant"], "bucket": ["samples"], "precision": ["ms"]}]
    assert server.lines == [
        f"sample,device=pump-1,group=plant,node=gw-1,tag=flow value=1.5,quality=192i,datatype=10i {T0}"
    ]


async def test_an_existing_bucket_that_forgets_sooner_is_told_and_what_is_too_old_is_refused(
    server: Influx2, caplog: pytest.LogCaptureFixture
) -> None:
    server.buckets["samples"] = 86_400
    caplog.set_level(logging.INFO)
    async with opened(server.url, days=30) as store:
        (refused,) = await store.write([batch(1, flow(T0 - 86_400_000, 1.0), flow(T0, 2.0))])
        assert (refused.sample.value, refused.why) == (1.0, "older than the database keeps: it keeps 1 day")
        assert refused.batch.samples == (flow(T0 - 86_400_000, 1.0), flow(T0, 2.0))
    assert "keeps 1 day, not 30 days" in caplog.text
    assert len(server.lines) == 1
    async with opened(server.url) as store:
        assert "keeps 1 day" in store.about
    server.buckets["samples"] = 0
    async with opened(server.url, days=30) as store:
        assert "keeps everything" in store.about
    assert "keeps everything, not 30 days" in caplog.text


async def test_a_token_that_may_not_map_is_told_how_queries_find_the_bucket(
    server: Influx2, caplog: pytest.LogCaptureFixture
) -> None:
    server.may_map = False
    async with opened(server.url):
        assert server.mappings == {}
    (told,) = [r for r in caplog.records if "queries find the bucket" in r.message]
    assert "influx v1 dbrp create --bucket-id 1111111111111111 --db samples" in str(vars(told)["mend"])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"token": "wrong"}, r"refuses the token \(unauthorized access\): is token_file right"),
        ({"org": "acme"}, r'organization name "acme" not found: check org and bucket of the store, org=acme'),
        ({"org": ""}, r"needs an organisation; write the store as influxdb://127.0.0.1:\d+/\?org=ORGANISATION"),
    ],
)
async def test_wrong_token_and_unknown_organisation_are_told(server: Influx2, more: dict[str, str], why: str) -> None:
    with pytest.raises(StoreDown, match=why):
        async with opened(server.url, **more):
            pass


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said.UNAUTHORIZED, "refuses the token"),
        (said.NO_BUCKET, r'bucket "plant" not found: check org and bucket'),
        (said.BROKEN, "500 An internal error has occurred"),
        (Answer(502), "502 Bad Gateway"),
    ],
)
async def test_while_the_server_refuses_everything_nothing_is_a_dead_letter(
    server: Influx2, answer: Answer, why: str
) -> None:
    async with opened(server.url) as store:
        server.refuses = lambda _lines: answer
        with pytest.raises(StoreDown, match=why):
            await store.write([batch(1, flow(T0, 1.0))])
        server.refuses = lambda _lines: None
        assert await store.write([batch(1, flow(T0, 1.0))]) == []


@pytest.mark.parametrize("answer", [said.TOO_MANY, said.UNAVAILABLE])
async def test_a_server_that_asks_for_a_pause_gets_it(server: Influx2, answer: Answer) -> None:
    async with opened(server.url) as store:
        server.refuses = lambda _lines: answer
        with pytest.raises(StoreDown, match=answer.content["message"]):  # type: ignore[index]
            await store.write([batch(1, flow(T0, 1.0))])
        calls = len(server.calls)
        for again in (store.write([batch(1, flow(T0, 1.0))]), store.count(), store.open()):
            with pytest.raises(StoreDown, match="asked to be left alone for"):
                await again
        assert len(server.calls) == calls


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said.CONFLICT, "field type conflict"),
        (said.TOO_OLD, "outside retention policy"),
        (said.TOO_OLD_IN_2_0, "beyond retention policy"),
        (said.MALFORMED, "unable to parse"),
        (said.PARTIAL_3, "partial write of line protocol occurred"),
    ],
)
async def test_culprits_are_searched_out_and_the_rest_is_stored(server: Influx2, answer: Answer, why: str) -> None:
    server.refuses = lambda lines: answer if any("value=13" in line or "value=26" in line for line in lines) else None
    async with opened(server.url) as store:
        found = [batch(n, *(flow(T0 + i, float(10 * n + i)) for i in range(10))) for n in range(1, 4)]
        refused = await store.write(found)
    assert [(r.batch.number, r.sample.value) for r in refused] == [(1, 13.0), (2, 26.0)]
    assert all(why in r.why for r in refused)
    assert len(set(server.lines)) == 28


async def test_bodies_that_are_too_large_are_halved(server: Influx2) -> None:
    server.refuses = lambda lines: said.TOO_LARGE if len(lines) > 3 else None
    async with opened(server.url) as store:
        assert await store.write([batch(1, *(flow(T0 + i, 1.0) for i in range(10)))]) == []
    assert len(server.lines) == 10


async def test_version_3_and_cloud_are_known_by_what_they_say(
    server: Influx2, caplog: pytest.LogCaptureFixture
) -> None:
    server.headers = said.CORE_3
    async with opened(server.url, days=7, org="") as store:
        assert store.about.startswith("InfluxDB 3.2.1")
        await store.write([batch(1, flow(T0, 1.0))])
    assert server.calls == ["GET /ping", "POST /api/v2/write"]
    assert "retention_days is not set on InfluxDB 3.2.1" in caplog.text
    with pytest.raises(StoreDown, match="refuses user, password or token"):
        async with opened(server.url, org="", token="wrong"):
            pass
    server.headers = said.CLOUD
    async with opened(server.url, days=7) as store:
        assert store.about == f"InfluxDB Cloud, {server.url}, bucket samples, keeps 7 days"


async def test_a_line_for_another_version_says_which_line_to_write(server: Influx2, influxdb: InfluxDB) -> None:
    with pytest.raises(
        StoreDown, match=rf"is InfluxDB 1\.6\.7.* write the store as influxdb\+v1://.*:{influxdb.port}/s"
    ):
        async with opened(influxdb.url):
            pass
    for headers, name in ((said.FOUND, "InfluxDB 2.7.11"), (said.CLOUD, "InfluxDB Cloud")):
        server.headers = headers
        old = InfluxHttp(server.url, "samples")
        with pytest.raises(
            StoreDown, match=rf"is {name}, .* write the store as influxdb://.*&bucket=samples&token_file"
        ):
            await old.open()
        await old.close()


async def test_a_server_that_is_away_or_not_open_is_down() -> None:
    away = InfluxV2(bucket(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StoreDown, match="not open"):
        await away.write(b"x")
    with pytest.raises(StoreDown, match="InfluxDB http://127"):
        await away.open()
    await away.close()


async def test_over_tls_the_named_authority_is_believed_and_no_other(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    with influx2(authority.sign("influxdb")) as server:
        url = f"https://127.0.0.1:{server.port}"
        found = InfluxV2(replace(bucket(url), ca_file=authority.certificate), timeout_s=5)
        await found.open()
        await found.write(b"sample value=1 1")
        await found.close()
        assert server.lines == ["sample value=1 1"]
        wrong = InfluxV2(replace(bucket(url), ca_file=other.certificate), timeout_s=5)
        with pytest.raises(StoreDown, match="certificate verify failed"):
            await wrong.open()
        await wrong.close()
        (tmp_path / "empty").write_text("")
        broken = InfluxV2(replace(bucket(url), ca_file=tmp_path / "empty"), timeout_s=5)
        with pytest.raises(StoreDown, match="ca_file"):
            await broken.open()


async def test_what_the_server_will_never_take_is_unacceptable(server: Influx2) -> None:
    found = InfluxV2(bucket(server.url), timeout_s=5)
    await found.open()
    server.refuses = lambda _lines: said.CONFLICT
    with pytest.raises(Unacceptable, match="field type conflict"):
        await found.write(b"x")
    await found.close()


async def test_old_roll_ups_are_deleted_as_the_documentation_says(server: Influx2) -> None:
    async with opened(server.url) as store:
        await store.windows.forget("15m", T0)
        (asked,) = server.deleted
        stop = f"{datetime.fromtimestamp((T0 - 1) // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{(T0 - 1) % 1000:03}999999Z"
        assert asked == {"start": "1970-01-01T00:00:00.000Z", "stop": stop, "predicate": '"_measurement"="rollup_15m"'}
        server.deletes_with = said.MALFORMED
        with pytest.raises(StoreDown, match="does not delete: "):
            await store.windows.forget("1h", T0)
        server.deletes_with = said.BROKEN
        with pytest.raises(StoreDown, match="500 "):
            await store.windows.forget("1h", T0)
    assert server.calls.count("POST /api/v2/delete") == 3
