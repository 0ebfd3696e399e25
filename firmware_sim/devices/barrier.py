"""A barrier that streams an event whenever something happens. The traffic is our physics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from firmware_sim.devices.device import DeviceSettings, Said, Window
from firmware_sim.devices.walk import Walk
from firmware_sim.noise import Noise
from firmware_sim.signals import Signal, Value

STATES = ("OPEN", "PASSED", "CLOSED", "FAULT")
_OPEN, _PASSED, _CLOSED, _FAULT = range(4)


class BarrierSettings(DeviceSettings):
    """`cars_per_min`: simulated minutes."""

    model: Literal["barrier"]
    cars_per_min: Annotated[float, Field(gt=0, le=60)] = 6.0


class Barrier:
    """Lines such as `EVT 000123 OPEN TICKET=004711 CARS=000042`; the state is 0 open, 1 passed, 2 closed, 3 fault."""

    signals: ClassVar[tuple[Signal, ...]] = (
        Signal("event", "1", "physics", counter=True),
        Signal("state", "1", "physics"),
        Signal("ticket", "1", "physics"),
        Signal("cars", "1", "physics", counter=True),
    )
    step_s = 0.25
    steps = None

    def __init__(self, settings: BarrierSettings, seed: int) -> None:
        self._chance = settings.cars_per_min / 60.0 * self.step_s
        self._walk = Walk(lambda: self._steps(Noise(seed, settings.id)))

    def at(self, step: int) -> Mapping[str, Value]:
        return self._walk.at(step)

    def recorded(self) -> Iterator[Window]:
        return iter(())

    def frames(self, step: int, values: Mapping[str, Value]) -> list[Said]:
        """An event, when this step brought one."""
        if step > 0 and self.at(step - 1)["event"] == self.at(step)["event"]:
            return []
        said: dict[str, Value] = {name: max(0, round(float(values[name]))) for name in ("event", "ticket", "cars")}
        said["state"] = min(_FAULT, max(_OPEN, round(float(values["state"]))))
        state = STATES[int(said["state"])]
        text = f"EVT {said['event']:06d} {state} TICKET={said['ticket']:06d} CARS={said['cars']:06d}\r\n"
        return [Said(text.encode("ascii"), said)]

    def _steps(self, noise: Noise) -> Iterator[Mapping[str, Value]]:
        event, ticket, cars, state, wait = 0, 4_700, 0, _CLOSED, 0
        while True:
            yield {"event": event, "state": state, "ticket": ticket, "cars": cars}
            wait -= 1
            if wait > 0:
                continue
            if state in (_CLOSED, _FAULT):
                if noise.uniform() < self._chance:
                    event, ticket, state, wait = event + 1, ticket + 1, _OPEN, int(noise.uniform(4, 12))
                elif state == _CLOSED and noise.uniform() < 0.0005:
                    event, state, wait = event + 1, _FAULT, 40
            elif state == _OPEN:
                event, cars, state, wait = event + 1, cars + 1, _PASSED, 4
            else:
                event, state, wait = event + 1, _CLOSED, 2
