"""The doctor in front of real broken things: it says what is wrong with what, and what to do, and breaks nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import duckdb
import httpx
import pytest

from cloud.broker_config import Fleet, acl
from cloud.broker_files import hashed
from cloud.cli import main
from cloud.config import Config, InfluxV1
from cloud.doctor import broker as asked
from cloud.doctor import here
from cloud.doctor.broker import certificates
from cloud.doctor.command import examined
from cloud.doctor.here import running_host
from cloud.state.db import StateDb
from cloud.state.migrate import revisions
from cloud.store.embedded import EmbeddedStore
from tests.certificates import DAY, Authority
from tests.cloud.hosts import HostProcess
from tests.cloud.influx2 import UNAUTHORIZED, influx2
from tests.servers import InfluxDB, Mosquitto, Postgres, free_port


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker that lets everybody do everything."""
    server = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.stop()


class Doctor:
    def __init__(self, folder: Path, broker: str, told: pytest.CaptureFixture[str]) -> None:
        self.folder, self._told = folder, told
        self.settings: dict[str, Any] = {
            "broker": broker, "http": f"127.0.0.1:{free_port()}", "store": "duckdb:x.duckdb", "state": "x.db",
        }  # fmt: skip

    def __call__(self, **settings: Any) -> tuple[int, dict[str, list[tuple[str, str]]]]:
        """Exit code, and check -> (state, everything that is said)."""
        file = self.folder / "cloud.yaml"
        file.write_text(json.dumps({**self.settings, **settings}))
        code = main(["doctor", "--config", str(file), "--json"])
        said = json.loads(self._told.readouterr().out)
        assert said["ok"] == (code == 0)
        found: dict[str, list[tuple[str, str]]] = {}
        for one in said["checks"]:
            assert (one["state"] == "ok") == (not one["todo"]), one
            found.setdefault(one["check"], []).append((one["state"], f"{one['what']} -> {one['todo']}"))
        return code, found


