"""Principal components: along the usual movements, and off them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.detectors.pca import Pca
from tests.models.conftest import normal_rows
from tests.models.exported import check_against_reference


@pytest.fixture(scope="module")
def detector() -> Pca:
    return Pca.fit([normal_rows(2000, seed=1), normal_rows(500, seed=2)], 3)


def test_the_file_gives_what_the_reference_gives(tmp_path: Path, detector: Pca) -> None:
    rows = np.concatenate([normal_rows(60, seed=3), 1.3 * normal_rows(40, seed=4), 1e6 * normal_rows(5, seed=5)])
    check_against_reference(tmp_path, detector, rows)


def test_three_tags_that_follow_one_load_are_one_component(detector: Pca) -> None:
    assert detector.components == 1


def test_a_broken_relation_leaves_the_usual_movement_and_names_its_tag(detector: Pca) -> None:
    usual, spread = detector.centre, detector.scale
    together = usual + spread * np.array([1.2, -1.2, 1.2])  # pressure falls as flow and current rise
    against = usual + spread * np.array([-1.2, -1.2, 1.2])
    scores = detector.score(np.tile(against, (20, 1)))
    assert scores.scores[-1] > 3 * detector.score(np.tile(together, (20, 1))).scores[-1]
    assert scores.shares[-1].argmax() == 0


def test_too_much_of_the_usual_movement_is_strange_too(detector: Pca) -> None:
    far = detector.centre + detector.scale * np.array([8.0, -8.0, 8.0])
    assert detector.score(np.tile(far, (20, 1))).scores[-1] > 2.0


def test_normal_rows_exceed_each_limit_about_once_in_a_hundred(detector: Pca) -> None:
    scores = detector.score(normal_rows(4000, seed=6)).scores
    assert 0.002 < np.mean(scores > 1.0) < 0.05


def test_each_tag_alone_can_reach_what_it_says(detector: Pca) -> None:
    for i, reach in enumerate(detector.reach()):
        row = detector.centre.copy()
        row[i] += 1e6 * detector.scale[i]
        assert detector.score(np.tile(row, (200, 1))).scores[-1] == pytest.approx(reach, rel=1e-3)
