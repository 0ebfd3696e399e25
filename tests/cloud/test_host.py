"""Configuration, command and API, as a person or a page meets them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest

from cloud.app import application, stores
from cloud.broker import Broker
from cloud.cli import main
from cloud.config import Config, DuckDbFile, InfluxBucket, InfluxV1, Standby, load_config
from cloud.front import listening
from cloud.state.db import StateDb
from cloud.state.place import PostgresDb
from cloud.store.influx import InfluxStore
from tests.cloud.hosts import HostProcess, running, until
from tests.cloud.small_gateway import SmallGateway
from tests.servers import Mosquitto, free_port
from wire.block import Quality, Sample
from wire.errors import ConfigError
from wire.ids import NodeId
from wire.tag import Datatype, Tag

NODE = NodeId("plant", "gw-1")
MACHINE = (
    Tag("flow", "pump-1", Datatype.DOUBLE, "bar"),
    Tag("energy", "meter", Datatype.DOUBLE, "kW.h", measures="energy"),
    Tag("anomaly", "motor", Datatype.BOOLEAN, measures="anomaly"),
)


def test_defaults_need_no_file() -> None:
    config = load_config(None, {})
    assert (config.broker, config.store) == (Broker("127.0.0.1"), DuckDbFile(Path("gaugeline.duckdb")))
    assert (config.http, config.host_id, config.tariff.name) == (("127.0.0.1", 8080), "gaugeline", "example.yaml")


def test_a_file_with_everything_overruled_by_options(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass word\n")
    (tmp_path / "cloud.yaml").write_text(
        "broker: {url: mqtt://box:1884, username: host, password_file: secret}\n"
        "store: {url: influxdb+v1://db/plant, username: me, password_file: secret}\n"
        "state: s.db\nhttp: 0.0.0.0:80\nhost_id: main\ntariff: t.yaml\nreorder_s: 0.5\n"
    )
    config = load_config(tmp_path / "cloud.yaml", {"http": "[::1]:81", "state": "here.db"})
    assert config.broker == Broker("box", 1884, "host", "pass word")
    assert config.store == InfluxV1("http://db:8086", "plant", "me", "pass word")
    assert (config.state, config.tariff) == (Path("here.db"), tmp_path / "t.yaml")
    assert (config.http, config.host_id, config.reorder_s) == (("::1", 81), "main", 0.5)


def test_all_problems_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text(
        "broker: http://x\nstore: {url: 'duckdb:x', username: me}\n\nstate: 7\nhtpp: x\nhttp: 8080\nhost_id: a b\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file, {"store": "sqlite:x", "broker": "mqtt://x:port"})
    starts = ["1: broker", "2: store", "4: state", "5: htpp", "6: http", "7: host_id"]
    assert [p.split(":", 1)[1].split(": ")[0:2] for p in caught.value.problems[:6]] == [s.split(": ") for s in starts]
    assert caught.value.problems[6].startswith("--store: ")
    assert caught.value.problems[7].startswith("--broker: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1", "1: must be a mapping"),
        ("a: [", "not YAML"),
        ("broker: {host: x}", "give a URL"),
        ("broker: {url: 'mqtt://x', port: 1}", "unknown key port"),
        ("broker: {url: 'mqtt://x', password_file: nowhere}", "password_file"),
        ("store: influxdb+v1://x:port/y", "1: store"),
        ("store: influxdb+v1://x", "write duckdb:FILE"),
        ("store: influxdb://x/?org=o", "names no bucket"),
        ("store: influxdb://x/plant?bucket=b", "names no bucket"),
        ("store: influxdb://me:secret@x/?bucket=b", "want a token, from a file"),
        ("store: influxdb://x/?bucket=b&token=secret", "unknown token; there are: org, bucket, token_file"),
        ("store: {url: 'influxdb://x/?bucket=b', token_file: nowhere}", "token_file: .*nowhere"),
        ("store: {url: 'influxdb://x/?bucket=b', token_file: cloud.yaml}", "must hold the token and nothing else"),
        ("store: {url: 'influxdb://x/?bucket=b', username: me}", "have a token_file and no user"),
        ("store: {url: 'influxdb+https://x/?bucket=b', ca_file: nowhere}", "ca_file: .*nowhere is not there"),
        ("store: influxdb+v1://x/y?retention_days=0", "retention_days: '0': a number of days"),
        ("store: influxdb+v1://x/y?org=o", "unknown org; there are: ca_file, retention_days"),
        ("store: {url: 'duckdb:x', retention_days: 3}", "a DuckDB file has no retention_days"),
        ("store: 'duckdb:'", "write duckdb:FILE"),
        ("reorder_s: 0", "1: reorder_s: 0: seconds are wanted"),
        ("reorder_s: yes", "seconds are wanted"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "cloud.yaml").write_text(f"{text}\n# two lines\n")
    with pytest.raises(ConfigError, match=problem):
        load_config(tmp_path / "cloud.yaml", {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("state: {url: x.db, username: u}", "a state file has no user and password"),
        ("state: mysql://u@h/d", "write the name of a file, or postgresql://USER@HOST:PORT/DATABASE"),
        ("state: postgresql://u@h", "postgresql://USER@HOST:PORT/DATABASE"),
        ("state: postgresql://h:port/d", "1: state: "),
        ("state: postgresql://h/d?fsync=off", "unknown option fsync; there are: host, sslmode"),
        ("groups: []", "a list of groups is wanted"),
        ("groups: [a/b]", "group id 'a/b'"),
        ("standby: {lease_s: 3}", "give this host's name"),
        ("standby: {name: a, size: 3}", "give this host's name"),
        ("standby: {name: a b}", "standby id 'a b'"),
        ("standby: {name: a, lease_s: 0.5}", "at least 1 s"),
        ("standby: a", "a DuckDB file .* belongs to one process"),
        ("standby: a", "the hosts share their state, which a file .* cannot be"),
    ],
)
def test_wrong_settings_of_state_groups_and_standby(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "cloud.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_config(tmp_path / "cloud.yaml", {})


def test_a_standby_is_refused_with_a_file_for_samples_or_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--standby", "host-a", "--state", str(tmp_path / "state.db")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in told] == ["standby", "standby"]
    assert "--store influxdb+v1://" in told[0]
    assert "--state postgresql://" in told[1]


def test_settings_of_state_groups_and_standby(tmp_path: Path) -> None:
    (tmp_path / "state.password").write_text("very secret\n")
    docs = Path(__file__).parents[2] / "docs"
    texts = re.findall(r"^```yaml\n(.*?)^```", (docs / "standby.md").read_text(), re.M | re.S)
    texts += re.findall(r"^```yaml\n(state: .*?)^```", (docs / "stores.md").read_text(), re.M | re.S)
    assert len(texts) == 2
    found = []
    for text in texts:
        (tmp_path / "cloud.yaml").write_text(text)
        found.append(load_config(tmp_path / "cloud.yaml", {"groups": "a, b,a"}))
    first, second = found
    assert first.standby == Standby("host-a", 5.0)
    assert first.state == PostgresDb("db.plant", "gaugeline", 5432, "gaugeline", "very secret")
    assert isinstance(second.state, PostgresDb)
    assert second.state.options == (("sslmode", "verify-full"),)
    assert (second.groups, second.standby) == (("a", "b"), None)
    given = load_config(None, {"state": "postgresql:///d?host=/run/pg", "store": "influxdb+v1://h/d", "standby": "me"})
    assert (given.state, given.standby) == (PostgresDb("/run/pg", "d"), Standby("me", 5.0))
    assert "very secret" not in f"{first}"


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("influxdb+v1://db/plant", InfluxV1("http://db:8086", "plant")),
        ("influxdb+v1+https://[::1]:9/a?retention_days=90", InfluxV1("https://[::1]:9", "a", retention_days=90)),
        ("influxdb://db/?bucket=b&org=my%20plant", InfluxBucket("http://db:8086", "b", "my plant")),
        ("influxdb+https://eu/?bucket=b&token_file=t", InfluxBucket("https://eu:443", "b", "", "s3")),
        (
            "{url: 'influxdb://db:1/?bucket=b', token_file: t, retention_days: 7}",
            InfluxBucket("http://db:1", "b", "", "s3", None, 7),
        ),
    ],
)
def test_each_store_is_one_line(tmp_path: Path, text: str, store: InfluxV1 | InfluxBucket) -> None:
    (tmp_path / "t").write_text("s3\n")
    (tmp_path / "cloud.yaml").write_text(f"store: {text}\n")
    assert load_config(tmp_path / "cloud.yaml", {}).store == store


def test_store_and_state_of_the_docs_are_valid_ones(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    for name in ("token", "plant-ca.crt", "state.password"):
        (tmp_path / name).write_text("x")
    (tmp_path / "cloud.yaml").write_text("".join(blocks))
    config = load_config(tmp_path / "cloud.yaml", {})
    url = "https://influx.plant.example:8086"
    assert config.store == InfluxBucket(url, "gaugeline", "plant", "x", tmp_path / "plant-ca.crt", 400)
    verified = (("sslmode", "verify-full"),)
    assert config.state == PostgresDb("db.plant", "gaugeline", 5432, "gaugeline", "x", verified)


def test_the_composition_root_picks_the_store(tmp_path: Path) -> None:
    kept = stores(Config(store=InfluxV1("http://x:1", "db")), StateDb(tmp_path / "s.db"))
    assert isinstance(kept.store, InfluxStore)
    kept = stores(Config(store=InfluxBucket("http://x:1", "b")), StateDb(tmp_path / "s.db"))
    assert isinstance(kept.store, InfluxStore)
    assert "bucket b" in kept.store.about


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ConfigError, match="--http"):
        listening(("203.0.113.7", 8080))


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["audit", "--help"]])
def test_help_teaches(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 0
    assert "usage: gaugeline cloud" in capsys.readouterr().out


def test_wrong_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fly"])
    assert ended.value.code == 2
    capsys.readouterr()
    assert main(["run", "--config", str(tmp_path / "no.yaml"), "--store", "x"]) == 1
    assert main(["run", "--tariff", str(tmp_path / "no.yaml")]) == 1
    assert main(["audit", "--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert main(["audit", "--url", "nonsense"]) == 1
    told = capsys.readouterr().err
    assert [line for line in told.splitlines() if not line.startswith("error: ")] == []
    assert "is `gaugeline cloud run` running?" in told


def test_the_audit_command_asks_the_running_host(
    tmp_path: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    host = HostProcess(tmp_path, ["--broker", mosquitto.url])
    host.start()

    async def produce(in_flight: int) -> None:
        gateway = SmallGateway(NODE, MACHINE)
        async with gateway.connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [Sample("flow", Datatype.DOUBLE, 1_700_000_000_000, Quality.GOOD, 1.0)]))
            await gw.drain()
            said = {**gw.epoch_counters(), "devices": {"pump-1": {"produced": 1 + in_flight}}}
            await gw.say_counters(json.dumps({"epochs": [said]}))
            await asyncio.sleep(0.3)

    asyncio.run(produce(0))
    assert main(["audit", "--url", host.url]) == 0
    assert "The balance holds" in capsys.readouterr().out
    asyncio.run(produce(7))
    assert main(["audit", "--url", host.url, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["lost"] == 7
    assert main(["audit", "--url", host.url]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out
    assert host.stop() == 0


async def test_every_route_answers(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with running(tmp_path, mosquitto.port) as host, SmallGateway(NODE, MACHINE).connected(mosquitto.port) as gw:
        now = host.host.now_ms() - 1000
        good = Quality.GOOD
        await gw.publish(gw.put("pump-1", [Sample("flow", Datatype.DOUBLE, now, good, 1.5)]))
        await gw.publish(gw.put("meter", [Sample("energy", Datatype.DOUBLE, now + i, good, 5.0 + i) for i in range(3)]))
        truth = (False, True, True, False)
        await gw.publish(
            gw.put("motor", [Sample("anomaly", Datatype.BOOLEAN, now + i, good, t) for i, t in enumerate(truth)])
        )
        await until(lambda: len(gw.confirmed) == 3)
        await host.balance_after(gw)
        closing = asyncio.Event()
        app = application(host.host, host.letters, host.state, closing)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as http:

            async def get(path: str, status: int = 200) -> httpx.Response:
                answer = await http.get(path)
                assert answer.status_code == status, answer.text
                if status >= 400:
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert answer.json()["status"] == status
                return answer

            assert (await get("/api/health")).json() == {"status": "ok", "problems": []}
            assets = (await get("/api/assets")).json()
            assert [a["id"] for a in assets] == ["meter", "motor", "pump-1"]
            assert assets[2]["tags"][0]["value"] == 1.5
            where = f"group=plant&node=gw-1&from_ms={now}&to_ms={now + 100}"
            series = (await get(f"/api/series?{where}&device=pump-1&tag=flow")).json()
            assert series == {"t": [now], "v": [1.5], "q": [192], "source": "raw"}
            balance = (await get("/api/balance")).json()
            assert (balance["ok"], balance["produced"], balance["stored"]) == (True, 8, 8)
            found = (await get(f"/api/anomalies?from_ms={now}&to_ms={now + 100}")).json()
            assert found == {"detected": [{"asset": "motor", "from_ms": now + 1, "to_ms": now + 2}]}
            energy = (await get("/api/energy/today?asset=meter")).json()
            assert energy["kwh"] == pytest.approx(2.0)
            assert {"cost", "currency", "tariff", "day_from_ms", "by_band"} <= set(energy)
            stats = (await get("/api/stats")).json()
            assert stats["latency_ms"]["n"] == 8
            assert stats["latency_ms"]["p99"] >= stats["latency_ms"]["p50"] > 0
            assert stats["store"].startswith("DuckDB")
            assert (await get("/api/dead-letters")).json() == {"items": [], "next": None}
            assert (await get("/api/records?kind=gap")).json() == []
            assert (await get("/openapi.json")).json()["info"]["title"] == "Gaugeline"
            await get("/api/energy/today?asset=nobody", 404)
            await get("/api/nowhere", 404)
            await get("/api/series?group=plant", 422)
            await get(f"/api/series?{where}&device=pump-1&tag=flow&points=0", 422)
            closing.set()
            await get("/api/events")
            await host.kept.store.close()
            assert "the database does not answer" in (await get("/api/balance", 503)).json()["detail"]
