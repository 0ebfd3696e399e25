"""No room on the disk: of the gateway's outbox, of the host's store."""

from __future__ import annotations

import random

from benchmarks.campaign.family import Family, fill, no_small_disks, pause
from benchmarks.campaign.plant import Plant


def _outbox(plant: Plant, dice: random.Random) -> None:
    """What cannot be committed waits in memory; the host confirms meanwhile, which cannot be noted either."""
    with plant.small_disk("gateway", 200) as folder:
        plant.wait_flowing()
        filler = fill(folder)
        pause(dice, 2.0, 4.0)
        filler.unlink()
        plant.wait_flowing()


def _store(plant: Plant, dice: random.Random) -> None:
    with plant.small_disk("host", 400) as folder:
        plant.wait_flowing()
        filler = fill(folder)
        pause(dice, 2.0, 4.0)
        filler.unlink()
        plant.wait_flowing()


FAMILIES = (
    Family("outbox-disk-full", 10, 1, "no room for the outbox for some seconds", _outbox, unable=no_small_disks),
    Family("store-disk-full", 10, 1, "no room for the host's database and state", _store, unable=no_small_disks),
)
