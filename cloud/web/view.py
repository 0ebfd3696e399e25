"""What one asset's card shows, worked out from its living tags. Pure: no clock, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cloud.live import LiveAsset, LiveTag
from cloud.web import words
from cloud.web.texts import Texts
from cloud.web.units import decimals, number, value_text, written
from wire.block import Quality, Reason
from wire.tag import Datatype

MAX_CHARTS = 4
FULL_FROM = 0.9  # a car park counts as full at 85 to 90 % (FHWA practice; the upper end alarms less)
_SCORES = frozenset({"score", "threshold", "share", "anomaly", "explanation"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One tag as shown. key is what live events name it by."""

    key: str
    label: str
    text: str
    unit: str
    decimals: int
    quality: str
    quality_text: str
    why: str
    ts_ms: int | None
    age: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    key: str
    label: str
    role: str  # 'value' | 'threshold'


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart; asset names whose anomalies are marked on it ('' for none). axis is the y axis' title."""

    id: str
    title: str
    axis: str
    unit: str
    decimals: int
    lines: tuple[Line, ...]
    asset: str = ""
    from_zero: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    label: str
    percent: int


@dataclass(frozen=True, slots=True)
class Spaces:
    free: int
    capacity: int

    @property
    def taken(self) -> int:
        return min(self.capacity, max(0, self.capacity - self.free))

    @property
    def percent(self) -> int:
        return round(100 * self.taken / self.capacity)

    @property
    def nearly_full(self) -> bool:
        return self.taken >= FULL_FROM * self.capacity


@dataclass(frozen=True, slots=True)
class Card:
    """One asset. state is a word of texts 'state.*'; tiles are its chief readings, rest the others."""

    id: str
    dom_id: str
    name: str
    kind: str
    state: str
    tiles: tuple[Reading, ...]
    rest: tuple[Reading, ...]
    charts: tuple[Chart, ...]
    score: Reading | None = None
    threshold: Reading | None = None
    shares: tuple[Share, ...] = ()
    spaces: Spaces | None = None
    free: Reading | None = None
    measures_energy: bool = False


def key_of(tag: LiveTag) -> str:
    """How a live event and an element on the page name the same tag."""
    return f"{tag.node}|{tag.device}|{tag.name}"


def label_of(name: str, unit: str = "") -> str:
    """'motor_current' -> 'motor current'; a last word that only repeats the unit as written goes."""
    label = name.replace("_", " ").replace("/", " / ")
    return label.removesuffix(f" {unit}") if unit else label


def reading(tag: LiveTag, now_ms: int, t: Texts) -> Reading:
    stale = tag.reason is Reason.STALE
    quality = "uncertain" if tag.quality is Quality.UNCERTAIN else "good" if tag.quality is Quality.GOOD else "bad"
    # What is not heard any more keeps its last value, told as such; any other BAD sample has none.
    shown = tag.value if stale or quality != "bad" else None
    return Reading(
        key=key_of(tag),
        label=label_of(tag.name, written(tag.unit)),
        text=value_text(shown, tag.unit, tag.datatype, t("js.yes"), t("js.no"), t("js.none")),
        unit=written(tag.unit) if shown is not None else "",
        decimals=decimals(tag.unit, tag.datatype),
        quality=quality,
        quality_text=t("last_known" if stale and shown is not None else quality),
        why="" if quality == "good" else words.reason(tag.reason, t),
        ts_ms=tag.ts_ms,
        age=words.age(tag.ts_ms, now_ms, t),
    )


def _numeric(tag: LiveTag) -> bool:
    return tag.datatype not in (Datatype.BOOLEAN, Datatype.STRING, Datatype.TEXT, Datatype.DATETIME)


def _chief(asset: LiveAsset) -> list[LiveTag]:
    """The readings that a person looks at first."""
    plain = [tag for tag in asset.tags if tag.measures not in _SCORES]
    wanted: tuple[str, ...] = {
        "meter": ("power",),
        "road": ("flow", "speed", "occupancy"),
        "car_park": ("free_spaces",),
    }.get(asset.kind, ())
    chief = [tag for what in wanted for tag in plain if tag.measures == what]
    if not chief and asset.shares:
        inputs = {name.rpartition("/")[2] for name in asset.shares} | set(asset.shares)
        chief = [tag for tag in plain if tag.name in inputs]
    return (chief or [tag for tag in plain if _numeric(tag)])[:MAX_CHARTS]


def number_of(tag: LiveTag | None) -> float | None:
    """The value when it can be relied on now."""
    if tag is None or tag.quality is Quality.BAD or isinstance(tag.value, str) or tag.value is None:
        return None
    return float(tag.value)


def is_on(tag: LiveTag | None) -> bool:
    """A boolean that is true, and not a memory."""
    return tag is not None and tag.quality is not Quality.BAD and tag.value is True


