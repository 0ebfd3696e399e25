"""Batches that a gateway had no room for: whichever version comes is stored once, and the balance holds in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.hosts import Running, running, until
from tests.cloud.small_gateway import T0, Sent, SmallGateway, row, tags
from tests.servers import Mosquitto
from wire.delivery import BatchTag
from wire.edge_session import DeviceBirth
from wire.ids import NodeId
from wire.payload import Metric
from wire.tag import Datatype
from wire.thinned import REPLACES, replaces_sample


@dataclass
class ThinningGateway(SmallGateway):
    """Replaces a batch by every second sample of it. lost: samples left out or dropped; roots: by new number."""

    lost: int = 0
    roots: dict[int, BatchTag] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.aliases |= {(d, REPLACES): 2000 + i for i, d in enumerate(self.devices)}

    def device_birth(self, device: str) -> DeviceBirth:
        birth = super().device_birth(device)
        marker = Metric(name=REPLACES, alias=self.aliases[device, REPLACES], datatype=Datatype.STRING)
        return birth._replace(metrics=(*birth.metrics, marker))

    def thin(self, old: Sent) -> tuple[Sent, dict[str, Any]]:
        """The thinned batch and the record of it; the old one is gone."""
        samples = [s for s in old.samples if s.name != REPLACES]
        root = self.roots.get(old.number) or BatchTag(self.epoch, old.number, len(samples), old.digest)
        kept = samples[::2]
        new = self.put(old.device, [replaces_sample(root, kept[0].ts_ms), *kept])
        del self.batches[old.number]
        self.roots[new.number] = root
        self.lost += len(samples) - len(kept)
        return new, self.thin_record(old.device, root, len(samples), len(kept), new.number)

    def drop(self, old: Sent) -> dict[str, Any]:
        """A thinned batch goes altogether."""
        count = len(old.samples) - 1
        del self.batches[old.number]
        self.lost += count
        return self.thin_record(old.device, self.roots[old.number], count, 0, None)

    def thin_record(self, device: str, root: BatchTag, before: int, after: int, number: int | None) -> dict[str, Any]:
        return {
            "kind": "thin", "epoch": root.epoch, "device": device, "into": self.epoch, "from_ms": T0, "to_ms": T0 + 99,
            "samples": before - after, "batches": [[root.number, before, after, number]], "why": "space",
        }  # fmt: skip

    def epoch_counters(self) -> dict[str, Any]:
        """As the outbox counts: the marker is no sample, what was left out is dropped."""
        found = super().epoch_counters()
        pump = found["devices"]["pump-1"]
        markers = {n for n in self.roots if n in self.batches}
        pump["produced"] += self.lost - len(markers)
        pump["dropped"] += self.lost
        pump["in_flight"] -= len(markers - self.confirmed - self.parked)
        return found


@dataclass
class Rig:
    host: Running
    gateway: ThinningGateway

    async def sees(self, stored: int, dropped: int, in_flight: int = 0) -> None:
        balance = await self.host.balance_after(self.gateway)
        total = balance.total
        assert (total.lost, total.stored, total.dropped, total.in_flight) == (0, stored, dropped, in_flight)
        assert balance.ok

    async def stored(self, sent: Sent) -> None:
        await self.gateway.publish(sent, historical=True)
        await until(lambda: sent.number in self.gateway.confirmed)

    async def told(self, record: dict[str, Any]) -> None:
        sent = await self.gateway.record(record)
        await until(lambda: sent.number in self.gateway.confirmed)


@pytest.fixture
async def rig(tmp_path: Path, mosquitto: Mosquitto) -> AsyncIterator[Rig]:
    gateway = ThinningGateway(NodeId("plant", "gw-1"), tags())
    async with running(tmp_path, mosquitto.port) as host, gateway.connected(mosquitto.port):
        yield Rig(host, gateway)


def batch(gateway: ThinningGateway, at: int = 0) -> Sent:
    return gateway.put("pump-1", [row(T0 + at + i, float(i)) for i in range(8)])


async def test_a_thinned_batch_is_stored_once_under_its_first_number_and_balances(rig: Rig) -> None:
    thin, record = rig.gateway.thin(batch(rig.gateway))
    await rig.sees(stored=0, dropped=4, in_flight=4)
    await rig.gateway.publish(thin, historical=True)
    await rig.stored(thin)
    await rig.told(record)
    await rig.sees(stored=4, dropped=4)
    # Once more thinned, because its confirmation was lost on the way; and then dropped.
    rig.gateway.confirmed.discard(thin.number)
    thinner, record = rig.gateway.thin(thin)
    await rig.stored(thinner)
    await rig.told(record)
    await rig.sees(stored=4, dropped=4)
    rig.gateway.confirmed.discard(thinner.number)
    await rig.told(rig.gateway.drop(thinner))
    await rig.sees(stored=4, dropped=4)


async def test_a_host_that_holds_the_whole_batch_confirms_without_storing_and_nothing_counts_as_dropped(
    rig: Rig,
) -> None:
    old = batch(rig.gateway)
    await rig.stored(old)
    rig.gateway.confirmed.discard(old.number)  # the confirmation never came
    thin, record = rig.gateway.thin(old)
    await rig.stored(thin)
    await rig.told(record)
    await rig.sees(stored=8, dropped=0)


async def test_a_whole_batch_that_comes_after_its_thinned_one_is_not_stored_again(rig: Rig) -> None:
    old = batch(rig.gateway)
    thin, record = rig.gateway.thin(old)
    await rig.stored(thin)
    await rig.gateway.publish(old)  # a twin that was late on the way
    other = batch(rig.gateway, at=100)
    await rig.stored(other)
    await rig.told(record)
    await rig.sees(stored=4 + 8, dropped=4)
    assert rig.gateway.parked == set()


async def test_both_versions_in_one_round_are_stored_once(rig: Rig) -> None:
    old = batch(rig.gateway)
    await rig.gateway.publish(old)
    thin, record = rig.gateway.thin(old)
    await rig.gateway.publish(thin)
    # A range that covers both is not believed, for the old one is gone: the thinned one goes out again by itself.
    await rig.gateway.drain()
    await rig.told(record)
    await rig.sees(stored=8, dropped=0)


async def test_a_thinned_batch_of_a_first_version_with_another_digest_is_a_conflict(rig: Rig) -> None:
    old = batch(rig.gateway)
    await rig.stored(old)
    rig.gateway.roots[old.number] = BatchTag(rig.gateway.epoch, old.number, 8, "00" * 16)
    thin, _ = rig.gateway.thin(old)
    await rig.gateway.publish(thin, historical=True)
    await until(lambda: thin.number in rig.gateway.parked)
    letters = await rig.host.letters.counts()
    assert [(x.kind, n) for x, n in letters.items()] == [("conflict", 4)]


async def test_a_marker_that_cannot_be_read_is_kept_like_any_text(rig: Rig) -> None:
    broken = replaces_sample(BatchTag("e", 1, 2, "00" * 16), T0)._replace(value="not a tag")
    sent = rig.gateway.put("pump-1", [broken, row(T0, 1.0)])
    await rig.stored(sent)
    assert json.loads(rig.gateway.counters())["epochs"][0]["number"] == sent.number
