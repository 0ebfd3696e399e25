"""What a person asks the running host: audit, dead letters, nodes."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest

from cloud.ask import BALANCE, WINDOW
from cloud.cli import main
from cloud.config import InfluxV1
from cloud.ledger import minus
from cloud.store.port import DeviceId
from cloud.times import moment_ms, shielded, unshielded
from tests.cloud.hosts import HostProcess, running, until
from tests.cloud.small_gateway import T0, SmallGateway, row, tags
from tests.servers import Mosquitto, free_port
from wire.errors import ConfigError
from wire.ids import NodeId

NODE = NodeId("plant", "gw-1")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("-2h", T0 - 7_200_000),
        ("-90s", T0 - 90_000),
        ("-1w", T0 - 604_800_000),
        ("now", T0),
        ("2023-11-14T22:13:20Z", T0),
        ("2023-11-14T22:13:20+00:00", T0),
        ("2023-11-15T06:13:20+08:00", T0),
        ("2023-11-14", int(datetime(2023, 11, 14).timestamp() * 1000)),
        ("-99999999w", 0),
    ],
)
def test_times_as_people_type_them(text: str, ms: int) -> None:
    assert moment_ms(text, T0) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "-2x", "2h", "2023-13-01", "1969-01-01T00:00Z", "0001-01-01"])
def test_what_is_no_time_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"time .*(ISO 8601|before 1970)"):
        moment_ms(text, T0)


def test_an_age_is_no_option() -> None:
    words = shielded(["--from", "-2h", "--refill", "-7d", "now", "--json", "-h"])
    assert [w[0] for w in words] == ["-", "\0", "-", "\0", "n", "-", "-"]
    assert [unshielded(w) for w in words] == ["--from", "-2h", "--refill", "-7d", "now", "--json", "-h"]


def test_what_is_left_of_ranges() -> None:
    assert minus([(1, 10), (20, 30)], [(3, 4), (9, 22), (30, 99)]) == [(1, 2), (5, 8), (23, 29)]
    assert minus([(1, 10)], [(0, 50)]) == []
    assert minus([(1, 10)], []) == [(1, 10)]


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
async def test_the_audit_of_a_time_finds_rows_and_batches_that_are_gone(
    tmp_path: Path, mosquitto: Mosquitto, kind: str, request: pytest.FixtureRequest
) -> None:
    influx = InfluxV1(request.getfixturevalue("influxdb").url, f"db-{uuid4().hex}") if kind == "influxdb" else None
    gateway = SmallGateway(NODE, tags("pump-1") + tags("fan-1"))
    async with running(tmp_path, mosquitto.port, influx) as host, gateway.connected(mosquitto.port) as gw:
        for i in range(10):
            await gw.publish(gw.put("pump-1", [row(T0 + 10 * i, i), row(T0 + 10 * i + 5, float("nan"))]))
            sent = gw.put("fan-1", [row(T0 + 10 * i, i)])  # number 2 i + 2
            if i not in (4, 5, 6):
                await gw.publish(sent)
        drop = {"kind": "drop", "epoch": gw.epoch, "numbers": [[10, 10]], "device": "fan-1", "samples": 1}
        await gw.record(drop)
        thin = {"kind": "thin", "epoch": gw.epoch, "device": "fan-1", "samples": 0, "batches": [[12, 1, 1, None]]}
        await gw.record(thin)
        await until(lambda: len(gw.confirmed) == 19)
        found = await host.desk.window(T0 + 20, T0 + 41, None)
        assert found.devices[DeviceId(NODE, "pump-1")].as_json() == {
            "batches": 3, "samples": 6, "stored": 3, "dead_letters": 3, "collided": 0, "restored": 0,
            "rows": 3, "removed": 0, "expired": 0, "lost": 0, "first_ms": T0 + 20, "last_ms": T0 + 40,
        }  # fmt: skip
        assert found.devices[DeviceId(NODE, "fan-1")].batches == 2
        assert found.as_json()["ok"], "what is missing lies outside"
        whole = (await host.desk.window(T0, T0 + 1_000, NODE)).as_json()
        # Number 10 was dropped, 12 thinned away: 14 is missing.
        assert (whole["batches"], whole["rows"], whole["missing"], whole["ok"]) == (17, 17, 1, False)
        await host.balance_after(gw, {**gw.epoch_counters(), "unconfirmed": [[14, 14]]})
        assert (await host.desk.window(T0, T0 + 1_000, NODE)).as_json()["ok"], "it is still with the gateway"
        assert (await host.desk.window(0, 10, None)).as_json()["devices"] == {}
        assert await host.kept.store.rows(NODE, "nobody", 0, 2**42) == 0


def test_the_commands_tell_people_and_machines(
    tmp_path: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    host = HostProcess(tmp_path, ["--broker", mosquitto.url, "--forget-after-days", "30"])
    host.start()

    def said(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main([words[0], "--url", host.url, *words[1:]])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out + told.err

    async def produce() -> None:
        async with SmallGateway(NODE, tags("pump-1")).connected(mosquitto.port) as gw:
            await gw.publish(gw.put("pump-1", [row(T0, 1.0), row(1, 2.0)]))
            await gw.drain()
            await gw.mqtt.publish("spBv1.0/plant/NDATA/gw-1", b"\xff")
            await gw.mqtt.publish(f"spBv1.0/plant/NDATA/{'n' * 3000}", b"\x1b[2Jgone")
            await gw.say_counters()
            async with asyncio.timeout(60):
                while (
                    json.loads(await asyncio.to_thread(host.get, "/api/balance"))["produced"] != 2
                    or not json.loads(await asyncio.to_thread(host.get, "/api/dead-letters?kind=message"))["items"][1:]
                ):
                    await asyncio.sleep(0.1)
            code, text = await asyncio.to_thread(said, "audit", "--refill", "-1h", "now")
            assert (code, "asked to send again from" in text, "plant/gw-1" in text) == (0, True, True)

    asyncio.run(produce())
    code, text = said("audit")
    assert (code, "The balance holds" in text) == (0, True)
    assert [f.replace("_", " ") in text for f in BALANCE] == [True] * len(BALANCE)
    assert json.loads(said("audit", "--json", "--gateway", "gw-1")[1])["dead_letters"] == 1
    assert said("audit", "--gateway", "gw-9") == (2, "error: no gateway 'gw-9'; there are: plant/gw-1\n")
    code, text = said("audit", "--from", "2023-11-14", "--to", "-1h")
    assert (code, "The ledger and the database agree from 2023-11-1" in text) == (0, True)
    assert [f.replace("_", " ") in text for f in WINDOW] == [True] * len(WINDOW)
    assert said("audit", "--to", "-1h") == (2, "error: --to needs --from\n")
    assert "later than" in said("audit", "--from", "-1h", "--to", "-2h")[1]
    assert "its own times" in said("audit", "--refill", "-1h", "now", "--from", "-1h")[1]
    code, text = said("audit", "--refill", "-1h", "now")
    assert (code, "away, ask again when they are back: plant/gw-1" in text) == (1, True)
    assert json.loads(said("audit", "--refill", "-1h", "now", "--json")[1]) == {"asked": [], "away": ["plant/gw-1"]}
    code, text = said("dead-letters")
    assert code == 0
    assert "timestamp is before 2000" in text
    assert "message: 2 kept (9 bytes), 0 left out" in text
    assert max(map(len, text.splitlines())) < 500, "a stranger's long name does not make the table unreadable"
    strange, letter = json.loads(said("dead-letters", "--kind", "message", "--json")[1])["letters"]
    assert "\\x1b[2Jgone" in said("dead-letters", "show", str(strange["id"]))[1], "nor does it move the cursor"
    code, text = said("dead-letters", "show", str(letter["id"]))
    assert (code, "content_hex  ff" in text) == (0, True)
    assert json.loads(said("dead-letters", "show", str(letter["id"]), "--json")[1])["bytes"] == 1
    assert "no dead letter 999" in said("dead-letters", "show", "999")[1]
    assert "with an ID of the list" in said("dead-letters", "show")[1]
    code, text = said("nodes")
    assert (code, "plant/gw-1" in text, "stale" in text) == (0, True, True)
    assert json.loads(said("nodes", "--json")[1])[0]["protocol"] == "gaugeline/1"
    assert host.stop() == 0
    assert "Traceback" not in host.log


def test_wrong_questions_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for words in (["audit", "--from", "x"], ["nodes"], ["dead-letters"], ["run", "--forget-after-days", "0"]):
        more = [] if words[0] == "run" else ["--url", url]
        assert main([*words, *more]) == (2 if "--from" in words else 1)
        assert capsys.readouterr().err.startswith("error: ")
    for words in (["audit", "--help"], ["dead-letters", "--help"], ["nodes", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    told = capsys.readouterr().out
    assert [f for f in (*BALANCE, *WINDOW) if f.replace("_", " ") not in told] == []
