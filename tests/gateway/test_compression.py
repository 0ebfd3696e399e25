"""Compressed data: only where the site offers it and every host that is needed has said that it unpacks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt

from tests.cloud.hosts import running, until
from tests.gateway.field import block
from tests.gateway.host import host
from tests.gateway.test_uplink import Rig, rig
from tests.servers import Mosquitto
from wire import sparkplug_pb2 as pb
from wire.compressed import UUID


@asynccontextmanager
async def overheard(port: int) -> AsyncIterator[list[pb.Payload]]:
    """Every DDATA on the broker, as it is on the wire."""
    found: list[pb.Payload] = []

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            found.append(pb.Payload.FromString(message.payload))

    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("spBv1.0/+/DDATA/#")
        task = asyncio.create_task(listen(client))
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])


async def take_some(r: Rig, first_ms: int, count: int = 20) -> None:
    for ts_ms in range(first_ms, first_ms + count):
        await r.take(block(ts_ms, value=ts_ms / 8))
        await asyncio.sleep(0.02)


NOW = 1_790_000_000_000


async def test_a_host_that_unpacks_gets_compressed_data_and_stores_every_sample(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with (
        running(tmp_path, mosquitto.port) as h,
        overheard(mosquitto.port) as seen,
        rig(tmp_path, mosquitto.port, compress=True) as r,
    ):
        await r.online()
        for n in range(50):
            await take_some(r, NOW + n * 100, 2)
            if seen and seen[-1].uuid == UUID:
                break
        await take_some(r, NOW + 10_000)
        await r.all_confirmed()
        last = [p for p in seen if p.uuid == UUID][-1]
        assert last.HasField("seq") and [m.name for m in last.metrics] == ["algorithm"]
        produced = (await r.outbox.status())["devices"]["pump"]["produced"]
        await until(lambda: h.host.stats().counters.get("samples_stored", 0) == produced)
        while (balance := await h.host.audit()).total.produced < produced:  # counters are said every two seconds
            await asyncio.sleep(0.1)
        assert (balance.total.stored, balance.total.lost) == (produced, 0)


async def test_a_site_that_does_not_ask_for_it_sends_plain_data(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with (
        running(tmp_path, mosquitto.port),
        overheard(mosquitto.port) as seen,
        rig(tmp_path, mosquitto.port) as r,
    ):
        await r.online()
        await take_some(r, NOW)
        await r.all_confirmed()
        assert len(seen) > 5 and {p.uuid for p in seen} == {""}


async def test_one_host_that_has_not_said_so_keeps_it_plain_for_all(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with (
        host(mosquitto.port) as h,
        overheard(mosquitto.port) as seen,
        rig(tmp_path, mosquitto.port, hosts=("gaugeline", "second"), compress=True) as r,
    ):
        await r.online()
        await h.command("Delivery/Compression", '{"host":"gaugeline","algorithm":"DEFLATE"}')
        await h.command("Delivery/Compression", '{"host":"second","algorithm":"LZ77"}')
        await h.command("Delivery/Compression", '{"host":"stranger","algorithm":"DEFLATE"}')
        await asyncio.sleep(0.2)
        await take_some(r, NOW)
        assert len(seen) > 5 and {p.uuid for p in seen} == {""}
        await h.command("Delivery/Compression", '{"host":"second","algorithm":"DEFLATE"}')
        await until(lambda: r.uplink.counters["commands_unknown"] == 0)
        for n in range(50):
            await take_some(r, NOW + 1_000 + n * 100, 2)
            if seen[-1].uuid == UUID:
                break
        assert seen[-1].uuid == UUID
