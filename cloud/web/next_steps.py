"""What to do next, and what it is worth: sentences from the state of the assets. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from cloud.balance import Balance
from cloud.costs.energy import EnergyToday
from cloud.host_view import Anomaly
from cloud.live import LiveAsset, LiveTag
from cloud.web import words
from cloud.web.texts import Texts
from cloud.web.units import number
from cloud.web.view import count, is_on, number_of, shares_of, spaces_of
from wire.block import Quality, Reason
from wire.ids import NodeId

_NAMED_TOO = 0.15  # a second tag with less than this share is not worth a look
_STILL_ON_MS = 60_000


@dataclass(frozen=True, slots=True)
class Step:
    """level: 'alarm' act now, 'warning' act today, 'hint' may be worth it, 'fine' nothing to do."""

    level: str
    text: str
    worth: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the sentences are made from. energies: asset id -> its meter's day."""

    assets: Sequence[LiveAsset]
    anomalies: Sequence[Anomaly]
    energies: Mapping[str, EnergyToday]
    balance: Balance | None
    problems: Sequence[str]
    now_ms: int
    zone: tzinfo


def next_steps(seen: Situation, t: Texts) -> list[Step]:
    """The most urgent first; one 'fine' step when there is nothing."""
    if not seen.assets:
        return [Step("fine", t("next.waiting")), *(_problem(p, t) for p in seen.problems)]
    steps = [step for asset in seen.assets for step in _anomaly(asset, seen, t)]
    steps += [_problem(p, t) for p in seen.problems]
    if seen.balance is not None and seen.balance.total.lost > 0:
        steps.append(Step("alarm", t("next.lost", n=count(seen.balance.total.lost))))
    gone = _gateways_gone(seen)
    for node, last_ms in gone.items():
        since = "–" if last_ms is None else words.clock(last_ms, seen.zone, seen.now_ms)
        with_it = sum(asset.node == node for asset in seen.assets)
        steps.append(Step("alarm", t("next.gateway", node=node.node, since=since, n=with_it)))
    for asset in seen.assets:
        # A gateway that is gone stands for all its assets.
        steps += _car_park(asset, t) if asset.node in gone else _missing(asset, seen, t) + _car_park(asset, t)
    for asset in seen.assets:
        steps += _price(asset, seen, t)
    if all(step.level == "hint" for step in steps):
        steps.insert(0, Step("fine", t("next.nothing")))
    order = ("alarm", "warning", "fine", "hint")
    return sorted(steps, key=lambda step: order.index(step.level))


def _gateways_gone(seen: Situation) -> dict[NodeId, int | None]:
    """Edge nodes of which nothing is heard any more, with the last stamp of any of their tags."""
    tags: dict[NodeId, list[LiveTag]] = {}
    for asset in seen.assets:
        tags.setdefault(asset.node, []).extend(asset.tags)
    return {
        node: max((tag.ts_ms for tag in found if tag.ts_ms is not None), default=None)
        for node, found in tags.items()
        if all(tag.reason is Reason.STALE for tag in found)
    }


def _problem(problem: str, t: Texts) -> Step:
    return Step("warning", t("next.problem", problem=problem))


def _anomaly(asset: LiveAsset, seen: Situation, t: Texts) -> list[Step]:
    if not is_on(asset.anomaly):
        return []
    since_ms = anomaly_since(asset, seen.anomalies)
    text = t("next.anomaly", asset=asset.name, since=words.clock(since_ms or seen.now_ms, seen.zone, seen.now_ms))
    shares = shares_of(asset)
    if len(shares) > 1 and shares[1][1] >= _NAMED_TOO:
        (tag, share), (second, second_share) = shares[:2]
        text += " " + t(
            "next.blame_two",
            tag=_capital(tag),
            share=round(100 * share),
            second=second,
            second_share=round(100 * second_share),
        )
    elif shares:
        text += " " + t("next.blame", tag=_capital(shares[0][0]), share=round(100 * shares[0][1]))
    return [Step("alarm", text, _worth(asset, seen, t))]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def anomaly_since(asset: LiveAsset, anomalies: Sequence[Anomaly]) -> int | None:
    """When the anomaly that is on now began, as far as the database shows."""
    tag = asset.anomaly
    if tag is None or tag.ts_ms is None:
        return None
    lasting = [a for a in anomalies if a.asset == asset.id and a.to_ms >= tag.ts_ms - _STILL_ON_MS]
    return min((a.from_ms for a in lasting[-1:]), default=tag.ts_ms)


def _worth(asset: LiveAsset, seen: Situation, t: Texts) -> str:
    power = number_of(asset.measuring("power"))
    price = next((e for e in seen.energies.values() if e.price_now is not None), None)
    if power is None or price is None or price.price_now is None:
        return t("next.worth_unknown")
    cost = number(power * price.price_now, 2)
    return t("next.worth", power=number(power, 1), cost=cost, currency=price.currency)


def _missing(asset: LiveAsset, seen: Situation, t: Texts) -> list[Step]:
    # Scores follow from their inputs: the inputs are what a person can mend.
    tags = [tag for tag in asset.tags if tag.device != asset.id or asset.score is None]
    stale = [tag for tag in tags if tag.reason is Reason.STALE]
    if stale and len(stale) == len(tags):
        last = max((tag.ts_ms for tag in stale if tag.ts_ms is not None), default=None)
        since = "–" if last is None else words.clock(last, seen.zone, seen.now_ms)
        return [Step("warning", t("next.stale", asset=asset.name, since=since))]
    bad = [tag for tag in tags if tag.quality is Quality.BAD]
    if not bad:
        return []
    reason = Counter(tag.reason for tag in bad).most_common(1)[0][0]
    many = t("tags.one") if len(bad) == 1 else t("tags.many", n=len(bad))
    why = words.reason(reason, t)
    return [Step("warning", t("next.silent", asset=asset.name, tags=many, reason=why, advice=words.advice(reason, t)))]


def _car_park(asset: LiveAsset, t: Texts) -> list[Step]:
    if asset.kind != "car_park":
        return []
    steps = []
    if any(tag.name == "barrier_fault" and is_on(tag) for tag in asset.tags):
        steps.append(Step("alarm", t("next.barrier", asset=asset.name)))
    spaces = spaces_of(asset)
    if spaces is not None and spaces.nearly_full:
        free = count(max(0, spaces.free))
        steps.append(Step("warning", t("next.full", asset=asset.name, free=free, capacity=count(spaces.capacity))))
    return steps


def _price(asset: LiveAsset, seen: Situation, t: Texts) -> list[Step]:
    """A hint when cheaper hours follow: what moving an hour of the present load is worth."""
    energy = seen.energies.get(asset.id)
    if energy is None or energy.band_now is None or energy.price_now is None:
        return []
    if energy.next_price is None or energy.next_band is None or energy.next_from_ms is None:
        return []
    until = words.hours_minutes(energy.next_from_ms, seen.zone)
    band, following = (t.get(f"band.{name}", name) for name in (energy.band_now, energy.next_band))
    text = t("next.price", band=band, until=until, next_band=following)
    power = number_of(asset.measuring("power"))
    if power is None or energy.next_price >= energy.price_now:
        return [Step("hint", text)]
    saving = number(power * (energy.price_now - energy.next_price), 2)
    worth = t("next.price_saves", until=until, saving=saving, currency=energy.currency, power=number(power, 1))
    return [Step("hint", text, worth)]
