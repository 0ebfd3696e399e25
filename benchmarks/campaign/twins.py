"""Two gateways with one id, and a clock that jumps."""

from __future__ import annotations

import random

from benchmarks.campaign.family import Family, pause
from benchmarks.campaign.plant import Plant


def _twins(plant: Plant, dice: random.Random) -> None:
    """Both read the same devices and throw each other out of the broker; each has an outbox of its own.

    In the end each is left alone until its outbox is empty. Answers that both stamped alike are on record as collided.
    """
    plant.collisions_allowed = True
    twin = plant.second_gateway()
    twin.start()
    pause(dice, 4.0, 6.0)
    plant.stop_gateway()
    plant.wait_flowing(twin)
    plant.stop_gateway(twin)
    plant.gateway.start()


def _no_clock() -> str:
    return "gateways take the system's clock; to set it would set that of everything else here too"


FAMILIES = (
    Family("two-gateways", 10, 1, "two gateways with one id, each with its own outbox", _twins),
    Family("clock-steps", 10, 1, "the clock jumps back and forth", _twins, unable=_no_clock),
)
