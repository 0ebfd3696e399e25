"""The running host as pages and API see it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

from cloud.audit import Audit
from cloud.balance import Balance
from cloud.costs.energy import EnergyToday, energy_today
from cloud.costs.tariff import Tariff
from cloud.hearing import Hearing
from cloud.host_view import Anomaly, HostStats
from cloud.live import LiveTag, LiveValues
from cloud.state.host import HostState
from cloud.stats import Stats
from cloud.store.port import Series, TelemetryStore

_PACKAGES = ("aiomqtt", "duckdb", "fastapi", "uvicorn", "sqlalchemy", "numpy")
SLOW_AUDIT_S = 1.0
AUDIT_REST = 5
"""After a slow audit the next one waits five times as long as it took: writing gets the rest of the time."""
MOST_POINTS = 20_000  # of an anomaly tag's series; the reduction keeps every slice's highest value


@dataclass(slots=True)
class Host:
    store: TelemetryStore
    live: LiveValues
    state: HostState
    hearing: Hearing
    auditor: Audit
    statistics: Stats
    tariff: Tariff
    broker: str
    now_ms: Callable[[], int]
    _audited: Balance = field(default_factory=Balance)
    _fresh_until_s: float = 0.0

    async def audit(self) -> Balance:
        """An audit counts the whole database while nothing is written: a slow one is not repeated at once."""
        began_s = time.monotonic()
        if began_s < self._fresh_until_s:
            return self._audited
        await self.hearing.flush_counters(self.state, self.now_ms())
        self._audited = await self.auditor()
        now_s = time.monotonic()
        took_s = now_s - began_s
        self._fresh_until_s = now_s + AUDIT_REST * took_s if took_s > SLOW_AUDIT_S else 0.0
        return self._audited

    async def energy_today(self, asset: str) -> EnergyToday:
        tag = next((a.measuring("energy") for a in self.live.assets() if a.id == asset), None)
        if tag is None:
            raise KeyError(f"no asset {asset!r} measures energy")
        return await energy_today(self.store, tag, self.tariff, self.now_ms())

    async def anomalies(self, from_ms: int, to_ms: int) -> list[Anomaly]:
        found: list[Anomaly] = []
        for asset in self.live.assets():
            tag = asset.anomaly
            if tag is not None:
                series = await self._series(tag, from_ms, to_ms)
                found += [Anomaly(asset.id, first, last) for first, last in intervals(series)]
        return found

    async def _series(self, tag: LiveTag, from_ms: int, to_ms: int) -> Series:
        return await self.store.series(tag.node, tag.device, tag.name, from_ms, to_ms, MOST_POINTS)

    def stats(self) -> HostStats:
        now_s = self.now_ms() / 1000
        return HostStats(
            latency_ms=self.statistics.latency(),
            stored_per_s=round(self.statistics.stored_per_s(now_s), 1),
            store=self.store.about,
            broker=self.broker,
            versions={"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
            counters=dict(self.statistics.counters),
            problems=tuple(self.statistics.problems.values()),
            uptime_s=round(now_s - self.statistics.started_s, 1),
        )

    async def restore(self) -> None:
        """Last values from the database, for tags that are known from births and were not heard yet."""
        for value in await self.store.last_values():
            self.live.restore(value.node, value.device, value.sample)


def intervals(series: Series) -> Iterable[tuple[int, int]]:
    """(first, last) stamp of each run of true samples; samples without value end no run."""
    run: list[int] = []
    for t, v in zip(series.t, series.v, strict=True):
        if v is None:
            continue
        if v:
            run.append(t)
        elif run:
            yield run[0], run[-1]
            run = []
    if run:
        yield run[0], run[-1]


def wall_ms() -> int:
    return time.time_ns() // 1_000_000
