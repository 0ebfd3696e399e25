"""One session after the other over a real mosquitto: gateway, collector, a foreign subscriber, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.app import Gateway
from gateway.config import load_site
from tests.cloud.hosts import Running, running
from tests.servers import Mosquitto
from tests.sparkplug import plant
from tests.sparkplug.foreign import encoded
from tests.sparkplug.plant import STRANGE, modbus, site_yaml
from tests.sparkplug.recording import NODE, STATE, Event, Json, Recording, understand
from tests.sparkplug.tap import Tap, Tape, tap, wall_ms
from wire.block import Reason

REORDER_MS = 400
STRANGE_DEVICE = "pump"  # as one of the gateway is called too
_NCMD = f"spBv1.0/{NODE[0]}/NCMD/{NODE[1]}"


async def until(true: Callable[[], object], what: str, at_most_s: float = 60.0) -> None:
    try:
        async with asyncio.timeout(at_most_s):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"the scenario waited in vain for {what}") from None


class Witness:
    """A foreign subscriber at QoS 2 with MQTT 5's retain-as-published: it sees what was said as it was said."""

    def __init__(self, tape: Tape, client: aiomqtt.Client) -> None:
        self._tape, self._client = tape, client

    async def listen(self) -> None:
        async for m in self._client.messages:
            body = m.payload if isinstance(m.payload, bytes) else b""
            event = Event("witness", 1, "PUBLISH", False, wall_ms(), str(m.topic), m.qos, m.retain, body)
            self._tape.events.append(event)

    async def say(self, topic: str, body: bytes | str, qos: int = 0, retain: bool = False) -> None:
        await self._client.publish(topic, body, qos=qos, retain=retain)

    async def state(self, topic: str, online: bool, ts_ms: int) -> None:
        await self.say(topic, json.dumps({"online": online, "timestamp": ts_ms}), 1, True)

    async def strange(self, *messages: tuple[str, Json]) -> None:
        """Messages of the foreign edge node, encoded by the foreign encoder, one right after the other."""
        for (kind, _), body in zip(messages, encoded([p for _, p in messages]), strict=True):
            device = f"/{STRANGE_DEVICE}" if kind[0] == "D" else ""
            await self.say(f"spBv1.0/{STRANGE[0]}/{kind}/{STRANGE[1]}{device}", body, 1 if kind == "NDEATH" else 0)


