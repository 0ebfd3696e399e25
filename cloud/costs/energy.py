"""Energy and cost of today, from the register of a cumulative meter.

A register only ever proves differences: what was used between two readings is later minus earlier. A missing
reading is therefore never a zero; the next difference covers it, and a band edge inside the hole is met by linear
interpolation. A register that steps back was reset or replaced: that one difference is unknown, is not booked, and
is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cloud.costs.tariff import Span, Tariff
from wire.block import FloatArray
from wire.errors import ConfigError
from wire.ids import NodeId

LOOK_BACK_MS = 2 * 3600 * 1000
"""How far before midnight a reading may lie to say what the register showed at midnight."""


NEXT_BAND_WITHIN_MS = 24 * 3600 * 1000
EVERY_POINT = 1_000_000
"""More than a day holds at 10 readings a second: a bill is made of raw points, not of a chart's."""


class Readings(Protocol):
    """What a store's series gives: stamps, values (None where BAD)."""

    @property
    def t(self) -> Sequence[int]: ...
    @property
    def v(self) -> Sequence[float | None]: ...


class SeriesStore(Protocol):
    """The part of the telemetry store that the bill needs."""

    async def series(self, node: NodeId, device: str, tag: str, from_ms: int, to_ms: int, points: int) -> Readings: ...


