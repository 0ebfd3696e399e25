"""TLS to a real mosquitto that wants certificates: what works, and what a person is told when it does not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from gateway.cli import main
from gateway.config import load_site
from gateway.config.convert import Broker
from tests.certificates import DAY, Authority, Signed
from tests.gateway.field import block, site_yaml
from tests.gateway.host import host
from tests.gateway.test_brokers import gateway_of
from tests.servers import Mosquitto, free_port
from wire.certificates import TlsFiles, outdated
from wire.errors import ConfigError


class Secure(Mosquitto):
    """TLS that wants a client certificate on `port`, and a plain listener for the test's own host on `plain`."""

    def __init__(self, folder: Path, authority: Authority, own: Signed) -> None:
        super().__init__(folder)
        self.plain = free_port()
        self.extra = (
            f"cafile {authority.certificate}\ncertfile {own.certificate}\nkeyfile {own.key}\n"
            f"require_certificate true\nuser root\nlistener {self.plain} 127.0.0.1\n"
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Signed:
    return authority.sign("plant/gw")


@pytest.fixture
def secure(tmp_path: Path, authority: Authority) -> Iterator[Secure]:
    server = Secure(tmp_path / "secure", authority, authority.sign("broker"))
    server.start()
    yield server
    server.stop()


def broker(port: int, files: TlsFiles, address: str = "127.0.0.1") -> Broker:
    return Broker(address, port, keepalive_s=5, tls=files)


async def trouble(folder: Path, found: Broker, caplog: pytest.LogCaptureFixture) -> str:
    """What the gateway says of this broker; told once, and not tried again before the longest back-off."""
    async with gateway_of(folder, [found]) as r:
        async with asyncio.timeout(60):
            while not r.uplink.trouble:
                await asyncio.sleep(0.01)
        await r.take(block(10))
        await asyncio.sleep(0.3)
        assert (r.uplink.counters["sessions"], (await r.outbox.pending())[0]) == (0, 1), "sampling goes on"
        told = [x for x in caplog.records if x.name == "gateway.uplink"]
        assert [(x.getMessage(), x.__dict__["next_try_s"]) for x in told] == [("broker refuses this gateway", 60.0)]
        # asyncio may tell that paho's thread asks to be told of a socket that is closed already.
        assert not [x for x in caplog.records if x.exc_info and x.name != "asyncio"]
        return r.uplink.trouble


async def test_a_client_with_a_certificate_delivers_over_tls(
    secure: Secure, authority: Authority, client: Signed, tmp_path: Path
) -> None:
    files = TlsFiles(authority.certificate, client.certificate, client.key)
    async with host(secure.plain) as h, gateway_of(tmp_path, [broker(secure.port, files)]) as r:
        await r.online()
        await r.take(block(10))
        await r.all_confirmed()
        assert (h.samples, str(r.uplink.status()["broker"])) == (2, f"mqtts://127.0.0.1:{secure.port}")


async def test_without_a_certificate_of_its_own_the_alert_is_told(
    secure: Secure,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = await trouble(tmp_path, broker(secure.port, TlsFiles(authority.certificate)), caplog)
    assert said == "the broker wants a certificate of this client: give certificate_file and key_file"


async def test_a_certificate_of_a_stranger_is_told(
    secure: Secure,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    strange = Authority(tmp_path / "strange", "somebody else").sign("plant/gw")
    files = TlsFiles(authority.certificate, strange.certificate, strange.key)
    said = await trouble(tmp_path, broker(secure.port, files), caplog)
    assert said.startswith(f"the broker does not know who signed {strange.certificate}"), said


async def test_an_authority_that_did_not_sign_the_broker_is_told(
    secure: Secure, client: Signed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other", "somebody else").certificate
    said = await trouble(tmp_path, broker(secure.port, TlsFiles(other, client.certificate, client.key)), caplog)
    assert said == f"{other} did not sign the broker's certificate: give the one that did as ca_file"


async def test_a_broker_that_no_known_authority_signed_is_told(
    secure: Secure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = await trouble(tmp_path, broker(secure.port, TlsFiles()), caplog)
    assert said.startswith("no authority that this machine trusts signed the broker's certificate: give")


async def test_a_name_that_the_brokers_certificate_does_not_bear_is_told(
    secure: Secure, authority: Authority, client: Signed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = TlsFiles(authority.certificate, client.certificate, client.key)
    said = await trouble(tmp_path, broker(secure.port, files, "localhost"), caplog)
    assert said.startswith("the broker's certificate is not made for localhost: write the name that it bears"), said


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (-2 * DAY, -DAY, "the broker's certificate has expired: put a new one on the broker"),
        (DAY, 2 * DAY, "the broker's certificate does not count yet: set this machine's clock"),
    ],
)
async def test_a_brokers_certificate_out_of_its_time_is_told(
    begins: timedelta,
    ends: timedelta,
    words: str,
    authority: Authority,
    client: Signed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Secure(tmp_path / "old", authority, authority.sign("broker", begins=begins, ends=ends))
    server.start()
    try:
        files = TlsFiles(authority.certificate, client.certificate, client.key)
        said = await trouble(tmp_path, broker(server.port, files), caplog)
    finally:
        server.stop()
    assert said.startswith(words), said


async def test_a_port_that_speaks_no_tls_is_told(
    secure: Secure, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(60):
        server = await asyncio.start_server(lambda _, writer: writer.write(b"\x20\x02\x00\x05 no TLS"), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            said = await trouble(tmp_path, broker(port, TlsFiles(authority.certificate)), caplog)
    assert said.startswith("no TLS is spoken on this port"), said


async def test_a_renewed_certificate_is_taken_without_a_restart(
    secure: Secure,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.brokers.LONGEST_BACK_OFF_S", 0.2)
    old, new = authority.sign("plant/gw", begins=-2 * DAY, ends=-DAY), authority.sign("plant/gw")
    mine = Signed(tmp_path / "mine.crt", tmp_path / "mine.key")

    def put(signed: Signed) -> None:
        mine.key.write_bytes(signed.key.read_bytes())
        mine.key.chmod(0o600)
        mine.certificate.write_bytes(signed.certificate.read_bytes())

    put(old)
    files = TlsFiles(authority.certificate, mine.certificate, mine.key)
    async with host(secure.plain), gateway_of(tmp_path, [broker(secure.port, files)]) as r:
        async with asyncio.timeout(60):
            while not r.uplink.trouble:
                await asyncio.sleep(0.01)
        yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
        assert r.uplink.trouble.startswith(f"{mine.certificate} has expired on {yesterday}: put a new one in its place")
        mine.key.unlink()
        async with asyncio.timeout(60):
            while "cannot be read" not in r.uplink.trouble:
                await asyncio.sleep(0.01)
        assert (
            r.uplink.trouble == f"{mine.key} cannot be read (No such file or directory): check the path and its rights"
        )
        put(new)
        await r.online()


def site(folder: Path, broker: str) -> Path:
    return site_yaml(folder, broker, 502)


def test_a_site_with_tls_is_read_and_an_expired_certificate_is_only_a_warning(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = authority.sign("plant/gw", begins=-2 * DAY, ends=-DAY)
    given = f"ca_file: {authority.certificate}, certificate_file: {old.certificate}, key_file: {old.key}"
    path = site(tmp_path, f"[mqtt://a, {{url: 'mqtts://b', host_wait_s: 5, {given}}}]\nhosts: []\nconfirm: none")
    found = load_site(path)
    files = TlsFiles(authority.certificate, old.certificate, old.key)
    assert found.brokers == (Broker("a", 1883), Broker("b", 8883, tls=files, host_wait_s=5))
    assert [str(b) for b in found.brokers] == ["mqtt://a:1883", "mqtts://b:8883"]
    assert (found.hosts, found.confirming) == ((), False)
    assert main(["check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert f"warning: {old.certificate} has expired on" in err
    assert "publishes to mqtt://a:1883 or mqtts://b:8883 for whoever listens" in out


def test_everything_that_is_wrong_with_tls_files_is_told_at_once_with_line_and_file(
    authority: Authority, client: Signed, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("hello")
    open_key = tmp_path / "open.key"
    open_key.write_bytes(client.key.read_bytes())
    open_key.chmod(0o644)
    locked = tmp_path / "locked.key"
    made = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    locked.chmod(0o600)
    other = authority.sign("plant/other")
    mine = f"certificate_file: {client.certificate}"
    path = site(
        tmp_path,
        "\n"
        "  - {url: 'mqtts://a', ca_file: nowhere.crt}\n"
        "  - {url: 'mqtts://b', ca_file: text, key_file: text}\n"
        f"  - {{url: 'mqtts://c', {mine}, key_file: open.key}}\n"
        f"  - {{url: 'mqtts://d', {mine}, key_file: locked.key}}\n"
        f"  - {{url: 'mqtts://e', {mine}, key_file: {other.key}}}\n"
        f"  - {{url: 'mqtt://f', {mine}, key_file: {client.key}}}\n"
        f"  - {{url: 'mqtts://g', {mine}}}\n"
        "  - mqtts://g\n"
        "  - {url: 'mqtt://h', username: me, password_file: empty}",
    )
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    told = [text.removeprefix(f"{path}:").replace(str(tmp_path), "HERE") for text in caught.value.problems]
    assert told == [
        "4: broker.0.ca_file: HERE/nowhere.crt cannot be read (No such file or directory):"
        " check the path and its rights",
        "5: broker.1.certificate_file: is missing: key_file needs it",
        "5: broker.1.ca_file: HERE/text holds no certificate: give a PEM file with -----BEGIN CERTIFICATE-----",
        "5: broker.1.key_file: HERE/text holds no private key: give a PEM file with -----BEGIN PRIVATE KEY-----",
        "6: broker.2.key_file: HERE/open.key can be read by everybody: chmod 640 HERE/open.key",
        "7: broker.3.key_file: HERE/locked.key is locked by a passphrase, and nobody is there to type it:"
        " openssl pkey -in ... -out ...",
        f"8: broker.4.key_file: {other.key} is not the key of certificate_file: give the one that it was made with",
        "9: broker.5.certificate_file: is only for TLS: write url as mqtts://HOST",
        "9: broker.5.key_file: is only for TLS: write url as mqtts://HOST",
        "10: broker.6.key_file: is missing: certificate_file needs it",
        "11: broker.7: the same broker stands here twice (got 'mqtts://g')",
        "12: broker.8.password_file: is empty: one line with the password is wanted (got 'empty')",
    ]


def test_one_good_authority_among_old_ones_is_enough(authority: Authority) -> None:
    now = datetime.now(UTC)
    good = authority.certificate.read_bytes()
    old = authority.sign("x", begins=-2 * DAY, ends=-DAY).certificate.read_bytes()
    assert (outdated(good + old, now), outdated(b"", now)) == ("", "holds no certificate")
    assert outdated(old, now - timedelta(days=9)).startswith("counts only from ")


def test_a_broker_without_tls_has_no_files() -> None:
    assert dataclasses.asdict(Broker("a", 1))["tls"] is None
