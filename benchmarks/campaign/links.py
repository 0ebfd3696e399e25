"""Bad lines between gateway, broker and host: half-open, slow, lossy."""

from __future__ import annotations

import random

from benchmarks.campaign.family import Family, pause
from benchmarks.campaign.plant import Plant
from benchmarks.campaign.rough_link import RoughLink, Weather

SLOW = Weather(bytes_per_s=50_000 / 8, delay_s=0.3)  # 50 kbit/s, and 600 ms there and back
LOSSY = Weather(loss=0.05)


def _half_open(*links: RoughLink, dice: random.Random) -> None:
    """Neither end is told; connections made before and meanwhile stay dead, later ones work."""
    for link in links:
        link.go_silent()
    pause(dice, 0.5, 4.0)
    for link in links:
        link.calm()


def _dead_to_gateway(plant: Plant, dice: random.Random) -> None:
    _half_open(plant.gateway_link, dice=dice)


def _dead_to_host(plant: Plant, dice: random.Random) -> None:
    """The host notices within one and a half keep-alives of 30 s."""
    both = (plant.gateway_link, plant.host_link)
    _half_open(*(both if dice.random() < 0.5 else both[1:]), dice=dice)


def _slow(plant: Plant, dice: random.Random) -> None:
    plant.gateway_link.weather = SLOW
    pause(dice, 3.0, 4.0)
    plant.gateway_link.cut()  # once more from the start: births and a backlog through the narrow line
    pause(dice, 0.5, 1.0)
    plant.gateway_link.weather = SLOW
    pause(dice, 3.0, 4.0)
    plant.gateway_link.calm()


def _lossy(plant: Plant, dice: random.Random) -> None:
    for link in (plant.gateway_link, plant.host_link):
        link.weather = LOSSY
    pause(dice, 3.0, 4.0)
    plant.gateway_link.cut()  # what several losses in a row end in
    pause(dice, 0.1, 0.5)
    plant.gateway_link.weather = LOSSY
    pause(dice, 3.0, 4.0)
    for link in (plant.gateway_link, plant.host_link):
        link.calm()


FAMILIES = (
    Family("half-open", 40, 1, "the gateway's connection is dead and not closed", _dead_to_gateway),
    Family("half-open-host", 10, 0, "the host's, or both", _dead_to_host, timeout_s=180.0),
    Family("slow-link", 10, 1, "50 kbit/s and 600 ms between gateway and broker", _slow),
    Family("lossy-link", 10, 1, "5 % loss: late segments and a break, emulated above TCP", _lossy),
)  # fmt: skip
