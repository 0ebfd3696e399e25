"""Two gateways with one id."""

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


FAMILIES = (Family("two-gateways", 10, 1, "two gateways with one id, each with its own outbox", _twins),)
