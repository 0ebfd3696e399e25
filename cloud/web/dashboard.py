"""Gathers what the dashboard shows: asks the host, and turns a database that is down into words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo

from cloud.balance import Balance
from cloud.costs.energy import EnergyToday
from cloud.host_view import Anomaly, HostStats, HostView
from cloud.live import LiveAsset
from cloud.web.fresh import Fresh
from cloud.web.next_steps import Situation, Step, next_steps
from cloud.web.texts import Texts
from cloud.web.view import Card, cards
from wire.block import Reason
from wire.errors import ConfigError, StoreDown
from wire.ids import NodeId

EVENTS_BACK_MS = 3_600_000
_KEEP_S, _KEEP_ENERGY_S = 1.5, 5.0
FALLBACK_ZONE = "UTC"


@dataclass(frozen=True)
class Dashboard:
    """One look at everything. energies and energy_faults: asset id -> the day's energy, or why there is none."""

    now_ms: int
    zone_name: str
    zone: tzinfo
    cards: list[Card]
    steps: list[Step]
    balance: Balance | None
    balance_fault: str
    energies: Mapping[str, EnergyToday]
    energy_faults: Mapping[str, str]
    anomalies: list[Anomaly]
    events_fault: str
    stats: HostStats
    names: Mapping[str, str]
    sites: list[str]
    gateways: list[NodeId]
    heard: int


class Look:
    """Looks at the host. Answers that cost the database something are shared between pages for a moment."""

    def __init__(self, host: HostView, texts: Texts, clock: Callable[[], float] = time.time) -> None:
        self._host, self._texts, self._clock = host, texts, clock
        self._balance = Fresh(host.audit, _KEEP_S, time.monotonic)
        self._anomalies = Fresh(self._ask_anomalies, _KEEP_S, time.monotonic)
        self._energies = Fresh(self._ask_energies, _KEEP_ENERGY_S, time.monotonic)

    async def _ask_anomalies(self) -> list[Anomaly]:
        now_ms = int(self._clock() * 1000)
        return await self._host.anomalies(now_ms - EVENTS_BACK_MS, now_ms + 1)

    async def _ask_energies(self) -> tuple[dict[str, EnergyToday], dict[str, str]]:
        found: dict[str, EnergyToday] = {}
        faults: dict[str, str] = {}
        for asset in self._host.live.assets():
            if asset.measuring("energy") is not None:
                try:
                    found[asset.id] = await self._host.energy_today(asset.id)
                except (StoreDown, ConfigError) as fault:
                    faults[asset.id] = str(fault)
        return found, faults

    async def __call__(self) -> Dashboard:
        balance, balance_fault = None, ""
        try:
            balance = await self._balance()
        except StoreDown as fault:
            balance_fault = str(fault)
        anomalies: list[Anomaly] = []
        events_fault = ""
        try:
            anomalies = await self._anomalies()
        except StoreDown as fault:
            events_fault = str(fault)
        energies, energy_faults = await self._energies()

        now_ms = int(self._clock() * 1000)
        assets = self._host.live.assets()
        zone_name = next((e.time_zone for e in energies.values()), FALLBACK_ZONE)
        zone = ZoneInfo(zone_name)
        stats = self._host.stats()
        situation = Situation(_maintained(assets), anomalies, energies, balance, stats.problems, now_ms, zone)
        gateways = sorted({tag.node for tag in self._host.live.tags()})
        heard = {tag.node for tag in self._host.live.tags() if tag.reason is not Reason.STALE}
        return Dashboard(
            now_ms=now_ms,
            zone_name=zone_name,
            zone=zone,
            cards=cards(assets, now_ms, self._texts),
            steps=next_steps(situation, self._texts),
            balance=balance,
            balance_fault=balance_fault,
            energies=energies,
            energy_faults=energy_faults,
            anomalies=sorted(anomalies, key=lambda a: -a.from_ms),
            events_fault=events_fault,
            stats=stats,
            names={asset.id: asset.name for asset in assets},
            sites=sorted({node.group for node in gateways}),
            gateways=gateways,
            heard=len(heard),
        )


def _maintained(assets: list[LiveAsset]) -> list[LiveAsset]:
    """Without what belongs to an edge node itself."""
    return [asset for asset in assets if any(tag.device for tag in asset.tags)]
