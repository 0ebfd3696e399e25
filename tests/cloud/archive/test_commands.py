"""Archive, queries, export, backup and restore as a person meets them: commands, a running host, a real broker."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloud.cli import main
from cloud.config import ArchiveChoice, load_config
from tests.cloud.archive.keeping import NOON, flow, keeping
from tests.cloud.hosts import HostProcess
from tests.cloud.small_gateway import T0, SmallGateway, row
from tests.servers import Mosquitto, free_port
from wire.errors import ConfigError
from wire.ids import NodeId
from wire.tag import Datatype, Tag

NODE = NodeId("plant", "gw-1")
TAGS = (
    Tag("flow", "pump-1", Datatype.DOUBLE, "m3/h"),
    Tag("energy", "meter", Datatype.DOUBLE, "kW.h", measures="energy"),
)
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def hosts() -> Iterator[list[HostProcess]]:
    """Hosts that are ended with the test, also when it fails."""
    found: list[HostProcess] = []
    yield found
    for host in found:
        if host.process is not None and host.process.poll() is None:
            host.kill()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(words)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out + told.err

    return run


async def deliver(port: int, bd_seq: int, numbers: range, epoch: str) -> None:
    gateway = SmallGateway(NODE, TAGS, epoch, bd_seq)
    async with gateway.connected(port) as gw:
        for i in numbers:
            await gw.publish(gw.put("pump-1", [row(T0 + 1000 * i, i / 7)]))
            await gw.publish(gw.put("meter", [row(T0 + 1000 * i, 100.0 + i, "energy")]))
        await gw.drain()


def test_a_host_archives_answers_is_backed_up_and_restored(
    tmp_path: Path, mosquitto: Mosquitto, said: Said, hosts: list[HostProcess]
) -> None:
    (tmp_path / "cloud.yaml").write_text(f"broker: {mosquitto.url}\narchive: {{path: archive, after_days: 2}}\n")
    config = str(tmp_path / "cloud.yaml")
    host = HostProcess(tmp_path, ["--config", config, "--store", "duckdb:s.duckdb", "--state", "s.db"])
    url = ("--url", host.url)
    hosts.append(host)
    host.start()
    asyncio.run(deliver(mosquitto.port, 0, range(20), "e1"))

    code, text = said("archive", "run", *url)
    assert (code, "plant 2023-11-14: 40 samples" in text) == (0, True), text
    assert said("archive", "run", *url) == (0, "nothing is due: everything up to yesterday is archived\n")
    code, text = said("archive", "run", "--day", "2023-11-14", "--json", *url)
    (result,) = json.loads(text)["results"]
    assert (code, result["rows"], result["changed"]) == (0, 40, False)
    code, text = said("archive", "list", *url)
    assert (code, "2023-11-14" in text, "1 days, 40 samples" in text) == (0, True, True)
    code, text = said("archive", "verify", "--config", config)
    assert (code, "Everything is as it was written: 1 days, 40 samples" in text) == (0, True)
    assert "still being written" in said("archive", "run", "--day", "2099-01-01", "--site", "plant", *url)[1]
    assert "no samples of 2001-01-01" in said("archive", "run", "--day", "2001-01-01", *url)[1]
    assert "one day of one site" in said("archive", "restore", "--day", "2023-11-14", *url)[1]
    assert "without both" in said("archive", "run", "--site", "plant", *url)[1]
    assert "write it as 2026-05-01" in said("archive", "run", "--day", "2023-11-99", *url)[1]
    code, text = said("archive", "restore", "--day", "2023-11-14", "--site", "plant", *url)
    assert (code, "0 samples restored, 40 were in the store" in text) == (0, True)
    code, text = said("archive", "restore", "--day", "2022-01-01", "--site", "plant", *url)
    assert (code, "PROBLEM" in text, "not archived" in text) == (1, True, True)

    for _ in range(1000):  # births are written down every two seconds
        assert said("archive", "run", *url)[0] == 0
        if (tmp_path / "archive/site=plant/tags.json").exists():
            break
        time.sleep(0.3)
    code, text = said("query", "energy", "--site", "plant", *url)
    assert (code, "energy" in text, "19" in text) == (0, True, True)
    (fact,) = json.loads(said("query", "energy", "--json", "--config", config)[1])
    assert (fact["kwh"], fact["device"]) == (19.0, "meter")

    _exported(host, said, tmp_path)

    backup = tmp_path / "backup"
    code, text = said("backup", str(backup), *url)
    assert (code, "samples.duckdb, state.db" in text, "the archive is not in this backup" in text) == (0, True, True)
    assert "there is something already" in said("backup", str(backup), *url)[1]
    assert "choose a folder that the host may write" in said("backup", "/proc/nowhere", *url)[1]
    assert "absolute path" in _problem(host, "relative")
    to = ("--store", f"duckdb:{tmp_path}/s.duckdb", "--state", f"{tmp_path}/s.db")
    assert "is in use: stop the running host first" in said("restore", str(backup), "--force", *to)[1]

    asyncio.run(deliver(mosquitto.port, 1, range(20, 30), "e2"))  # what the backup does not have
    assert json.loads(said("archive", "run", "--json", *url)[1])["results"][0]["rows"] == 60
    assert host.stop() == 0
    assert "there already" in said("restore", str(backup), *to)[1]
    code, text = said("restore", str(backup), "--force", *to)
    assert (code, "gaugeline cloud audit --refill" in text) == (0, True)
    host.start()
    asyncio.run(deliver(mosquitto.port, 2, range(30, 31), "e3"))
    code, text = said("archive", "restore", "--day", "2023-11-14", "--site", "plant", "--json", *url)
    (back,) = json.loads(text)["results"]
    assert (code, back["restored"], back["there"]) == (0, 20, 40), "what came after the backup"
    assert json.loads(said("archive", "run", "--json", *url)[1])["results"][0]["rows"] == 62
    assert json.loads(said("audit", "--json", *url)[1])["stored"] == 62
    assert host.stop() == 0
    assert "Traceback" not in host.log


def _problem(host: HostProcess, folder: str) -> str:
    import httpx

    answer = httpx.post(f"{host.url}/api/backup", json={"folder": folder}, trust_env=False)
    return str(answer.json()["detail"])


def _exported(host: HostProcess, said: Said, folder: Path) -> None:
    asked = ("export", "--site", "plant", "--from", "2023-11-14", "--to", "2023-11-16", "--url", host.url)
    rows = list(csv.DictReader(io.StringIO(host.get("/api/export?group=plant&from_ms=0&to_ms=2000000000000").decode())))
    assert len(rows) == 40
    assert rows[-1] == {
        "group": "plant", "node": "gw-1", "device": "pump-1", "tag": "flow", "time": "2023-11-14 22:13:39.000Z",
        "ts_ms": str(T0 + 19_000), "value": str(19 / 7), "quality": "GOOD", "reason": "none", "datatype": "DOUBLE",
    }  # fmt: skip
    for form, read in (("parquet", pq.read_table), ("arrow", lambda f: pa.ipc.open_stream(str(f)).read_all())):
        target = folder / f"out.{form}"
        code, text = said(*asked, "--device", "pump-1", "--tag", "flow", "--format", form, "--out", str(target))
        assert (code, f"{target}: " in text) == (0, True), text
        assert read(target).column("value").to_pylist() == [i / 7 for i in range(20)]
    assert "is later than" in said(*asked[:3], "--from", "now", "--to", "2023-11-14", "--url", host.url)[1]
    assert "No such file" in said(*asked, "--out", str(folder / "nowhere" / "x.csv"))[1]
    assert said(*asked, "--gateway", "gw-9", "--out", str(folder / "none.csv"))[0] == 0
    assert (folder / "none.csv").read_text().count("\n") == 1
    assert list(folder.glob(".*.part")) == []


def test_a_folder_is_looked_at_without_a_host(tmp_path: Path, said: Said) -> None:
    async def fill() -> None:
        async with keeping(tmp_path) as k:
            await k.write(flow(NOON, 1.0), flow(NOON + 1, 3.0))
            await k.run()

    asyncio.run(fill())
    path = ("--path", str(tmp_path / "archive"))
    assert "nothing is archived" in said("archive", "list", "--path", str(tmp_path / "elsewhere"))[1]
    code, text = said("archive", "verify", "--path", str(tmp_path / "elsewhere"))
    assert (code, "is that the archive's folder? see --path" in text) == (1, True), "nothing is not «all is well»"
    (day,) = json.loads(said("archive", "list", "--json", *path)[1])["days"]
    assert (day["site"], day["day"], day["rows"]) == ("plant", "2026-05-01", 2)
    assert said("archive", "list", "--site", "other", *path)[1].startswith("nothing is archived")
    assert json.loads(said("archive", "verify", "--json", "--day", "2026-05-01", *path)[1])["ok"] is True
    assert json.loads(said("archive", "verify", "--json", "--site", "other", *path)[1])["days"] == 0
    assert said("query", "hourly", "--csv", *path)[1].splitlines()[1].endswith("2026-05-01T12:00Z,2,1.0,2.0,3.0")
    assert "mean: of the samples" in said("query", "hourly", "--from", "2026-04-01", "--to", "2026-06-01", *path)[1]
    assert "the archive has nothing of that" in said("query", "hourly", "--from", "2026-06-01", *path)[1]
    assert "later than" in said("query", "hourly", "--from", "2026-06-01", "--to", "2026-05-01", *path)[1]
    code, text = said("query")
    assert (code, len(text.splitlines())) == (0, 5)
    assert next(q["name"] for q in json.loads(said("query", "--json")[1])) == "data-quality"
    assert said("query", "enregy", *path) == (1, "error: no query 'enregy'; did you mean energy?\n")

    (file,) = (tmp_path / "archive").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    code, text = said("archive", "verify", *path)
    assert (code, "is cut off" in text, "gaugeline cloud archive run --site plant --day 2026-05-01" in text) == (
        1,
        True,
        True,
    )
    code, text = said("archive", "verify", "--json", *path)
    assert (code, json.loads(text)["problems"][0]["where"]) == (1, "site=plant/day=2026-05-01")
    assert said("query", "hourly", *path)[0] == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("archive: 7", "give a folder, or a mapping with path and after_days"),
        ("archive: {after_days: 1}", "give a folder"),
        ("archive: {path: x, aftr: 1}", "give a folder"),
        ("archive: {path: x, after_days: 0}", "a number of days"),
        ("archive: ftp://x", "write a folder, or s3"),
    ],
)
def test_wrong_settings_are_told_with_their_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "cloud.yaml").write_text(f"state: s.db\n{text}\n")
    with pytest.raises(ConfigError, match=f"cloud.yaml:2: archive: .*{problem}"):
        load_config(tmp_path / "cloud.yaml", {})


def test_commands_without_host_or_archive_say_what_is_missing(tmp_path: Path, said: Said) -> None:
    (tmp_path / "cloud.yaml").write_text("state: x\n")
    assert "names no archive" in said("archive", "list", "--config", str(tmp_path / "cloud.yaml"))[1]
    url = f"http://127.0.0.1:{free_port()}"
    assert "no host answers" in said("archive", "run", "--url", url)[1]
    assert "did not give all of it" in said("export", "--site", "x", "--url", url)[1]


def test_settings_name_a_folder_or_a_bucket(tmp_path: Path) -> None:
    (tmp_path / "cloud.yaml").write_text("archive: {path: cold, after_days: 7}\n")
    assert load_config(tmp_path / "cloud.yaml", {}).archive == ArchiveChoice(str(tmp_path / "cold"), 7)
    assert load_config(None, {"archive": "s3://b/x"}).archive == ArchiveChoice("s3://b/x")


def test_a_host_without_archive_and_a_damaged_backup_are_told(
    tmp_path: Path, mosquitto: Mosquitto, said: Said, hosts: list[HostProcess]
) -> None:
    host = HostProcess(tmp_path, ["--broker", mosquitto.url])
    hosts.append(host)
    host.start()
    backup = tmp_path / "backup"
    for words in (["archive", "run"], ["archive", "list"], ["archive", "verify"], ["query", "hourly"]):
        code, text = said(*words, "--url", host.url)
        assert (code, "start it with --archive FOLDER" in text) == (1, True)
    made = json.loads(said("backup", str(backup), "--json", "--url", host.url)[1])
    assert sorted(made["files"]) == ["samples.duckdb", "state.db"]
    assert host.stop() == 0
    to = ("--store", f"duckdb:{tmp_path}/new/s.duckdb", "--state", f"{tmp_path}/new/s.db")
    assert "is sound, of 20" in said("restore", str(backup), "--check")[1]
    elsewhere = ("--store", to[1], "--state", "postgresql://gaugeline@db/gaugeline")
    assert "brought back with pg_restore" in said("restore", str(backup), *elsewhere)[1]

    def refused(told: str, *options: str) -> None:
        code, text = said("restore", str(backup), *(options or to))
        assert (code, told in text) == (1, True), text
        assert not (tmp_path / "new").exists()

    whole = tmp_path / "whole"
    shutil.copytree(backup, whole)
    (backup / "state.db").write_bytes(b"x" + (whole / "state.db").read_bytes()[1:])
    (backup / "samples.duckdb").write_bytes((whole / "samples.duckdb").read_bytes()[:-1])
    refused("state.db was changed")
    refused("bytes instead of")
    (backup / "samples.duckdb").unlink()
    refused("samples.duckdb cannot be read")
    (backup / "backup.json").write_text(json.dumps(made | {"format": 9}))
    refused("has format 9")
    (backup / "backup.json").write_text("{")
    refused("backup.json cannot be read")
    shutil.rmtree(backup)
    refused("is no backup")
    shutil.copytree(whole, backup)
    refused("holds a DuckDB file", "--store", "influxdb+v1://127.0.0.1/x", "--state", f"{tmp_path}/new/s.db")
    del made["files"]["samples.duckdb"]
    (backup / "backup.json").write_text(json.dumps(made))
    refused("of a host with InfluxDB")
    code, text = said("restore", str(whole), *to, "--json")
    assert (code, len(json.loads(text)["restored"])) == (0, 2)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["s.db", "s.duckdb"]