@asynccontextmanager
async def witness(tape: Tape, port: int) -> AsyncIterator[Witness]:
    async with aiomqtt.Client(
        "127.0.0.1", port, identifier="witness", protocol=aiomqtt.ProtocolVersion.V5, max_queued_incoming_messages=0
    ) as client:
        found = Witness(tape, client)
        await client.subscribe("spBv1.0/#", options=SubscribeOptions(qos=2, retainAsPublished=True))
        listening = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class Scenario:
    """What is done, in order. Every step waits for what must follow, never for a time that should suffice."""

    def __init__(self, tape: Tape, w: Witness, edge: Tap, host: Tap, field: plant.Field) -> None:
        self.tape, self.w, self.edge, self.host, self.field = tape, w, edge, host, field

    def said(self, who: str, *types: str) -> list[Event]:
        return [e for e in self.tape.events if e.who == who and e.up and e.kind == "PUBLISH" and e.type in types]

    def heard(self, kind: str, name: str) -> list[Event]:
        of = [e for e in self.tape.events if e.who == "witness" and e.type == kind]
        return [e for e in of if e.levels[-1] == name or name in e.levels[3:4]]

    def shown(self, kind: str, host: Running) -> None:
        tags = {
            f"{t.node.node}/{t.device}/{t.name}": {
                "stale": t.reason is Reason.STALE, "gone_ms": t.gone_ms, "value": t.value,
            }
            for t in host.host.live.tags()
        }  # fmt: skip
        self.tape.note(kind, **tags)

    def subscribed(self) -> list[Event]:
        """Sessions of the gateway that have subscribed their last topic."""
        of = [e for e in self.tape.events if e.who == "edge" and e.kind == "SUBSCRIBE"]
        return [e for e in of if e.said["filters"][0][0] == STATE]

    async def more(self, who: str, kind: str, count: int = 1) -> None:
        """Waits until so many messages of this type more were said."""
        had = len(self.said(who, kind))
        await until(lambda: len(self.said(who, kind)) >= had + count, f"{kind} of {who}")

    async def before_the_host(self) -> None:
        """The gateway is there, its host is not: another host is, and an old STATE of its own says offline."""
        await until(self.subscribed, "the gateway")
        self.tape.note("ALONE")
        await self.w.state("spBv1.0/STATE/other", True, wall_ms())
        await self.w.state(STATE, False, wall_ms())
        await until(lambda: len(self.heard("STATE", "gaugeline")) == 1, "STATE")
        await asyncio.sleep(0.3)  # long enough for a birth that must not come
        self.tape.note("ALONE STILL")
        await self.w.say(STATE, json.dumps({"online": True, "timestamp": wall_ms() - 60_000}), 1)
        await until(lambda: len(self.subscribed()) == 2, "the gateway in a new session")
        await asyncio.sleep(0.2)
        self.tape.note("TIME IS OLD")

    async def first_data(self) -> None:
        await until(lambda: self.said("edge", "DDATA"), "data")
        self.tape.note("SETPOINT")
        self.field.setpoint = plant.SETPOINT
        await until(lambda: self.said("edge", "NDATA"), "NDATA")

    async def rebirths(self) -> None:
        """Asked for by a foreign host, with the datatype and without it, and right after births that it asked for."""
        metric = {"name": "Node Control/Rebirth", "type": "Boolean", "value": True, "timestamp": wall_ms()}
        bare = {"name": "Node Control/Rebirth", "booleanValue": True}
        bodies = encoded([
            {"timestamp": wall_ms(), "metrics": [metric]},
            {"raw": {"timestamp": wall_ms(), "metrics": [bare]}},
        ])  # fmt: skip
        for kind, body in zip(("REBIRTH", "BARE REBIRTH", "HASTY REBIRTH"), (*bodies, bodies[0]), strict=True):
            if kind == "BARE REBIRTH":
                await asyncio.sleep(2.1)  # births on command are said every 2 s at most: the hasty one has to wait
            had = len(self.said("edge", "DBIRTH"))
            self.tape.note(kind)
            await self.w.say(_NCMD, body)
            await self.births(had, kind)
            await self.more("edge", "DDATA", count=3)

    async def births(self, had: int, why: str) -> None:
        wanted = had + len(plant.DEVICES)
        await until(lambda: len(self.said("edge", "DBIRTH")) >= wanted, f"births after {why}")

    async def device_dies_and_returns(self, host: Running) -> None:
        self.tape.note("DEVICE DIES")
        self.field.silent.add(2)
        await until(lambda: [e for e in self.said("edge", "DDEATH") if e.device == "fan"], "DDEATH")
        await until(lambda: [e for e in self.heard("DDEATH", "gw") if e.device == "fan"], "DDEATH at the host")
        await until(lambda: all(t.reason is Reason.STALE for t in host.host.live.tags() if t.device == "fan"), "stale")
        self.shown("DEVICE GONE", host)
        had = len([e for e in self.said("edge", "DBIRTH") if e.device == "fan"])
        self.field.silent.clear()
        await until(lambda: len([e for e in self.said("edge", "DBIRTH") if e.device == "fan"]) > had, "DBIRTH")
        self.tape.note("DEVICE BACK")

    async def states(self) -> None:
        """An offline STATE of before the host's birth, then one of now: both are not the host's own."""
        online = json.loads(self.said("host", "STATE")[-1].body)["timestamp"]
        had = len(self.said("host", "STATE"))
        self.tape.note("OLD OFFLINE")
        await self.w.state(STATE, False, online - 1)
        await until(lambda: len(self.said("host", "STATE")) > had, "STATE said again")
        await self.more("edge", "DDATA", count=3)
        had, births = len(self.said("host", "STATE")), len(self.said("edge", "DBIRTH"))
        self.tape.note("NEW OFFLINE")
        await self.w.state(STATE, False, wall_ms())
        await until(lambda: len(self.said("host", "STATE")) > had, "STATE said again")
        await self.births(births, "the gateway's return")
        self.tape.note("RETURNED")

    async def cables(self, host: Running) -> None:
        """The gateway's connection is torn, then the host's."""
        births = len(self.said("edge", "NBIRTH"))
        self.tape.note("EDGE CUT")
        self.edge.cut()
        await until(lambda: len(self.said("edge", "NBIRTH")) > births, "the gateway's return")
        await self.more("edge", "DDATA", count=3)
        births, states = len(self.said("edge", "NBIRTH")), len(self.said("host", "STATE"))
        self.tape.note("HOST CUT")
        self.host.cut()
        await until(lambda: not host.collector.online, "the host's loss")
        self.shown("HOST ALONE", host)
        await until(lambda: len(self.said("host", "STATE")) > states, "the host's return")
        await until(lambda: len(self.said("edge", "NBIRTH")) > births, "the gateway's return")
        self.tape.note("HOST BACK")

    async def strange_node(self, host: Running) -> None:
        """A foreign edge node: order, gaps, deaths."""

        def known(seq: int) -> bool:
            return any(
                t.node.node == "strange" and t.name == "Double" and t.value == seq for t in host.host.live.tags()
            )

        def asked() -> list[Event]:
            return [e for e in self.said("host", "NCMD") if e.levels[-1] == "strange"]

        def stale(device: str) -> bool:
            of = [t for t in host.host.live.tags() if t.node.node == "strange" and t.device == device]
            return bool(of) and all(t.reason is Reason.STALE for t in of)

        now = wall_ms()
        await self.w.strange(*plant.strange_births(now))
        await until(lambda: known(2.25), "the foreign births at the host")  # type: ignore[arg-type]
        self.shown("STRANGE BORN", host)
        await self.w.strange(*(plant.strange_data(seq, now + seq) for seq in (2, 4, 3)))
        await until(lambda: known(4), "data in another order")
        self.tape.note("IN TIME")
        await asyncio.sleep(2 * REORDER_MS / 1000)  # a timer that was not ended would ask now
        self.tape.note("GAP")
        await self.w.strange(plant.strange_data(6, now + 6))
        await until(asked, "a rebirth request", 60)
        self.tape.note("ASKED")
        await self.w.strange(*plant.strange_births(now + 10))
        await until(lambda: known(2.25), "the new births")  # type: ignore[arg-type]
        death = {"timestamp": wall_ms() - 60_000, "seq": 2}
        self.tape.note("DDEATH", **death)
        await self.w.strange(("DDEATH", death))
        await until(lambda: stale(STRANGE_DEVICE), "a stale device")
        self.shown("STRANGE DEVICE GONE", host)
        again = plant.strange_births(wall_ms())
        await self.w.strange(*again, plant.strange_death(6, 1), plant.strange_data(2, wall_ms()))
        await until(lambda: known(2), "data after a wrong death")
        self.shown("WRONG NDEATH", host)
        self.tape.note("NDEATH")
        await self.w.strange(plant.strange_death(7, 1))
        await until(lambda: stale(STRANGE_DEVICE), "a stale node")
        self.shown("STRANGE GONE", host)

    async def long_session(self) -> None:
        """Until the sequence number has turned."""

        def turned() -> bool:
            last = max(i for i, e in enumerate(self.tape.events) if e.who == "edge" and e.type == "NBIRTH" and e.up)
            return len([e for e in self.tape.events[last:] if e.who == "edge" and e.up and e.kind == "PUBLISH"]) > 270

        await until(turned, "270 messages of one session", 30)


