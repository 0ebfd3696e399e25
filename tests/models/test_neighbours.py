"""Distance to the nearest normal row that is remembered, alone and together with other detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.detectors.combined import Combined
from models.detectors.neighbours import Neighbours
from models.detectors.pca import Pca
from tests.models.conftest import normal_rows
from tests.models.exported import check_against_reference
from wire.block import FloatArray


def two_points(n: int, seed: int) -> FloatArray:
    """A machine that runs at two operating points, a few minutes each."""
    rows = normal_rows(n, seed)
    rows[(np.arange(n) // 200) % 2 == 1] += np.array([30.0, 4.0, 12.0])
    return rows


@pytest.fixture(scope="module")
def detector() -> Neighbours:
    return Neighbours.fit([two_points(2000, seed=1)], 3)


def test_the_file_gives_what_the_reference_gives(tmp_path: Path, detector: Neighbours) -> None:
    rows = np.concatenate([normal_rows(60, seed=3), 1.4 * normal_rows(40, seed=4), 1e6 * normal_rows(5, seed=5)])
    check_against_reference(tmp_path, detector, rows)


def test_the_memory_is_compressed_and_keeps_both_operating_points(detector: Neighbours) -> None:
    assert detector.memory.shape == (64, 3)
    flows = detector.centre[0] + detector.scale[0] * detector.memory[:, 0]
    assert ((flows < 55) & (flows > 25)).sum() > 5
    assert (flows > 60).sum() > 5


def test_between_two_operating_points_is_not_normal_though_each_value_is(detector: Neighbours) -> None:
    low, high = np.array([40.0, 6.0, 11.0]), np.array([70.0, 10.0, 23.0])
    at_points = [detector.score(np.tile(point, (30, 1))).scores[-1] for point in (low, high)]
    mixed = detector.score(np.tile(np.array([low[0], high[1], high[2]]), (30, 1))).scores[-1]
    assert max(at_points) < 1.0
    assert mixed > 3.0


def test_few_rows_are_all_remembered() -> None:
    rows = normal_rows(40, seed=1)
    assert len(Neighbours.fit([rows], 1, memory_rows=100).memory) == 39  # the wildest hundredth is left out


def test_each_tag_alone_reaches_far_beyond_the_limit(detector: Neighbours) -> None:
    assert (detector.reach() > 2.0).all()


@pytest.fixture(scope="module")
def both(detector: Neighbours) -> Combined:
    return Combined([detector, Pca.fit([normal_rows(2000, seed=1)], 3)], [2.0, 3.0])


def test_a_combination_of_two_gives_in_its_file_what_the_reference_gives(tmp_path: Path, both: Combined) -> None:
    rows = np.concatenate([two_points(450, seed=3), 1.4 * normal_rows(40, seed=4)])
    check_against_reference(tmp_path, both, rows)


def test_a_combination_of_three_gives_in_its_file_what_the_reference_gives(tmp_path: Path, both: Combined) -> None:
    three = Combined([*both.members, Pca.fit([two_points(2000, seed=1)], 9)], [*both.thresholds, 1.5])
    check_against_reference(tmp_path, three, two_points(450, seed=3))


def test_the_member_that_is_furthest_over_its_threshold_speaks(both: Combined) -> None:
    rows = two_points(450, seed=3)
    told = [member.score(rows) for member in both.members]
    whole = both.score(rows)
    over = np.stack([told[0].scores / 2.0, told[1].scores / 3.0])
    np.testing.assert_allclose(whole.scores, over.max(axis=0))
    loudest = int(over[:, -1].argmax())
    np.testing.assert_allclose(whole.shares[-1], told[loudest].shares[-1])
    assert (both.reach() >= both.members[0].reach() / 2.0).all()


@pytest.mark.parametrize("thresholds", [[1.0], [1.0, 0.0]])
def test_a_combination_without_a_threshold_for_each_is_refused(both: Combined, thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="a threshold above 0 for each"):
        Combined(both.members, thresholds)
