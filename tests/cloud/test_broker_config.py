"""The generated configuration before a real mosquitto: who may say and read what, and the whole chain over it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from cloud.broker import Broker, connected
from cloud.broker_config import Listener, acl, fleet_of, mosquitto_conf
from cloud.cli import main
from cloud.config import load_config
from gateway.births import BirthBook, Latest
from gateway.clock import now_ms
from gateway.config import Broker as GatewayBroker
from gateway.config.convert import OutboxSettings
from gateway.outbox.store import Outbox
from gateway.resend import ResendWindow
from gateway.sink import OutboxSink
from gateway.uplink import Uplink
from tests.certificates import Authority, Signed
from tests.cloud.hosts import ROOT, running, until
from tests.gateway.field import LINES, TAGS, block, taken
from tests.servers import Mosquitto, free_port, program
from wire.certificates import TlsFiles
from wire.errors import ConfigError, UplinkRefused
from wire.ids import NodeId

GW, OTHER = "plant/gw", "plant/other"


class Generated(Mosquitto):
    """mosquitto with the configuration as it was generated; user root only where the test runs as root."""

    def __init__(self, folder: Path, config: Path) -> None:
        super().__init__(folder)
        self.config = config

    def command(self) -> list[str]:
        whole = self.folder / "whole.conf"
        whole.write_text(self.config.read_text() + "\nuser root\n")
        return [program("mosquitto"), "-c", str(whole), "-v"]


class Fleet:
    """A running broker for plant/gw, plant/other, north/gw and host/gaugeline, by password or by certificate."""

    def __init__(self, folder: Path, auth: str) -> None:
        self.folder, self.auth = folder, auth
        self.authority = Authority(folder / "ca")
        self.port = free_port()
        argv = ["broker-config", "--listen", f"127.0.0.1:{self.port}", "--output", str(folder / "out")]
        argv += ["--host", "gaugeline", "--host", "second"]
        for node in (GW, OTHER, "north/gw"):
            argv += ["--gateway", node]
        self.signed: dict[str, Signed] = {}
        if auth == "certificate":
            own = self.authority.sign("broker")
            argv += ["--auth", auth, "--ca", str(self.authority.certificate)]
            argv += ["--certificate", str(own.certificate), "--key", str(own.key)]
        self.argv = argv
        assert main(argv) == 0
        self.server = Generated(folder / "server", folder / "out" / "mosquitto.conf")
        self.server.port = self.port

    def secret(self, user: str) -> str:
        return (self.folder / "out" / "secrets" / f"{user}.password").read_text().strip()

    def tls(self, user: str) -> TlsFiles | None:
        if self.auth == "password":
            return None
        signed = self.signed.setdefault(user, self.authority.sign(user))
        return TlsFiles(self.authority.certificate, signed.certificate, signed.key)

    def gateway(self, user: str) -> GatewayBroker:
        tls = self.tls(user)
        if tls is not None:
            return GatewayBroker("127.0.0.1", self.port, keepalive_s=5, tls=tls)
        return GatewayBroker("127.0.0.1", self.port, user, self.secret(user), 5)

    def host(self) -> Broker:
        tls = self.tls("host/gaugeline")
        if tls is not None:
            return Broker("127.0.0.1", self.port, tls=tls)
        return Broker("127.0.0.1", self.port, "host/gaugeline", self.secret("host/gaugeline"))

    def client(self, user: str, will: str = "", client_id: str = "") -> aiomqtt.Client:
        files = self.tls(user)
        return aiomqtt.Client(
            "127.0.0.1",
            self.port,
            identifier=client_id or user,
            username=user if files is None else None,
            password=self.secret(user) if files is None else None,
            tls_params=None
            if files is None
            else aiomqtt.TLSParameters(str(files.ca), str(files.certificate), str(files.key)),
            will=aiomqtt.Will(will, b"I am dead", qos=1) if will else None,
        )


@pytest.fixture(scope="module", params=["password", "certificate"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp(request.param), request.param)
    made.server.start()
    yield made  # type: ignore[misc]
    made.server.stop()


@asynccontextmanager
async def ears(fleet: Fleet, user: str, *topics: str) -> AsyncIterator[list[str]]:
    """What this user hears."""
    heard: list[str] = []

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            heard.append(str(message.topic))

    async with fleet.client(user) as client:
        for topic in topics:
            await client.subscribe(topic, 1)
        task = asyncio.create_task(listen(client))
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


NODE_TOPICS = [f"spBv1.0/{{}}/{kind}/{{}}" for kind in ("NBIRTH", "NDATA", "NDEATH")]
DEVICE_TOPICS = [f"spBv1.0/{{}}/{kind}/{{}}/pump" for kind in ("DBIRTH", "DDATA", "DDEATH")]


async def test_a_gateway_says_what_is_its_own_and_nothing_of_others(fleet: Fleet) -> None:
    own = [topic.format("plant", "gw") for topic in (*NODE_TOPICS, *DEVICE_TOPICS)]
    others = [t.format(*who) for who in (("plant", "other"), ("north", "gw")) for t in (*NODE_TOPICS, *DEVICE_TOPICS)]
    commands = [f"spBv1.0/plant/{kind}/{node}" for node in ("gw", "other") for kind in ("NCMD", "DCMD")]
    commands += ["spBv1.0/plant/DCMD/gw/pump", "spBv1.0/STATE/gaugeline", "spBv1.0/STATE/gw", "else/where"]
    async with ears(fleet, "host/second", "#") as heard, fleet.client(GW) as client:
        for topic in (*others, *commands, "spBv1.0/plant/DDATA/gw/pump/deeper", *own):
            await client.publish(topic, b"x", qos=1)
        await until(lambda: len(heard) >= len(own))
        await asyncio.sleep(0.1)
        assert heard == own


async def test_a_will_under_the_name_of_another_never_comes_out_and_ones_own_does(fleet: Fleet) -> None:
    """mosquitto takes such a will at CONNECT, and checks its topic when it would have to publish it."""
    async with ears(fleet, "host/gaugeline", "spBv1.0/#") as heard:
        for will in ("spBv1.0/plant/NDEATH/other", "spBv1.0/STATE/gaugeline", "spBv1.0/plant/NDEATH/gw"):
            async with fleet.client(GW, will) as client:  # is let in, whatever its will says
                socket = client._client.socket()
                assert socket is not None
                socket.shutdown(2)  # a power cut: no DISCONNECT, so the broker speaks the will
                async with asyncio.timeout(60):
                    with pytest.raises(aiomqtt.MqttError):
                        await anext(aiter(client.messages))
        await until(lambda: bool(heard))
        await asyncio.sleep(0.1)
        assert heard == ["spBv1.0/plant/NDEATH/gw"]


async def test_a_gateway_reads_its_own_commands_and_state_and_nothing_else(fleet: Fleet) -> None:
    topics = ("#", "spBv1.0/plant/NCMD/other", "spBv1.0/plant/NDATA/other")
    async with ears(fleet, GW, *topics) as heard, fleet.client("host/gaugeline") as h, fleet.client(OTHER) as other:
        await other.publish("spBv1.0/plant/NDATA/other", b"x", qos=1)
        await other.publish("spBv1.0/plant/DDATA/other/pump", b"x", qos=1)
        await h.publish("spBv1.0/plant/NCMD/other", b"x", qos=1)
        await h.publish("spBv1.0/north/NCMD/gw", b"x", qos=1)
        await h.publish("spBv1.0/plant/DCMD/other/pump", b"x", qos=1)
        mine = ["spBv1.0/plant/NCMD/gw", "spBv1.0/plant/DCMD/gw/pump", "spBv1.0/STATE/gaugeline"]
        for topic in mine:
            await h.publish(topic, b"x", qos=1)
        await until(lambda: len(heard) >= len(mine))
        await asyncio.sleep(0.1)
        assert heard == mine


async def test_a_host_commands_and_says_its_own_state_and_gives_itself_out_for_no_gateway(fleet: Fleet) -> None:
    async with ears(fleet, "host/second", "#") as heard, fleet.client("host/gaugeline") as h:
        for topic in ("spBv1.0/plant/NDATA/gw", "spBv1.0/plant/NDEATH/gw", "spBv1.0/STATE/second", "x"):
            await h.publish(topic, b"x", qos=1)
        await h.publish("spBv1.0/STATE/gaugeline", b"x", qos=1)
        await until(lambda: bool(heard))
        assert heard == ["spBv1.0/STATE/gaugeline"]


async def test_a_gateway_that_calls_itself_like_another_does_not_throw_it_out(fleet: Fleet) -> None:
    async with ears(fleet, "host/second", "#") as heard, fleet.client(OTHER, "spBv1.0/plant/NDEATH/other") as other:
        async with fleet.client(GW, client_id=OTHER) as client:
            await client.publish("spBv1.0/plant/NDATA/gw", b"x", qos=1)
        await other.publish("spBv1.0/plant/NDATA/other", b"x", qos=1)
        await until(lambda: len(heard) >= 2)
        assert heard == ["spBv1.0/plant/NDATA/gw", "spBv1.0/plant/NDATA/other"]


async def test_nobody_comes_in_without_a_name(fleet: Fleet) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with aiomqtt.Client("127.0.0.1", fleet.port, timeout=1):
            pass
    if fleet.auth == "password":
        with pytest.raises(UplinkRefused):
            async with connected(dataclasses.replace(fleet.host(), password="wrong"), "gaugeline", lambda: 1):
                pass


async def test_the_whole_chain_works_over_it(fleet: Fleet, tmp_path: Path) -> None:
    """Births, data, confirmation, counters, with the real gateway's uplink and the real host."""
    node, outbox_path = NodeId("plant", "gw"), tmp_path / "o.db"
    outbox = Outbox(OutboxSettings(outbox_path, 20, 50_000_000), node, ("gaugeline",), now_ms)
    await outbox.open(TAGS, LINES)
    latest = Latest()
    book = BirthBook(TAGS, {}, outbox.aliases, latest)
    uplink = Uplink([fleet.gateway(GW)], node, ("gaugeline",), outbox, book, ResendWindow(), now_ms)
    sink = OutboxSink(outbox, latest)
    tasks = [asyncio.create_task(outbox.run()), asyncio.create_task(uplink.run())]
    try:
        async with running(tmp_path, fleet.port, broker=fleet.host()) as host:
            async with asyncio.timeout(60):
                while uplink.state != "online":
                    await asyncio.sleep(0.02)
                for i in range(5):
                    await sink.append(taken(block(1_700_000_000_000 + i)))
                    await outbox.flush()
                while (await outbox.pending())[0]:
                    await asyncio.sleep(0.02)
                assert await uplink.drain(60)
                while not (balance := await host.balance()).ok or balance.total.produced < 10:
                    await asyncio.sleep(0.05)
            assert (balance.total.produced, balance.total.stored, balance.total.lost) == (10, 10, 0)
    finally:
        tasks[1].cancel()
        outbox.stop()
        await asyncio.wait(tasks)
        await outbox.close(clean=True)


