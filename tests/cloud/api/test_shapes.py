"""No type of an answer leaves out what the host knows: a figure that is new stands in the type, too."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from cloud.api.archive import ArchiveJob
from cloud.api.balance_shapes import BalanceFound, WindowFound
from cloud.api.retention import RetentionRun
from cloud.archive.archiver import Job
from cloud.balance import Balance, Counts
from cloud.retention.retention import Run
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DayId
from cloud.window import Window, WindowAudit
from wire.ids import NodeId

NODE = NodeId("plant-1", "gw-1")


def run() -> Run:
    found = Run(1, results=[{"site": "plant-1", "day": "2026-05-01", "class": "default", "rows": 7}])
    found.hold(DayId("plant-1", 20_000), "default", 3, "it is not archived as it is now")
    return found


@pytest.mark.parametrize(
    ("told", "shape"),
    [
        (Balance(devices={(NODE, "pump-1"): Counts(produced=3, stored=3)}).as_json(), BalanceFound),
        (WindowAudit(1, 2, {DeviceId(NODE, "pump-1"): Window(batches=1)}, {NODE: 2}).as_json(), WindowFound),
        (Job(1, "run", []).as_json(), ArchiveJob),
        (run().as_json(), RetentionRun),
    ],
)
def test_what_is_told_is_answered_whole(told: dict[str, object], shape: type[BaseModel]) -> None:
    assert shape.model_validate(told).model_dump(by_alias=True) == told
