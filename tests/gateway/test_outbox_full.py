"""A full outbox: what each policy keeps, counts and tells; no policy takes more of the disk than it was given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gateway.config.convert import WhenFull
from gateway.outbox.records import REFUSAL_EVERY_MS
from gateway.outbox.rows import Batch
from tests.gateway.field import FAN, block
from tests.gateway.outboxes import T0, commit, commit_at, confirm, content, on_disk, opened, records, waiting
from wire.block import Block, Quality, Reason

pytestmark = pytest.mark.no_cover
LIMIT = 1_000_000


@pytest.mark.parametrize("when_full", ["drop_oldest", "thin_oldest", "refuse_new"])
def test_file_and_wal_never_take_more_than_was_given_and_every_sample_is_accounted_for(
    tmp_path: Path, when_full: WhenFull
) -> None:
    file = opened(tmp_path / "o.db", when_full, LIMIT)
    taken, largest = 0, 0
    told: list[Batch] = []
    for i in range(100):
        told += commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 250))
        taken += 500
        largest = max(largest, on_disk(tmp_path))
    assert LIMIT // 2 < largest <= LIMIT
    pump = file.totals()["pump"]
    assert pump["produced"] + pump["refused"] == taken
    assert pump["produced"] == pump["dropped"] + pump["in_flight"]
    assert pump["in_flight"] == sum(b.samples for b in waiting(file) if b.device)
    lost = Counter({kind: sum(r["samples"] for r in records(file, told, kind)) for kind in ("drop", "thin")})
    assert lost["drop"] + lost["thin"] == pump["dropped"]
    assert bool(lost["drop"]) == (when_full == "drop_oldest")
    assert bool(lost["thin"]) == (when_full == "thin_oldest")
    assert bool(pump["refused"]) == (when_full == "refuse_new")
    file.close(clean=True)


def test_thinning_keeps_the_course_of_the_whole_outage_and_names_what_it_replaces(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", "thin_oldest", LIMIT)
    made: dict[int, Batch] = {}
    fresh: list[Batch] = []
    for i in range(100):
        fresh += commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 250))
    made = {b.number: b for b in fresh if not b.thinned and b.device}
    thinned = {b.number: b for b in fresh if b.thinned}
    found = [content(file, b) for b in waiting(file) if b.device]
    # The oldest are still there, with every second sample of each tag.
    oldest = [samples for _, _, samples in found if samples[0].ts_ms < T0 + 1000]
    assert len(oldest) == 1
    stamps = sorted({s.ts_ms for s in oldest[0]})
    assert len(stamps) in (31, 32, 62, 63, 125) and stamps[0] == T0
    assert len(set(np.diff(stamps))) == 1
    assert {s.ts_ms // 1000 for _, _, samples in found for s in samples} == {T0 // 1000 + i for i in range(100)}
    roots = [root for _, root, _ in found if root is not None]
    assert roots and all(made[root.number].digest == root.digest for root in roots)
    assert all((root.epoch, root.samples) == (file.epoch, 500) for root in roots)
    assert {tag.number for tag, root, _ in found if root is not None} <= thinned.keys()
    told = [item for r in records(file, fresh, "thin") for item in r["batches"]]
    assert {new for _, _, _, new in told} == thinned.keys()
    file.close(clean=True)


def test_batches_of_one_sample_a_tag_are_thinned_batch_by_batch(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", "thin_oldest", LIMIT)
    for i in range(40):
        assert commit(file, block(T0 + i))[0].number == i + 1
    fresh: tuple[Batch, ...] = ()
    while not records(file, fresh, "thin"):
        fresh = commit_at(file, range(T0 + 1000, T0 + 2000))
    thin = records(file, fresh, "thin")[0]
    small = [item for item in thin["batches"] if item[0] <= 40]
    assert small == [[number, 2, 0, None] for number in range(2, 41, 2)]
    assert (thin["epoch"], thin["device"], thin["into"]) == (file.epoch, "pump", file.epoch)
    assert {b.number for b in waiting(file) if b.number <= 40} == set(range(1, 40, 2))
    file.close(clean=True)


def test_thinning_leaves_changes_of_quality_and_of_switches(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", "thin_oldest", LIMIT)
    bad = [
        Block(T0 + 1000 + i, FAN, np.array([np.nan]), np.zeros(1, np.uint8), np.full(1, Reason.TIMEOUT, np.uint8))
        for i in range(3)
    ]
    commit(file, *[block(T0 + i, FAN) for i in range(10)], bad[0], block(T0 + 1001, FAN), *bad[2:])
    for i in range(90):
        commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 250))
    first = next(content(file, b)[2] for b in waiting(file) if b.device == "fan")
    changes = [(s.ts_ms - T0, s.quality) for s in first if s.ts_ms >= T0 + 1000]
    assert changes == [(1000, Quality.BAD), (1001, Quality.GOOD), (1002, Quality.BAD)]
    assert len(first) < 13
    file.close(clean=True)


def test_a_thinned_batch_of_an_earlier_run_moves_to_the_current_epoch_with_its_counts(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", "thin_oldest", LIMIT)
    old = file.epoch
    for i in range(45):
        commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 250))
    file.close(clean=True)
    file = opened(tmp_path / "o.db", "thin_oldest", LIMIT)
    for i in range(100, 150):
        commit_at(file, range(T0 + i * 1000, T0 + i * 1000 + 250))
    assert file.snapshot()["epochs"][-1]["epoch"] == file.epoch != old
    assert {root.epoch for b in waiting(file) if b.device and (root := content(file, b)[1])} >= {old}
    for epoch in file.snapshot()["epochs"]:
        pump = epoch["devices"]["pump"]
        assert pump["produced"] == pump["dropped"] + pump["in_flight"], "every epoch balances by itself"
    assert file.totals()["pump"]["produced"] == (45 + 50) * 500
    # A version that was thinned before and is dropped now is told under its first number.
    assert all(
        set(r) >= {"epoch", "device", "into", "batches", "samples", "why"} for r in records(file, waiting(file), "thin")
    )
    file.close(clean=True)


def test_what_cannot_be_thinned_any_further_is_dropped_with_a_record(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", "thin_oldest", LIMIT)
    value = 0.0
    fresh: list[Batch] = []
    for i in range(90):  # quality changes with every sample: nothing may be left out
        stamps = range(T0 + i * 1000, T0 + i * 1000 + 350)
        blocks = []
        for ts_ms in stamps:
            value += 1
            good = Quality.GOOD if ts_ms % 2 else Quality.UNCERTAIN
            blocks.append(Block(ts_ms, FAN, np.array([value]), np.full(1, good, np.uint8), np.zeros(1, np.uint8)))
        fresh += commit(file, *blocks)
        assert on_disk(tmp_path) <= LIMIT
    fan = file.totals()["fan"]
    assert fan["dropped"] == sum(r["samples"] for r in records(file, fresh, "drop")) > 0
    assert fan["produced"] == fan["in_flight"] + fan["dropped"]
    file.close(clean=True)


def test_refusing_ends_when_a_part_of_the_space_is_free_and_is_told_once_with_its_span(tmp_path: Path) -> None:
    clock = [T0]
    file = opened(tmp_path / "o.db", "refuse_new", LIMIT, lambda: clock[0])
    made: list[Batch] = []
    refused = 0
    for _ in range(100):
        clock[0] += 1000
        fresh = commit_at(file, range(clock[0], clock[0] + 250))
        made += fresh
        refused += not fresh
    assert file.totals()["pump"]["refused"] == refused * 500 > 0
    assert records(file, made, "refused") == []
    last_refused = clock[0] + 249
    clock[0] += REFUSAL_EVERY_MS + 1000
    hourly = records(file, commit_at(file, [clock[0]]), "refused")
    assert [(r["samples"], r["why"], r["to_ms"]) for r in hourly] == [(refused * 500 + 2, "space", clock[0])]
    assert hourly[0]["from_ms"] < last_refused
    commit_at(file, [clock[0] + 1])
    file.close(clean=False)
    file = opened(tmp_path / "o.db", "refuse_new", LIMIT, lambda: clock[0])
    left = records(file, waiting(file), "refused")
    assert [r["samples"] for r in left] == [refused * 500 + 2, 2], "a restart does not forget what was refused"
    confirm(file, [b for b in waiting(file) if b.device])
    commit_at(file, [clock[0] + 2])
    assert [b.device for b in commit_at(file, [clock[0] + 3])] == ["pump"]
    file.close(clean=True)


def test_a_lowered_max_mb_gives_the_disk_back(tmp_path: Path) -> None:
    file = opened(tmp_path / "o.db", limit=4_000_000)
    for i in range(16):
        commit_at(file, range(T0 + i * 10_000, T0 + i * 10_000 + 2500))
    assert on_disk(tmp_path) > 1_300_000
    file.close(clean=True)
    file = opened(tmp_path / "o.db", limit=1_000_000)
    assert on_disk(tmp_path) <= 1_000_000
    assert records(file, waiting(file), "drop")
    file.close(clean=True)