def test_a_folder_is_not_written_over_and_passwords_stay_when_it_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "broker"
    argv = ["broker-config", "--gateway", GW, "--output", str(out)]
    assert main(argv) == 0
    told = capsys.readouterr().out
    secret = out / "secrets" / "plant" / "gw.password"
    assert f"broker: {{url: mqtt://BROKER:1883, username: {GW}, password_file: ...}} with {secret}" in told
    assert "without TLS" in told
    password = secret.read_text()
    assert (secret.stat().st_mode & 0o777, (out / "passwords").stat().st_mode & 0o777) == (0o600, 0o600)
    assert password.strip() not in (out / "passwords").read_text()
    assert main([*argv, "--gateway", OTHER]) == 1
    assert "there already; --force writes anew and keeps the passwords" in capsys.readouterr().err
    assert main([*argv, "--gateway", OTHER, "--force"]) == 0
    assert secret.read_text() == password
    names = [line.split(":")[0] for line in (out / "passwords").read_text().splitlines()]
    assert names == ["host/gaugeline", GW, OTHER]
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["broker-config", "--gateway", GW, "--output", str(blocked)]) == 1
    assert "give another --output" in capsys.readouterr().err


def test_site_files_name_the_gateways_and_standard_output_shows_what_would_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("group: plant\ngateway: gw\nbroker: mqtt://x\n")
    assert main(["broker-config", str(site), "--host", "a", "--host", "b"]) == 0
    out = capsys.readouterr().out
    assert "acl_file /etc/mosquitto/acl\n" in out
    assert "max_queued_messages 100000\n" in out
    assert "user plant/gw\ntopic write spBv1.0/plant/NBIRTH/gw\n" in out
    assert "topic write spBv1.0/STATE/a\n" in out
    assert "user host/b\n" in out


