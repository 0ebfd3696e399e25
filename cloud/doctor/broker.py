"""The broker: reachable, credentials, rights, another host with our id, its certificate."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from cloud.ask import clock
from cloud.broker import REFUSED_HELP, SUBSCRIBED, Broker
from cloud.config import Config
from cloud.doctor.finding import Finding, failed, ok, warning
from cloud.tls import tls_context
from wire.certificates import words
from wire.errors import UplinkRefused
from wire.topic import NAMESPACE, state_topic

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

REACH_S = 5.0
KEPT_S, HEARD_S = 2.0, 5.0
"""What the broker keeps follows the subscription at once; our own word comes back within a round trip."""
SOON_DAYS = 30


class Said(NamedTuple):
    """STATE as it is kept by the broker. online None: nobody ever said it."""

    online: bool | None
    timestamp: int


async def broker(config: Config, someone_online: str) -> list[Finding]:
    """someone_online: why nobody may log in now: a broker may make client ids of user names and end that session."""
    where = config.broker
    try:
        with socket.create_connection((where.host, where.port), timeout=REACH_S):
            pass
    except OSError as fault:
        todo = "start the broker, or correct `broker`; a firewall may stand between"
        return [failed("broker", f"{where} cannot be reached: {fault.strerror or fault}", todo)]
    found = await asyncio.to_thread(lambda: list(certificates(where)))
    if someone_online:
        return [ok("broker", f"{where} can be reached; credentials not tried: {someone_online}"), *found]
    return [*await _logged_in(config), *found]


async def _logged_in(config: Config) -> list[Finding]:
    where = config.broker
    try:
        tls = None if where.tls is None else await asyncio.to_thread(tls_context, where.tls)
        async with aiomqtt.Client(
            where.host, where.port, username=where.username or None, password=where.password or None,
            identifier=f"{config.host_id}-doctor-{secrets.token_hex(4)}", timeout=REACH_S, tls_context=tls,
            protocol=aiomqtt.ProtocolVersion.V311,
        ) as client:  # fmt: skip
            return await _rights(client, config)
    except UplinkRefused as fault:
        return [failed("broker", str(fault), "correct the files of `broker`")]
    except aiomqtt.MqttError as fault:
        met = fault.__context__ if isinstance(fault.__context__, ssl.SSLError) else tls.fault if tls else None
        if met is not None and where.tls is not None:
            told = words(met, where.host, where.tls) or str(met)
            return [failed("broker", f"{where}: {told}", "correct the files of `broker`, or the broker's certificate")]
        return [failed("broker", f"{where} refuses this host: {fault}", REFUSED_HELP)]


async def _rights(client: aiomqtt.Client, config: Config) -> list[Finding]:
    mine = state_topic(config.host_id)
    topics = [
        f"{NAMESPACE}/{group}/{kind}/+{'/+' if kind[0] == 'D' else ''}"
        for group in config.groups or ("+",)
        for kind in SUBSCRIBED
    ]
    granted = await client.subscribe([(mine, 1), *((topic, 1) for topic in topics)])
    answers = zip((mine, *topics), granted, strict=True)
    refused = [topic for topic, code in answers if isinstance(code, ReasonCode) and code.is_failure]
    if refused:
        todo = "give the host's user the right to read it (`gaugeline cloud broker-config` writes such an ACL)"
        return [failed("broker", f"{config.broker} refuses a subscription: {', '.join(refused)}", todo)]
    said = await _state(client, mine)
    logged_in = f"{config.broker}: logged in, may read"
    if said.online:
        return [
            ok("broker", logged_in),
            warning("host id", f"a host is online as {config.host_id!r} since {clock(said.timestamp)}, but not at this "
                    "page's address", "two hosts with one id send each other's gateways away: end one of them, or give "
                    "this one another host_id"),
        ]  # fmt: skip
    if not await _may_speak(client, mine, said):
        todo = f"give the host's user the right to write {mine}: gateways wait for it"
        return [failed("broker", f"{logged_in}, but may not write {mine}", todo)]
    return [ok("broker", f"{logged_in} and write"), ok("host id", f"no other host is online as {config.host_id!r}")]


async def _state(client: aiomqtt.Client, mine: str) -> Said:
    """What the broker keeps of our STATE."""
    payload = await _heard(client, mine, lambda message: message.retain, KEPT_S)
    try:
        found: Any = json.loads(payload or b"{}")
    except ValueError:
        found = {}
    if not isinstance(found, dict) or not isinstance(found.get("online"), bool):
        return Said(None, 0)
    stamp = found.get("timestamp")
    return Said(found["online"], stamp if isinstance(stamp, int) else 0)


async def _may_speak(client: aiomqtt.Client, mine: str, said: Said) -> bool:
    """The truth is said again, not kept, with its old time: without the right a broker swallows it in silence."""
    payload = json.dumps({"online": False, "timestamp": said.timestamp})
    await client.publish(mine, payload, qos=1)
    return await _heard(client, mine, lambda message: not message.retain, HEARD_S) == payload.encode()


async def _heard(client: aiomqtt.Client, topic: str, wanted: Any, timeout_s: float) -> bytes | None:
    try:
        async with asyncio.timeout(timeout_s):
            async for message in client.messages:
                if str(message.topic) == topic and wanted(message) and isinstance(message.payload, bytes):
                    return message.payload
    except TimeoutError:
        pass
    return None


def certificates(where: Broker, now: datetime | None = None) -> Iterator[Finding]:
    """Ours, the authority's, and the one that the broker shows: how long they count."""
    if where.tls is None:
        return
    now = now or datetime.now(UTC)
    for path in (where.tls.ca, where.tls.certificate):
        if path is not None:
            yield from _file(path, now)
    shown = shown_by(where.host, where.port)
    if shown is not None:
        yield judged(f"of the broker {where}", shown, now)


def _file(path: Path, now: datetime) -> Iterator[Finding]:
    from cryptography import x509

    found = x509.load_pem_x509_certificates(path.read_bytes())
    yield judged(str(path), max(found, key=lambda c: c.not_valid_after_utc), now)


def shown_by(host: str, port: int) -> Certificate | None:
    """Whatever it is worth: the login says whether it is trusted."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=REACH_S) as sock,
            context.wrap_socket(sock, server_hostname=host) as shaken,
        ):
            der = shaken.getpeercert(binary_form=True)
    except OSError:
        return None
    return x509.load_der_x509_certificate(der) if der else None


def judged(name: str, certificate: Certificate, now: datetime) -> Finding:
    ends = certificate.not_valid_after_utc
    what = f"certificate {name} counts until {ends:%Y-%m-%d}"
    if ends <= now:
        return failed("certificate", f"certificate {name} has expired on {ends:%Y-%m-%d}", "renew it")
    if (ends - now).days < SOON_DAYS:
        return warning("certificate", f"{what}: {(ends - now).days} days", "renew it; no restart is needed")
    return ok("certificate", what)
