"""What to do next: sentences that name the asset, the cause, the advice and the worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from cloud.balance import Balance, Counts
from cloud.costs.energy import EnergyToday
from cloud.host_view import Anomaly
from cloud.live import LiveValues
from cloud.web.next_steps import Situation, Step, next_steps
from cloud.web.texts import Texts
from tests.cloud.web.plant_values import MACHINE, METER, NODE, NOW_MS, PARK, hear, machine, said
from wire.block import Quality, Reason
from wire.tag import Datatype

SHANGHAI = ZoneInfo("Asia/Shanghai")


def energy(price: float, following: float | None) -> EnergyToday:
    return EnergyToday(
        kwh=10.0, cost=5.0, currency="CNY", tariff="t", band_now="peak", price_now=price, by_band=(), resets=0,
        since_ms=0, until_ms=1, day_from_ms=0, time_zone="Asia/Shanghai",
        next_band=None if following is None else "valley", next_price=following,
        next_from_ms=None if following is None else NOW_MS + 3_600_000,
    )  # fmt: skip


def steps(
    live: LiveValues,
    anomalies: Sequence[Anomaly] = (),
    energies: Mapping[str, EnergyToday] | None = None,
    balance: Balance | None = None,
    problems: Sequence[str] = (),
) -> list[Step]:
    seen = Situation(live.assets(), anomalies, energies or {}, balance, problems, NOW_MS, SHANGHAI)
    return next_steps(seen, Texts())


def test_nothing_heard_yet_is_said() -> None:
    assert [s.level for s in steps(LiveValues())] == ["fine"]


def test_a_calm_plant_needs_nothing() -> None:
    live = LiveValues()
    machine(live, off=False)
    (step,) = steps(live)
    assert step.level == "fine" and "Nothing needs doing" in step.text


def test_an_anomaly_names_machine_time_and_cause() -> None:
    live = LiveValues()
    machine(live, off=True)
    old = Anomaly("m1", NOW_MS - 900_000, NOW_MS - 800_000)
    (step,) = steps(live, [old, Anomaly("m1", NOW_MS - 20_000, NOW_MS)])
    assert step.level == "alarm"
    assert step.text.startswith("Machine 1: unusual since 07:59:40. Temperature is to blame for 81 %, speed for 19 %")
    assert "not known" in step.worth


def test_a_single_cause_stands_alone_and_power_gives_it_a_price() -> None:
    live = LiveValues()
    machine(live, off=True, power=True)
    shares = [said("share/temperature", 0.95, measures="share"), said("share/speed_rpm", 0.05, measures="share")]
    anomaly = said("anomaly", True, measures="anomaly", kind=Datatype.BOOLEAN)
    hear(live, "m1", MACHINE, said("score", 4.0, measures="score"), anomaly, *shares, ts_ms=NOW_MS + 1)
    (step,) = steps(live, energies={"meter": energy(1.1, None)})
    assert "Temperature is to blame for 95 %: inspect what drives it first." in step.text
    assert step.worth == "It draws 40.0 kW, 44.00 CNY an hour at the price of now."


def test_samples_that_are_unaccounted_for_are_an_alarm() -> None:
    live = LiveValues()
    machine(live, off=False)
    balance = Balance({(NODE, "plc"): Counts(produced=10, stored=7)})
    (step,) = steps(live, balance=balance)
    assert step.level == "alarm" and step.text.startswith("3 samples are unaccounted for")


def test_a_device_that_is_gone_is_told_with_its_last_time() -> None:
    live = LiveValues()
    hear(live, "pump", None, said("t", 20.0))
    hear(live, "fan", None, said("t", 20.0))
    live.stale(NODE, "pump")
    (step,) = steps(live)
    assert step.level == "warning" and "pump: not heard since 08:00:00" in step.text


def test_a_gateway_that_is_gone_stands_for_all_its_assets() -> None:
    live = LiveValues()
    hear(live, "pump", None, said("t", 20.0))
    hear(live, "fan", None, said("t", 20.0))
    live.stale(NODE)
    (step,) = steps(live)
    assert step.level == "alarm" and "Gateway gw: not heard since 08:00:00, and 2 assets with it" in step.text


def test_missing_values_are_told_with_reason_and_advice() -> None:
    live = LiveValues()
    good, bad = said("a", 1.0), said("b", None, quality=Quality.BAD, reason=Reason.LINE_DOWN)
    hear(live, "pump", None, good, bad)
    (step,) = steps(live)
    assert step.text == (
        "pump: 1 reading without a valid value (the line is down). Check cable, termination and power of the line."
    )


def test_a_full_car_park_and_a_broken_barrier_are_told() -> None:
    live = LiveValues()
    capacity = said("capacity", 100, measures="capacity", kind=Datatype.UINT16)
    barrier = said("barrier_fault", True, kind=Datatype.BOOLEAN)
    hear(live, "park-plc", PARK, capacity, said("free_spaces", 5, measures="free_spaces"), barrier)
    found = steps(live)
    assert [s.level for s in found] == ["alarm", "warning"] and "5 of 100 spaces free" in found[1].text


def test_a_cheaper_band_is_worth_something_and_a_dearer_one_is_only_told() -> None:
    live = LiveValues()
    hear(live, "m", METER, said("p", 40.0, "kW", "power"), said("e", 1.0, "kW.h", "energy"))
    fine, hint = steps(live, energies={"meter": energy(1.1, 0.2)})
    assert (fine.level, hint.level) == ("fine", "hint")
    assert hint.text == "The peak price holds until 09:00, then valley." and "saves 36.00 CNY" in hint.worth
    assert steps(live, energies={"meter": energy(0.1, 0.2)})[1].worth == ""
    assert len(steps(live, energies={"meter": energy(0.1, None)})) == 1


def test_the_hosts_own_problems_are_told() -> None:
    live = LiveValues()
    machine(live, off=False)
    (step,) = steps(live, problems=["broker: connection refused"])
    assert step.level == "warning" and "connection refused" in step.text