async def play(folder: Path) -> Recording:
    """The whole scenario; about 12 s."""
    tape = Tape()
    broker = Mosquitto(folder / "mosquitto")
    broker.start()
    try:
        async with (
            tap(tape, "edge", broker.port) as edge,
            tap(tape, "host", broker.port) as host_tap,
            witness(tape, broker.port) as w,
            modbus() as (field, modbus_port),
        ):
            scenario = Scenario(tape, w, edge, host_tap, field)
            site = load_site(site_yaml(folder, edge.port, modbus_port))
            stop = asyncio.Event()
            gateway = Gateway(site)
            await gateway.open()
            task = asyncio.create_task(gateway.run(stop, None))
            try:
                await scenario.before_the_host()
                async with running(folder, host_tap.port, reorder_ms=REORDER_MS) as host:
                    await scenario.first_data()
                    await scenario.rebirths()
                    await scenario.device_dies_and_returns(host)
                    await scenario.states()
                    await scenario.cables(host)
                    await scenario.strange_node(host)
                    await scenario.long_session()
                    tape.note("EDGE STOPS")
                    stop.set()
                    await task
                    await until(lambda: scenario.heard("NDEATH", "gw"), "NDEATH")
                    tape.note("HOST STOPS")
                await asyncio.sleep(0.1)
                tape.note("END")
            finally:
                stop.set()  # a scenario that failed lets the gateway leave too
                await asyncio.wait([task], timeout=60)
    finally:
        broker.stop()
    return understand(tape.events)
