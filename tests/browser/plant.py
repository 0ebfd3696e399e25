"""A small plant for looking at the page: real live values and a real DuckDB file, filled by the minute and on demand.

The full chain shows that everything works together; this shows, at once and on order, what the chain shows rarely:
a device that does not answer, a doubtful value, a full car park, an anomaly.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

import cloud.costs
from cloud import api
from cloud.balance import Balance, Counts
from cloud.costs.energy import EnergyToday, energy_today
from cloud.costs.tariff_file import load_tariff
from cloud.dead_letters import DeadLetters
from cloud.host_view import Anomaly, HostStats
from cloud.live import LiveValues
from cloud.state.db import StateDb
from cloud.state.host import HostState
from cloud.store.embedded import EmbeddedStore
from cloud.store.port import Batch
from cloud.web import mount
from tests.servers import free_port
from wire.block import Quality, Reason, Sample, Value
from wire.ids import NodeId
from wire.tag import Asset, Datatype, Tag, birth_properties

NODE = NodeId("demo-plant", "demo-gateway")
F, D, B = Datatype.FLOAT, Datatype.DOUBLE, Datatype.BOOLEAN
U16, U32 = Datatype.UINT16, Datatype.UINT32
EXAMPLE = Path(cloud.costs.__file__).parent / "tariffs" / "example.yaml"
THRESHOLD = 3.0
STEP_MS = 500


def wave(t: float, period_s: float, low: float, high: float) -> float:
    return low + (high - low) * (0.5 + 0.5 * math.sin(2 * math.pi * t / period_s))


@dataclass(frozen=True)
class Point:
    tag: Tag
    value: Callable[[float, bool], Value | None]
    quality: Quality = Quality.GOOD
    reason: Reason = Reason.NONE


def points(energy_kwh: Callable[[float], float]) -> list[tuple[str, Asset | None, list[Point]]]:
    """device -> asset and points; a value is a function of seconds and of whether something is off."""
    machine, meter = Asset("machine-1", "Machine 1", "machine"), Asset("main-meter", "Main meter", "meter")
    road, park = Asset("north-road", "North road", "road"), Asset("car-park", "Car park", "car_park")

    def p(
        device: str,
        asset: Asset | None,
        name: str,
        kind: Datatype,
        unit: str,
        value: Callable[[float, bool], Value | None],
        measures: str = "",
        quality: Quality = Quality.GOOD,
        reason: Reason = Reason.NONE,
    ) -> Point:
        tag = Tag(name, device, kind, unit, asset.id if asset else "", measures)
        return Point(tag, value, quality, reason)

    m, r, c, e = "machine-plc", "road-detector", "parking-plc", "meter-rtu-7"
    return [
        (
            m,
            machine,
            [
                p(m, machine, "temperature", F, "[degF]", lambda t, off: wave(t, 60, 80, 96) + (35 if off else 0)),
                p(m, machine, "motor_current", F, "A", lambda t, off: wave(t, 23, 11.5, 12.5)),
                p(m, machine, "vibration_rms", F, "mm/s", lambda t, off: wave(t, 11, 1.1, 1.4) * (2 if off else 1)),
                p(m, machine, "speed_rpm", U16, "1/min", lambda t, off: int(wave(t, 31, 1472, 1481))),
                p(m, machine, "run_hours", D, "h", lambda t, off: 18_234.5),
                p(m, machine, "running", B, "", lambda t, off: True),
            ],
        ),
        (
            "machine-1",
            machine,
            [
                p("machine-1", machine, "score", F, "", lambda t, off: wave(t, 7, 4.2, 5.1) if off else 1.2, "score"),
                p("machine-1", machine, "threshold", F, "", lambda t, off: THRESHOLD, "threshold"),
                p("machine-1", machine, "anomaly", B, "", lambda t, off: off, "anomaly"),
                p("machine-1", machine, "share/temperature", F, "", lambda t, off: 0.81 if off else 0.3, "share"),
                p("machine-1", machine, "share/motor_current", F, "", lambda t, off: 0.04 if off else 0.2, "share"),
                p("machine-1", machine, "share/vibration_rms", F, "", lambda t, off: 0.11 if off else 0.3, "share"),
                p("machine-1", machine, "share/speed_rpm", F, "", lambda t, off: 0.04 if off else 0.2, "share"),
            ],
        ),
        (
            e,
            meter,
            [
                p(e, meter, "active_power", F, "kW", lambda t, off: wave(t, 90, 38, 46), "power"),
                p(e, meter, "energy_import", D, "kW.h", lambda t, off: round(energy_kwh(t), 2), "energy"),
                p(e, meter, "voltage", F, "V", lambda t, off: wave(t, 40, 228, 232)),
                p(e, meter, "power_factor", F, "1", lambda t, off: 0.953),
                p(e, meter, "frequency", F, "Hz", lambda t, off: wave(t, 17, 49.98, 50.02)),
            ],
        ),
        (
            r,
            road,
            [
                p(r, road, "flow", F, "1/h", lambda t, off: wave(t, 120, 700, 1300), "flow"),
                p(r, road, "speed", F, "[mi_i]/h", lambda t, off: wave(t, 70, 48, 66), "speed"),
                p(
                    r, road, "occupancy", F, "%", lambda t, off: wave(t, 90, 8, 19), "occupancy",
                    Quality.UNCERTAIN, Reason.OUT_OF_RANGE,
                ),
            ],
        ),
        (
            c,
            park,
            [
                p(c, park, "capacity", U16, "", lambda t, off: 420, "capacity"),
                p(c, park, "free_spaces", Datatype.INT16, "", lambda t, off: 28 if off else 143, "free_spaces"),
                p(c, park, "entries", U32, "", lambda t, off: 1834 + int(t) % 1000),
                p(c, park, "exits", U32, "", lambda t, off: 1691 + int(t) % 900),
                p(c, park, "barrier_fault", B, "", lambda t, off: False),
            ],
        ),
        (
            "pump-3",
            None,
            [
                p("pump-3", None, "flow", F, "m3/h", lambda t, off: None, "", Quality.BAD, Reason.TIMEOUT),
                p("pump-3", None, "pressure", F, "bar", lambda t, off: None, "", Quality.BAD, Reason.TIMEOUT),
            ],
        ),
    ]  # fmt: skip


def _sample(p: Point, at_ms: int, off: bool) -> Sample:
    return Sample(p.tag.name, p.tag.datatype, at_ms, p.quality, p.value(at_ms / 1000, off), p.reason)


def _silence(p: Point, at_ms: int) -> Sample:
    return Sample(p.tag.name, p.tag.datatype, at_ms, Quality.BAD, None, Reason.TIMEOUT)


class Plant:
    """A host view and its server, in a thread of its own.

    off: the machine is unusual and the car park nearly full. silent: devices that do not answer.
    gone: the gateway is not heard.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder
        self.silent: set[str] = set()
        self.gone = False
        self._pending: list[tuple[str, list[Sample]]] = []
        self.live = LiveValues()
        self.store = EmbeddedStore(folder / "plant.duckdb")
        self.off = False
        self.balance = Balance()
        self._tariff = load_tariff(EXAMPLE)
        self._number = 0
        self._spans: list[Anomaly] = []
        self._was_off = False
        self._start_s = time.time()
        self._devices = points(lambda t: 40_000 + (t - self._start_s) * 42 / 3600)
        self.port = port or free_port()
        self._app = FastAPI()
        self._state = StateDb(folder / "state.db")
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        api.add(self._app, self, DeadLetters(self._state), HostState(self._state), self._closing)
        mount(self._app, self)
        config = uvicorn.Config(
            self._app, host="127.0.0.1", port=self.port, log_level="warning", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="plant")
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the plant did not start")

    def stop(self) -> None:
        """May be called twice."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._server.should_exit = True
        self._thread.join(60)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._state.open()
        await self.store.open()
        for device, asset, found in self._devices:
            births = [(p.tag.name, p.tag.datatype, birth_properties(p.tag, asset)) for p in found]
            self.live.born(NODE, device, births)
        start_ms = int(self._start_s * 1000)
        for at_ms in range(start_ms - 4 * 60_000, start_ms, STEP_MS * 2):
            self._take(at_ms, start_ms - 150_000 < at_ms < start_ms - 120_000)
        await self._flush()
        feeding = asyncio.create_task(self._feed(), name="feed")
        serving = asyncio.create_task(self._server.serve(), name="serve")
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.05)
        self._ready.set()
        await serving
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await self.store.close()
        await self._state.close()

    async def _feed(self) -> None:
        while True:
            if self.gone:
                self.live.stale(NODE)
            else:
                self._take(int(time.time() * 1000), self.off)
                await self._flush()
            await asyncio.sleep(STEP_MS / 1000)

    def _take(self, at_ms: int, off: bool) -> None:
        for device, _, found in list(self._devices):
            silent = device in self.silent
            samples = [_silence(p, at_ms) if silent else _sample(p, at_ms, off) for p in found]
            self.live.update(NODE, device, samples)
            self._pending.append((device, samples))
        if off:
            if self._was_off:  # whatever time went by between two readings: it was off at both
                self._spans[-1] = Anomaly("machine-1", self._spans[-1].from_ms, at_ms)
            else:
                self._spans.append(Anomaly("machine-1", at_ms, at_ms))
        self._was_off = off

    async def _flush(self) -> None:
        taken, self._pending = self._pending, []
        batches = []
        for device, samples in taken:
            self._number += 1
            batches.append(Batch(NODE, device, tuple(samples), "e1", self._number, first_ms=samples[0].ts_ms))
        async with self.store.transaction():
            await self.store.write(batches)
        for device, samples in taken:
            counts = self.balance.devices.setdefault((NODE, device), Counts())
            counts.produced += len(samples)
            counts.stored += len(samples)
            counts.suppressed += 2

    def add_device(self, name: str, last_ms: int | None = None) -> None:
        """A device that is born while the page stands open. last_ms: it reported then and has nothing new since."""
        tag = Tag("temperature", name, F, "Cel")
        self.live.born(NODE, name, [(tag.name, tag.datatype, birth_properties(tag, None))])
        if last_ms is not None:
            self.live.update(NODE, name, [Sample(tag.name, tag.datatype, last_ms, Quality.GOOD, 41.5)])
            return
        self._devices.append((name, None, [Point(tag, lambda t, off: wave(t, 20, 40, 60))]))

    def again(self) -> Plant:
        """The host started anew on the same port, with another database."""
        folder = self._folder / "again"
        folder.mkdir()
        found = Plant(folder, self.port)
        found.start()
        return found

    # What the pages ask.

    async def audit(self) -> Balance:
        return self.balance

    async def energy_today(self, asset: str) -> EnergyToday:
        tag = next(a for a in self.live.assets() if a.id == asset).measuring("energy")
        if tag is None:
            raise KeyError(asset)
        return await energy_today(self.store, tag, self._tariff, int(time.time() * 1000))

    async def anomalies(self, from_ms: int, to_ms: int) -> list[Anomaly]:
        return [a for a in self._spans if a.to_ms >= from_ms and a.from_ms < to_ms]

    def stats(self) -> HostStats:
        latency = {"p50": 180, "p99": 410, "n": 5000}
        return HostStats(latency, 46.2, self.store.about, "mqtt://127.0.0.1:1883", {}, {}, (), 60.0)