def shares_of(asset: LiveAsset) -> list[tuple[str, float]]:
    """(input's label, share 0 to 1), greatest first."""
    units = {tag.name: written(tag.unit) for tag in asset.tags}
    found = [(label_of(name, units.get(name, "")), number_of(tag)) for name, tag in asset.shares.items()]
    return sorted(((name, share) for name, share in found if share is not None), key=lambda pair: -pair[1])


def spaces_of(asset: LiveAsset) -> Spaces | None:
    free, capacity = number_of(asset.measuring("free_spaces")), number_of(asset.measuring("capacity"))
    return None if free is None or not capacity else Spaces(int(free), int(capacity))


def _state(asset: LiveAsset) -> str:
    if all(tag.reason is Reason.STALE for tag in asset.tags):
        return "stale"
    if is_on(asset.anomaly):
        return "anomaly"
    if any(tag.quality is Quality.BAD and tag.measures not in _SCORES for tag in asset.tags):
        return "bad"
    if any(tag.quality is Quality.UNCERTAIN and tag.measures not in _SCORES for tag in asset.tags):
        return "uncertain"
    spaces = spaces_of(asset)
    if spaces is not None and spaces.nearly_full:
        return "full"
    if asset.score is not None and asset.score.reason is Reason.WARMING_UP:
        return "warming"
    return "ok"


def _charts(asset: LiveAsset, dom_id: str, chief: list[LiveTag], t: Texts) -> list[Chart]:
    marked = asset.id if asset.score is not None else ""
    charts = []
    if asset.score is not None:
        lines = [Line(key_of(asset.score), t("chart.score_axis"), "value")]
        if asset.threshold is not None:
            lines.append(Line(key_of(asset.threshold), t("chart.threshold"), "threshold"))
        title, axis = t("chart.score"), t("chart.score_axis")
        charts.append(Chart(f"{dom_id}-score", title, axis, "", 2, tuple(lines), marked, from_zero=True))
    for tag in chief:
        if not _numeric(tag):
            continue
        unit = written(tag.unit)
        label = label_of(tag.name, unit)
        axis = f"{label} ({unit})" if unit else label
        lines = [Line(key_of(tag), label, "value")]
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{dom_id}-{tag.device}-{tag.name}")
        places = decimals(tag.unit, tag.datatype)
        charts.append(Chart(name, label[:1].upper() + label[1:], axis, unit, places, tuple(lines), marked))
    return charts


def card(asset: LiveAsset, now_ms: int, t: Texts) -> Card:
    dom_id = "asset-" + re.sub(r"[^A-Za-z0-9]+", "-", f"{asset.node}-{asset.id}")
    chief = _chief(asset)
    spaces = spaces_of(asset)
    # Free spaces stand above their bar, and need neither tile nor row.
    free = None if spaces is None else asset.measuring("free_spaces")
    tiles = [tag for tag in chief if tag is not free]
    rest = [tag for tag in asset.tags if tag not in chief and tag.measures not in _SCORES]
    return Card(
        id=asset.id,
        dom_id=dom_id,
        name=asset.name,
        kind=asset.kind if f"kind.{asset.kind}" in _KINDS else "other",
        state=_state(asset),
        tiles=tuple(reading(tag, now_ms, t) for tag in tiles),
        rest=tuple(reading(tag, now_ms, t) for tag in rest),
        charts=tuple(_charts(asset, dom_id, chief, t)),
        score=None if asset.score is None else reading(asset.score, now_ms, t),
        threshold=None if asset.threshold is None else reading(asset.threshold, now_ms, t),
        shares=tuple(Share(name, round(100 * share)) for name, share in shares_of(asset)),
        spaces=spaces,
        free=None if free is None else reading(free, now_ms, t),
        measures_energy=asset.measuring("energy") is not None,
    )


_KINDS = frozenset(f"kind.{kind}" for kind in ("machine", "meter", "car_park", "road", "other"))
_ORDER = ("machine", "meter", "car_park", "road", "other")


def cards(assets: list[LiveAsset], now_ms: int, t: Texts) -> list[Card]:
    """Machines first; what is left of the edge node itself is not an asset of anybody's."""
    found = [card(asset, now_ms, t) for asset in assets if any(tag.device for tag in asset.tags)]
    return sorted(found, key=lambda c: (_ORDER.index(c.kind), c.name))


def layout(found: list[Card]) -> str:
    """Changes when the page needs other cards or charts, not when values do."""
    return "\n".join(
        f"{c.dom_id} {[chart.id for chart in c.charts]} {[r.key for r in c.tiles + c.rest]}" for c in found
    )


@dataclass(frozen=True, slots=True)
class BalanceRow:
    label: str
    text: str
    percent: float
    name: str = field(default="")


def count(n: int) -> str:
    return number(n, 0)
