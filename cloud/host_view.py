"""What pages and API may ask of the running host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cloud.balance import Balance
from cloud.live import LiveValues
from cloud.store.port import TelemetryStore

if TYPE_CHECKING:
    from cloud.costs.energy import EnergyToday


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A time in which an asset's model said that something is off. to_ms: the last such sample so far."""

    asset: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class HostStats:
    """How the host is doing.

    latency_ms: {'p50', 'p99', 'n'} from a live sample's stamp to the commit; None before there was one.
    problems: what is wrong now, in words for people ('' entries never). uptime_s: since the process started.
    """

    latency_ms: Mapping[str, float | int | None]
    stored_per_s: float
    store: str
    broker: str
    versions: Mapping[str, str]
    counters: Mapping[str, int]
    problems: tuple[str, ...]
    uptime_s: float


class HostView(Protocol):
    @property
    def live(self) -> LiveValues: ...

    @property
    def store(self) -> TelemetryStore: ...

    async def audit(self) -> Balance:
        """Raises StoreDown."""
        ...

    async def energy_today(self, asset: str) -> EnergyToday:
        """Raises KeyError when no such asset measures energy, StoreDown."""
        ...

    async def anomalies(self, from_ms: int, to_ms: int) -> list[Anomaly]:
        """Raises StoreDown."""
        ...

    def stats(self) -> HostStats: ...
