"""kill -9 of the gateway, of the host, of the broker, at any moment of their work."""

from __future__ import annotations

import random
import time

from benchmarks.campaign.family import Family, pause
from benchmarks.campaign.plant import Plant, kill


def _gateway(plant: Plant, dice: random.Random) -> None:
    """Anywhere between its first breath and a second of sampling; now and then again while it starts."""
    pause(dice, 0.0, 1.0)
    plant.kill_gateway()
    pause(dice, 0.0, 0.3)
    plant.gateway.start()
    if dice.random() < 0.2:
        pause(dice, 0.0, 2.0)
        plant.kill_gateway(starting=True)
        plant.gateway.start()
    plant.wait_flowing()


def _host(plant: Plant, dice: random.Random) -> None:
    pause(dice, 0.0, 1.0)
    kill(plant.the_host)
    pause(dice, 0.0, 1.0)
    plant.start_host()


def _broker(plant: Plant, dice: random.Random) -> None:
    pause(dice, 0.0, 1.0)
    plant.broker.kill()
    pause(dice, 0.0, 2.0)
    plant.broker.start()
    time.sleep(0.2)


FAMILIES = (
    Family("kill-gateway", 500, 2, "kill -9 of the gateway", _gateway),
    Family("kill-host", 200, 1, "kill -9 of the host (the collector)", _host),
    Family("kill-broker", 100, 1, "kill -9 of mosquitto", _broker),
)