class MeterTag(Protocol):
    """Where the register's series is."""

    @property
    def node(self) -> NodeId: ...
    @property
    def device(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...


@dataclass(frozen=True, slots=True)
class BandEnergy:
    """One band's part of the day. price is per kWh."""

    band: str
    kwh: float
    price: float
    cost: float


@dataclass(frozen=True, slots=True)
class EnergyToday:
    """Today's energy so far.

    cost is None when the tariff does not hold for all of it. since_ms: where the register's proof begins (midnight,
    or the first reading when there is none before); until_ms: the newest reading; both None without readings.
    resets: how often the register stepped back. time_zone: the site's, whose midnight day_from_ms is.
    next_band: what follows within a day, from next_from_ms on; None when the price stays.
    """

    kwh: float
    cost: float | None
    currency: str
    tariff: str
    band_now: str | None
    price_now: float | None
    by_band: tuple[BandEnergy, ...]
    resets: int
    since_ms: int | None
    until_ms: int | None
    day_from_ms: int
    time_zone: str
    next_band: str | None
    next_price: float | None
    next_from_ms: int | None


@dataclass(frozen=True, slots=True)
class Booked:
    """Energy per span, in the order of the spans given."""

    kwh: tuple[float, ...]
    resets: int
    since_ms: int | None
    until_ms: int | None


# What one of these units is in kWh (UCUM codes).
KWH_PER = {"kW.h": 1.0, "W.h": 1e-3, "MW.h": 1e3, "J": 1 / 3.6e6, "kJ": 1 / 3600, "MJ": 1 / 3.6, "GJ": 1e3 / 3.6}


def book(times_ms: Sequence[int], register_kwh: Sequence[float | None], spans: Sequence[Span]) -> Booked:
    """Splits the register's differences over the spans, which follow each other without gap.

    times_ms rise strictly; None is a missing reading. What lies outside the spans is not booked.
    """
    t = np.array([at for at, value in zip(times_ms, register_kwh, strict=True) if value is not None], dtype=np.int64)
    v = np.array([value for value in register_kwh if value is not None], dtype=np.float64)
    t, v = _without_lone_spikes(t, v)
    if len(t) == 0 or not spans:
        return Booked(tuple(0.0 for _ in spans), 0, None, None)
    used, at_resets = _used(v)
    total = np.concatenate(([0.0], np.cumsum(used)))
    edges = np.array([spans[0].from_ms, *(s.to_ms for s in spans)], dtype=np.int64)
    # Before the first and after the last reading np.interp holds the end values: nothing is extrapolated.
    kwh = np.diff(np.interp(edges, t, total))
    inside = (t[at_resets] > edges[0]) & (t[at_resets] <= edges[-1])
    return Booked(
        tuple(float(x) for x in kwh),
        int(np.count_nonzero(inside)),
        max(int(t[0]), int(edges[0])),
        min(int(t[-1]), int(edges[-1])),
    )


def _without_lone_spikes(t: np.ndarray, v: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Drops a single reading that leaps away and is contradicted by the next: no reset, but a misread register."""
    if len(v) < 3:
        return t, v
    before, here, after = v[:-2], v[1:-1], v[2:]
    lone = ((here > after) & (after >= before)) | ((here < before) & (before <= after))
    keep = np.concatenate(([True], ~lone, [True]))
    return t[keep], v[keep]


def _used(v: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Differences between readings, 0 across a reset; and the indices of the readings after each reset.

    A register that falls for several readings and then leaps back above where it was, in one step that spans most
    of the fall, was misread and not reset: the leap is not energy, only what lies above the old value is.
    """
    used = np.maximum(np.diff(v), 0.0)
    resets: list[int] = []
    done = 0  # falls up to here are settled
    for i in (int(fall) for fall in np.flatnonzero(np.diff(v) < 0) + 1):
        if i <= done:
            continue
        high = v[i - 1]
        back = np.flatnonzero(v[i:] >= high)
        j = i + int(back[0]) if len(back) else len(v)
        if j < len(v) and v[j] - v[j - 1] > (high - v[i:j].min()) / 2:
            used[i - 1 : j - 1] = 0.0
            used[j - 1] = v[j] - high
            done = j
        else:
            resets.append(i)
    return used, np.array(resets, dtype=np.int64)


async def energy_today(store: SeriesStore, tag: MeterTag, tariff: Tariff, now_ms: int) -> EnergyToday:
    """Energy of a meter's register since the site's midnight, by band, and its cost so far.

    Raises ConfigError when the register's unit is not one of energy.
    """
    factor = KWH_PER.get(tag.unit)
    if factor is None:
        known = ", ".join(KWH_PER)
        raise ConfigError(f"{tag.device}/{tag.name}: energy in {tag.unit!r} cannot be billed; known units are {known}")
    day_from_ms = tariff.day_from_ms(now_ms)
    # The reading at this very millisecond belongs to today, too.
    found = await store.series(tag.node, tag.device, tag.name, day_from_ms - LOOK_BACK_MS, now_ms + 1, EVERY_POINT)
    spans = list(tariff.spans(day_from_ms, max(now_ms, day_from_ms + 1)))
    booked = book(found.t, [None if v is None else v * factor for v in found.v], spans)

    order: dict[str, list[float]] = {}
    prices: dict[str, float] = {}
    unpriced_kwh = 0.0
    for span, kwh in zip(spans, booked.kwh, strict=True):
        if span.band is None:
            unpriced_kwh += kwh
        else:
            order.setdefault(span.band.name, []).append(kwh)
            prices[span.band.name] = span.band.price_per_kwh
    by_band = tuple(
        BandEnergy(name, sum(parts), prices[name], sum(parts) * prices[name]) for name, parts in order.items()
    )
    band = tariff.price_at(now_ms)
    following = next((s for s in tariff.spans(now_ms, now_ms + NEXT_BAND_WITHIN_MS) if s.band != band), None)
    return EnergyToday(
        kwh=sum(b.kwh for b in by_band) + unpriced_kwh,
        cost=None if unpriced_kwh or band is None else sum(b.cost for b in by_band),
        currency=tariff.currency,
        tariff=tariff.name,
        band_now=None if band is None else band.name,
        price_now=None if band is None else band.price_per_kwh,
        by_band=by_band,
        resets=booked.resets,
        since_ms=booked.since_ms,
        until_ms=booked.until_ms,
        day_from_ms=day_from_ms,
        time_zone=tariff.time_zone.key,
        next_band=None if following is None or following.band is None else following.band.name,
        next_price=None if following is None or following.band is None else following.band.price_per_kwh,
        next_from_ms=None if following is None else following.from_ms,
    )