def test_the_example_in_deploy_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    folder = ROOT / "deploy" / "mosquitto"
    assert main(["broker-config", "--gateway", "plant-1/gw-1", "--gateway", "plant-1/gw-2"]) == 0
    conf, _, rest = capsys.readouterr().out.partition("\n# /etc/mosquitto/acl\n")
    assert conf == (folder / "mosquitto.conf").read_text()
    assert rest.rstrip("\n") + "\n" == (folder / "acl").read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "whom may the broker let in?"),
        (["nowhere.yaml"], "cannot be read"),
        (["--gateway", "gw"], "write it as GROUP/NODE"),
        (["--gateway", "a b/gw", "--host", "#"], "group id 'a b'"),
        (["--gateway", "host/gw"], "no group can be called 'host'"),
        (["--group", "plant", "--gateway", "plant/gw"], "leave out --gateway"),
        (["--group", "+"], "group id '+'"),
        (["--group", "plant", "--output", "x"], "knows no names to make passwords for"),
        (["--gateway", "plant/gw", "--auth", "certificate"], "needs --ca, --certificate and --key"),
        (["--gateway", "plant/gw", "--key", "x"], "--certificate and --key need each other"),
        (
            [
                "--gateway",
                f"{'p' * 40}/{'g' * 40}",
                "--auth",
                "certificate",
                "--ca",
                "a",
                "--certificate",
                "b",
                "--key",
                "c",
            ],
            "longer than the 64 characters of a common name",
        ),
    ],
)
def test_wrong_calls_are_told(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker-config", *argv]) == 1
    assert words in capsys.readouterr().err


def test_a_file_that_is_no_site_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"is no site\.yaml"):
        fleet_of([tmp_path / "x.yaml"], [], ["gaugeline"], "")


