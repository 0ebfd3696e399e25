"""`gaugeline gateway outbox`: the same answers of a running gateway and of a file at rest, and nothing is changed."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.gateway.field import FAN, block, modbus_device, site_yaml
from tests.gateway.host import host
from tests.gateway.outboxes import T0, commit, commit_at, confirm, opened
from tests.gateway.test_cli import output, running
from tests.servers import Mosquitto


def said(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["outbox", *arguments])
    return code, out.getvalue(), err.getvalue()


def asked(*arguments: str) -> Any:
    code, out, err = said(*arguments)
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def site(tmp_path: Path) -> str:
    """An outbox at rest: batch 1 confirmed, 2 parked, 3 and 4 unconfirmed, of a run that was killed; then a restart."""
    path = site_yaml(tmp_path, "mqtt://127.0.0.1:1", 1)
    file = opened(tmp_path / "outbox.db")
    made = [commit_at(file, [T0 + i * 1000])[0] for i in range(3)]
    commit(file, block(T0 + 5000, FAN, 1480.25))
    confirm(file, made[:1])
    file.park(made[1].epoch, 2, made[1].digest)
    file.close(clean=False)
    again = opened(tmp_path / "outbox.db", clock=lambda: T0 + 10_000)
    commit_at(again, [T0 + 9000])
    again.close(clean=True)
    return str(path)


def test_the_summary_counts_epochs_batches_samples_and_gaps(site: str, tmp_path: Path) -> None:
    whole = (tmp_path / "outbox.db").read_bytes()
    (tmp_path / "outbox.db.corrupt-1").write_bytes(b"x")
    found = asked(site, "--json")
    assert (found["batches"], found["unconfirmed"], found["parked"], found["thinned"]) == (6, 4, 1, 0)
    assert [(e["number"], e["kept"], e["unconfirmed"], e["clean"]) for e in found["epochs"]] == [
        (4, 4, 2, 0), (2, 2, 2, 1),
    ]  # fmt: skip
    assert found["samples"] | {"produced": 9, "in_flight": 5, "parked": 2, "confirmed": 2} == found["samples"]
    assert found["oldest_unconfirmed_s"] > 1000
    assert found["set_aside"] == ["outbox.db.corrupt-1"]
    assert [g["reason"] for g in found["gaps"]] == ["killed"]
    code, out, _ = said(site)
    assert code == 0
    for text in ("6 batches kept: 4 unconfirmed, 1 parked", "9 produced", "killed", "set aside as damaged", "days"):
        assert text in out
    assert (tmp_path / "outbox.db").read_bytes() == whole


def test_batches_are_listed_by_state_device_epoch_and_time(site: str) -> None:
    def numbers(*filters: str) -> list[int]:
        return [b["number"] for b in asked(site, "list", "--json", *filters)["batches"]]

    assert numbers() == [1, 2, 3, 4, 1, 2]
    assert numbers("--state", "confirmed") == [1]
    assert numbers("--state", "unconfirmed", "--device", "pump") == [3, 1]
    assert numbers("--device", "") == [2]
    assert numbers("--from", str(T0 + 2000), "--to", str(T0 + 6000)) == [3, 4]
    assert numbers("--to", "2023-11-14T22:13:20") == [1]
    assert numbers("--limit", "2") == [1, 2]
    epoch = asked(site, "--json")["epochs"][0]["epoch"]
    assert numbers("--epoch", epoch) == [1, 2, 3, 4]
    assert [b["number"] for b in asked(site, "--json", "parked")["batches"]] == [2]
    assert "no batches" in said(site, "list", "--device", "nobody")[1]
    code, out, _ = said(site, "parked")
    assert (code, out.splitlines()[1].split()[1:4]) == (0, ["2", "pump", "2"])
    for wrong in (["--from", "noon"], ["--limit", "0"]):
        with pytest.raises(SystemExit, match="2"):
            main(["outbox", site, "list", *wrong])


def test_a_batch_is_shown_sample_by_sample(site: str) -> None:
    found = asked(site, "show", "4", "--json")
    assert found["samples"] == [
        {"ts_ms": T0 + 5000, "tag": "speed", "value": 1480.25, "quality": "GOOD", "reason": "", "datatype": "FLOAT"}
    ]
    assert (found["batch"]["device"], found["batch"]["state"]) == ("fan", "unconfirmed")
    code, out, _ = said(site, "show", "4")
    assert code == 0 and "2023-11-14 22:13:25.000  speed  1480.25  GOOD" in out
    assert asked(site, "show", "2", "--json")["batch"]["device"] == "", "the newest with this number"
    assert asked(site, "show", "2", "--epoch", found["batch"]["epoch"], "--json")["batch"]["state"] == "parked"
    code, out, err = said(site, "show", "99")
    assert (code, out) == (1, "")
    assert "there is no batch 99" in err


def test_an_outbox_that_is_missing_old_or_damaged_is_told_in_words(tmp_path: Path) -> None:
    site = str(site_yaml(tmp_path, "mqtt://127.0.0.1:1", 1))
    assert "never run here" in said(site)[2]
    (tmp_path / "outbox.db").write_bytes(b"")
    assert "of an older version" in said(site)[2]
    (tmp_path / "outbox.db").write_bytes(b"x" * 9000)
    assert "the next start sets it aside" in said(site)[2]
    assert (tmp_path / "outbox.db").read_bytes() == b"x" * 9000


async def test_a_running_gateway_answers_for_its_outbox(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with modbus_device([0x3FC0, 0, 7]) as port, host(mosquitto.port, confirm=False) as h:
        site = site_yaml(tmp_path, mosquitto.url, port)
        async with running(site):
            await h.until(lambda: len(h.of("DDATA", "pump")) > 2)
            code, out, _ = await output("outbox", str(site), "--json")
            assert code == 0
            assert json.loads(out)["unconfirmed"] > 2
            code, out, _ = await output("outbox", str(site), "show", "1", "--json")
            assert {(s["tag"], s["value"]) for s in json.loads(out)["samples"]} >= {("flow", 1.5), ("count", 7)}
            code, _, err = await output("outbox", str(site), "show", "999999")
            assert (code, "there is no batch 999999" in err) == (1, True)