@pytest.fixture
def doctor(
    tmp_path: Path, quiet: Mosquitto, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    monkeypatch.setattr(asked, "KEPT_S", 0.3)
    monkeypatch.setattr(here, "ANSWER_S", 1.0)
    monkeypatch.setattr(here, "_kept_right", lambda: True)  # whatever this machine's clock is
    return Doctor(tmp_path, quiet.url, capsys)


def only(found: list[tuple[str, str]], state: str, *words: str) -> None:
    (one,) = found
    assert one[0] == state, one
    assert all(word in one[1] for word in words), one


def test_where_all_is_well_it_says_so_and_leaves_nothing_behind(doctor: Doctor, capsys: Any) -> None:
    code, found = doctor(archive="archive")
    assert {state for of in found.values() for state, _ in of} == {"ok"}, found
    assert code == 0
    assert set(found) == {"configuration", "page", "broker", "host id", "store", "state", "disk", "archive", "clock"}
    only(found["store"], "ok", "will be made")
    assert {p.name for p in doctor.folder.iterdir()} == {"cloud.yaml", "archive"}
    assert main(["doctor", "--config", str(doctor.folder / "cloud.yaml")]) == 0
    assert "All is well." in capsys.readouterr().out


def test_a_configuration_that_cannot_be_read_is_all_that_is_told(doctor: Doctor) -> None:
    code, found = doctor(stoer="x", http="0.0.0.0:80")
    assert (code, list(found)) == (2, ["configuration"])
    assert "unknown key" in found["configuration"][0][1]
    code, found = doctor(tariff="nowhere.yaml")
    assert (code, found["configuration"][1][0]) == (2, "failed")


def test_a_broker_that_is_away_or_another_program(doctor: Doctor) -> None:
    code, found = doctor(broker=f"mqtt://127.0.0.1:{free_port()}")
    assert code == 2
    only(found["broker"], "failed", "cannot be reached", "start the broker")


def test_wrong_password_and_missing_rights_on_a_real_broker(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `gaugeline cloud broker-config` writes it, where one user has one session."""
    folder, fleet = tmp_path / "mosquitto", Fleet((), ("gaugeline",))
    folder.mkdir()
    rights = folder / "acl"
    rights.write_text(acl(fleet))
    (user,) = fleet.users
    (folder / "passwords").write_text(f"{user}:{hashed('secret', b'x' * 12)}\n")
    server = Mosquitto(folder)
    server.extra = (
        f"allow_anonymous false\nuser root\nuse_username_as_clientid true\npassword_file {folder}/passwords\n"
        f"acl_file {rights}\n"
    )
    server.start()
    (tmp_path / "right").write_text("secret")
    (tmp_path / "wrong").write_text("wrong")
    good = {"url": server.url, "username": user, "password_file": "right"}
    try:
        code, found = doctor(broker=good)
        assert code == 0, found
        only(found["broker"], "ok", "logged in, may read")
        code, found = doctor(broker={**good, "password_file": "wrong"})
        only(found["broker"], "failed", "refuses this host", "password_file")
        assert doctor(broker=server.url)[0] == 2, "nobody comes in without a name"
        server.stop()
        rights.write_text(f"user {user}\ntopic read spBv1.0/#\n")
        server.start()
        monkeypatch.setattr(asked, "HEARD_S", 1.0)
        code, found = doctor(broker=good)
        only(found["broker"], "failed", "may not write spBv1.0/STATE/gaugeline", "right to write")
    finally:
        server.stop()


async def state_of(url: str) -> bytes:
    port = int(url.rpartition(":")[2])
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("spBv1.0/STATE/#", 1)
        async with asyncio.timeout(30):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                return message.payload
    raise AssertionError


def test_a_running_host_is_left_alone_and_one_elsewhere_is_told_of(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "KEPT_S", 30.0)
    folder = tmp_path / "other"
    folder.mkdir()
    server = Mosquitto(tmp_path / "mq")
    server.start()
    host = HostProcess(folder, ["--broker", server.url])
    try:
        host.start()
        until = time.monotonic() + 60
        while b"true" not in (before := asyncio.run(state_of(server.url))):
            assert time.monotonic() < until
        own = {"broker": server.url, "http": f"127.0.0.1:{host.http}", "store": f"duckdb:{folder}/gaugeline.duckdb",
               "state": f"{folder}/gaugeline-state.db"}  # fmt: skip
        code, found = doctor(**own)
        assert code == 0, found
        only(found["page"], "ok", "a host runs at")
        only(found["broker"], "ok", "credentials not tried")
        only(found["store"], "ok", "the running host has it")
        only(found["state"], "ok", "the running host has it")
        code, found = doctor(broker=server.url)
        assert code == 1
        only(found["host id"], "warning", "a host is online as 'gaugeline'", "another host_id")
        code, found = doctor(broker=server.url, store=own["store"])
        only(found["store"], "failed", "lock", "end the other program")
        assert asyncio.run(state_of(server.url)) == before, "not a word more was said for it"
        host.get("/api/health")
        server.stop()
        while not json.loads(host.get("/api/health"))["problems"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        _, found = doctor(**own)
        only(found["page"], "warning", "tells of")
        assert found["broker"][0][0] == "failed"
    finally:
        if host.process is not None:
            host.stop()
        server.stop()


def test_a_port_that_another_program_has(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, found = doctor(http=f"127.0.0.1:{other.getsockname()[1]}")
    assert code == 2
    only(found["page"], "failed", "another program listens", "choose another port")


def test_files_that_cannot_be_used(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_bytes(b"no database at all" * 1000)
    (tmp_path / "x.db").write_bytes(b"no database at all" * 1000)
    code, found = doctor()
    assert code == 2
    only(found["store"], "failed", "x.duckdb", "restore it from a backup")
    only(found["state"], "failed", "not a database", "restore it from a backup")
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()
    only(doctor(store="duckdb:empty.duckdb")[1]["store"], "failed", "not one of a host")
    (tmp_path / "file").write_text("")
    code, found = doctor(archive="file/archive")
    only(found["archive"], "failed", "file/archive", "right to write")
    code, found = doctor(archive="/proc/gaugeline")
    only(found["archive"], "failed", "/proc/gaugeline")
    only(doctor(store="duckdb:/proc/x/y.duckdb", state="/proc/z.db")[1]["store"], "failed", "cannot be written")
    only(doctor(store="duckdb:/proc/x/y.duckdb", state="/proc/z.db")[1]["state"], "failed", "cannot be written")


def test_which_schema_a_state_has(doctor: Doctor, tmp_path: Path) -> None:
    async def made() -> None:
        db = StateDb(tmp_path / "x.db")
        await db.open()
        await db.close()
        store = EmbeddedStore(tmp_path / "x.duckdb")
        await store.open()
        await store.close()

    asyncio.run(made())
    newest = revisions()[-1]
    code, found = doctor()
    assert code == 0
    only(found["state"], "ok", f"schema {newest}")
    only(found["store"], "ok", "0 samples")

    def become(revision: str) -> None:
        with closing(sqlite3.connect(tmp_path / "x.db")) as con:
            con.execute("UPDATE alembic_version SET version_num = ?", [revision])
            con.commit()

    become("0001")
    only(doctor()[1]["state"], "ok", f"has schema 0001; the host brings it to {newest}")
    become("9999")
    code, found = doctor()
    assert code == 2
    only(found["state"], "failed", "9999", "a newer Gaugeline wrote it")


def test_little_room_is_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(doctor.folder).free
    monkeypatch.setattr(here, "LITTLE_BYTES", 2 * free)
    code, found = doctor()
    assert code == 1
    only(found["disk"], "warning", "samples, state", "make room")
    monkeypatch.setattr(here, "NO_BYTES", 2 * free)
    only(doctor()[1]["disk"], "failed", "make room now")


def test_the_clock_beside_the_database_s() -> None:
    now = time.time()
    assert here.clock(formatdate(now, usegmt=True), True).state == "ok"
    assert here.clock(None, True).state == "ok"
    assert here.clock(None, False).state == "warning"
    behind = here.clock(formatdate(now + 20, usegmt=True), True)
    assert (behind.state, "behind" in behind.what) == ("warning", True)
    ahead = here.clock(formatdate(now - 400, usegmt=True), True)
    assert (ahead.state, "ahead of" in ahead.what) == ("failed", True)
    assert here.clock(None).state in ("ok", "warning"), "the kernel is asked"


def test_an_influxdb_and_what_can_be_wrong_with_it(doctor: Doctor, influxdb: InfluxDB) -> None:
    name, short = f"db-{uuid4().hex}", f"db-{uuid4().hex}"
    place = influxdb.url.removeprefix("http://")

    def run(text: str) -> None:
        httpx.post(f"{influxdb.url}/query", params={"q": text}, trust_env=False).raise_for_status()

    line = f"influxdb+v1://{place}/{name}"
    code, found = doctor(store=line)
    assert code == 1
    only(found["store"], "warning", "has no database", "CREATE DATABASE")
    assert name not in httpx.get(f"{influxdb.url}/query", params={"q": "SHOW DATABASES"}, trust_env=False).text
    run(f'CREATE DATABASE "{name}"')
    code, found = doctor(store=line)
    assert code == 0, found
    only(found["store"], "ok", "InfluxDB 1.6", "may be written")
    only(found["retention"], "ok", "keeps")
    run(f'CREATE DATABASE "{short}" WITH DURATION 24h')
    code, found = doctor(store=f"influxdb+v1://{place}/{short}?retention_days=7")
    only(found["retention"], "warning", "7 days", "dead letters")
    code, found = doctor(store=f"influxdb://{place}/?org=o&bucket=b")
    only(found["store"], "failed", "which `store` is not written for", "influxdb+v1://")
    code, found = doctor(store=f"influxdb+v1://127.0.0.1:{free_port()}/x")
    only(found["store"], "failed", "start it, or correct `store`")


def test_users_of_an_influxdb(doctor: Doctor, tmp_path: Path) -> None:
    server = InfluxDB(tmp_path / "influx")
    server.http = "  auth-enabled = true"
    server.start()

    def run(text: str, *user: str) -> None:
        auth = (user[0], user[1]) if user else None
        httpx.post(f"{server.url}/query", params={"q": text}, auth=auth, trust_env=False).raise_for_status()

    try:
        run("CREATE USER admin WITH PASSWORD 'a' WITH ALL PRIVILEGES")
        for text in ("CREATE DATABASE plant", "CREATE USER r WITH PASSWORD 'r'", "GRANT READ ON plant TO r"):
            run(text, "admin", "a")
        place = server.url.removeprefix("http://")
        assert doctor(store=f"influxdb+v1://admin:a@{place}/plant")[0] == 0
        for user in ("admin:wrong@", "", "nobody:x@"):
            code, found = doctor(store=f"influxdb+v1://{user}{place}/plant")
            assert code == 2
            only(found["store"], "failed", "correct username and password_file")
        only(doctor(store=f"influxdb+v1://r:r@{place}/plant")[1]["store"], "failed", "may not be written", "GRANT ALL")
    finally:
        server.stop()


def test_certificates_are_told_before_they_end(doctor: Doctor, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    soon, old = authority.sign("soon", ends=20 * DAY), authority.sign("old", begins=-3 * DAY, ends=-DAY)
    far = authority.sign("far", ends=29 * DAY + timedelta(hours=25))
    for signed, code, state, word in (
        (soon, 1, "warning", "days"), (old, 2, "failed", "has expired"), (far, 1, "warning", "ca.crt"),
    ):  # fmt: skip
        server = Mosquitto(tmp_path / f"mq-{state}-{word}")
        server.extra = (
            f"cafile {authority.certificate}\ncertfile {signed.certificate}\nkeyfile {signed.key}\nuser root\n"
        )
        server.start()
        try:
            broker = {"url": f"mqtts://127.0.0.1:{server.port}", "ca_file": str(authority.certificate)}
            got, found = doctor(broker=broker)
            assert got == code, found
            told = [what for s, what in found["certificate"] if s == state]
            assert any(word in what for what in told), found["certificate"]
            assert (found["broker"][0][0] == "failed") == (signed is old), "an expired one is not trusted"
            far_off = Config(broker=_parsed(broker))
            late = list(certificates(far_off.broker, datetime.now(UTC) + 40 * DAY))
            assert {f.state for f in late} == {"failed"}
        finally:
            server.stop()


def _parsed(broker: dict[str, str]) -> Any:
    from cloud.config import KEYS

    return KEYS["broker"](broker, Path())


async def test_postgresql_its_schema_and_who_is_active(postgres: Postgres, quiet: Mosquitto, tmp_path: Path) -> None:
    from cloud.broker import parse_broker
    from cloud.config import Standby
    from cloud.lease import Lease

    place = postgres.new()
    store = InfluxV1(f"http://127.0.0.1:{free_port()}", "x")
    config = Config(
        broker=parse_broker(quiet.url), state=place, store=store, http=("127.0.0.1", free_port()),
        standby=Standby("host-b"),
    )  # fmt: skip
    found = {f.check: f for f in await examined(config)}
    assert "is empty" in found["state"].what
    lease = Lease(place, "gaugeline", "host-a", 30.0)
    await lease.open()
    try:
        assert await lease.take() is not None
        found = {f.check: f for f in await examined(config)}
        assert "host 'host-a' is active by the lease" in found["broker"].what
    finally:
        await lease.close()


def test_a_host_that_answers_something_else_is_no_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            con, _ = server.accept()
            con.recv(1000)
            con.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
            con.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert running_host(Config(http=("127.0.0.1", server.getsockname()[1]))) is None
        thread.join()


def test_an_influxdb_2_and_its_token(doctor: Doctor, tmp_path: Path) -> None:
    """Its answers as documented, over real HTTP."""
    (tmp_path / "token").write_text("secret")
    (tmp_path / "wrong").write_text("wrong")
    with influx2() as server:

        def line(org: str = "plant", token: str = "token") -> str:
            return f"influxdb://127.0.0.1:{server.port}/?org={org}&bucket=b&token_file={token}"

        only(doctor(store=line())[1]["store"], "warning", "has no bucket 'b' yet", "bucket create")
        server.buckets["b"] = 0
        code, found = doctor(store=line())
        assert (code, server.buckets, server.lines) == (0, {"b": 0}, [""]), found
        only(found["store"], "ok", "InfluxDB 2.7.11", "may be written")
        only(doctor(store=line(token="wrong"))[1]["store"], "failed", "refuses the token", "token_file")
        only(doctor(store=line(org="acme"))[1]["store"], "failed", "organization name", "correct org")
        server.buckets["b"] = 86_400
        only(doctor(store=line())[1]["retention"], "warning", "for ever")
        server.refuses = lambda lines: UNAUTHORIZED
        only(doctor(store=line())[1]["store"], "failed", "may not be written")