async def test_by_pattern_every_gateway_of_the_one_group_speaks_for_itself(tmp_path: Path) -> None:
    """The user is the node; the pattern binds it, and names of two levels get nowhere."""
    authority = Authority(tmp_path / "ca")
    own = authority.sign("broker")
    found = fleet_of([], [], ["gaugeline"], "plant")
    port = free_port()
    files = TlsFiles(authority.certificate, own.certificate, own.key)
    (tmp_path / "acl").write_text(acl(found))
    config = tmp_path / "mosquitto.conf"
    config.write_text(mosquitto_conf(Listener("127.0.0.1", port, files, True), tmp_path))
    server = Generated(tmp_path / "server", config)
    server.port = port
    server.start()

    def client(user: str) -> aiomqtt.Client:
        signed = authority.sign(user)
        tls = aiomqtt.TLSParameters(str(files.ca), str(signed.certificate), str(signed.key))
        return aiomqtt.Client("127.0.0.1", port, identifier=user, tls_params=tls)

    heard: list[str] = []
    try:
        async with client("host/gaugeline") as host, client("gw-1") as one, client("+") as sly:
            await host.subscribe("#", 1)
            for gateway in (one, sly):
                for topic in ("DDATA/gw-2/pump", "NDATA/gw-2", "NCMD/gw-1", "NDATA/gw-1"):
                    await gateway.publish(f"spBv1.0/plant/{topic}", b"x", qos=1)
                await gateway.publish("spBv1.0/north/NDATA/gw-1", b"x", qos=1)
            await host.publish("spBv1.0/STATE/gaugeline", b"end", qos=1)
            async with asyncio.timeout(60):
                async for message in host.messages:
                    heard.append(str(message.topic))
                    if heard[-1].endswith("gaugeline"):
                        break
    finally:
        server.stop()
    assert heard == ["spBv1.0/plant/NDATA/gw-1", "spBv1.0/STATE/gaugeline"]


@pytest.mark.parametrize("fleet", ["certificate"], indirect=True)
async def test_the_hosts_own_tls_files_are_judged_and_its_refusal_is_told_in_words(
    fleet: Fleet, tmp_path: Path
) -> None:
    good = fleet.host()
    assert good.tls is not None
    other = Authority(tmp_path / "other", "somebody else")
    strange = other.sign("host/gaugeline")
    (tmp_path / "text").write_text("x")
    cases = {
        "did not sign the broker's certificate": good.tls._replace(ca=other.certificate),
        "does not know who signed": TlsFiles(good.tls.ca, strange.certificate, strange.key),
        "wants a certificate of this client": TlsFiles(good.tls.ca),
        "holds no certificate": TlsFiles(tmp_path / "text"),
        "cannot be read": TlsFiles(tmp_path / "nowhere"),
    }
    for words, files in cases.items():
        with pytest.raises(UplinkRefused, match=words):
            async with connected(dataclasses.replace(good, tls=files), "gaugeline", lambda: 1):
                pass
    text = {"url": f"mqtts://127.0.0.1:{fleet.port}", "ca_file": str(good.tls.ca)}
    config = tmp_path / "cloud.yaml"
    pair = {"certificate_file": str(good.tls.certificate), "key_file": str(good.tls.key)}
    config.write_text(json.dumps({"broker": text | pair}))
    assert load_config(config, {}).broker == good
    wrong = {
        "need each other": text | {"key_file": str(good.tls.key)},
        "only for TLS": text | {"url": "mqtt://x"},
        "ca_file: .*holds no certificate": text | {"ca_file": "text"},
    }
    for words, given in wrong.items():
        config.write_text(json.dumps({"broker": given}))
        with pytest.raises(ConfigError, match=words):
            load_config(config, {})
