"""Which class a tag belongs to, and settings that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud.config import load_config
from cloud.retention.classes import RetentionChoice, TagClass, fits
from cloud.retention.plan import known_measures
from cloud.store.whole_rows import DAY_MS, TagId
from wire.errors import ConfigError
from wire.ids import NodeId
from wire.tag import Datatype

NODE = NodeId("plant", "gw-1")
GOOD = """\
archive: {path: archive}
retention:
  hot_days: 400
  classes:
    - {name: vibration, tags: ["*/vibration_*"], hot_days: 30}
    - {name: energy, measures: [energy, power], hot_days: 1825}
    - {name: kept, tags: ["plant/*/*/run/hours"], hot_days: forever}
  rollups: {1m: 400, 1h: forever}
"""


def loaded(folder: Path, text: str) -> RetentionChoice:
    (folder / "cloud.yaml").write_text(text)
    found = load_config(folder / "cloud.yaml", {}).retention
    assert found is not None
    return found


def test_the_first_class_that_fits_counts_and_the_others_take_the_rest(tmp_path: Path) -> None:
    choice = loaded(tmp_path, GOOD)
    of = {
        name: choice.of(TagId(NODE, "pump-1", name), measures).name
        for name, measures in {
            "vibration_x": "energy", "power": "power", "flow": "", "run/hours": "", "run": "",
        }.items()
    }  # fmt: skip
    assert of == {
        "vibration_x": "vibration", "power": "energy", "flow": "default", "run/hours": "kept", "run": "default",
    }  # fmt: skip
    assert choice.rollups == {"1m": 400, "1h": None}
    now_ms = 1000 * DAY_MS + 7
    assert [one.cutoff_ms(now_ms) for one in choice.all_classes] == [970 * DAY_MS, 0, 0, 600 * DAY_MS]


def test_a_tag_of_which_nobody_knows_what_it_measured_stays_longest() -> None:
    energy = TagClass("energy", 1825, (), ("energy",))
    assert RetentionChoice(400, (energy,)).of(TagId(NODE, "meter", "e"), None) == energy
    assert RetentionChoice(None, (energy,)).of(TagId(NODE, "meter", "e"), None).name == "default"
    short = TagClass("short", 5, ("e",))
    assert RetentionChoice(400, (short, energy)).of(TagId(NODE, "meter", "e"), None) == short
    born = {(NODE, "meter"): [("e", Datatype.DOUBLE, {"measures": "energy"}), ("f", Datatype.DOUBLE, {})]}
    known = known_measures(born, None)
    assert known == {TagId(NODE, "meter", "e"): "energy", TagId(NODE, "meter", "f"): ""}


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("flow", True), ("fl*", True), ("F*", False), ("*/flow", True), ("pump-[12]/flow", True), ("fan-?/flow", False),
        ("gw-1/pump-1/*", True), ("plant/*/*/flow", True), ("other/*/*/*", False), ("gw-*/flow", False),
    ],
)  # fmt: skip
def test_patterns_are_read_from_the_right(pattern: str, wanted: bool) -> None:
    assert fits(pattern, ("plant", "gw-1", "pump-1", "flow")) is wanted


BAD = [
    ("retention: 400", "cloud.yaml:1: retention: 400: a mapping is wanted"),
    ("retention: {hot_days: 0}", "hot_days: 0: a number of days from 1 to 36500 is wanted, or forever"),
    ("retention: {hot_day: 7}", "hot_day: unknown key; there are: hot_days, classes"),
    ("retention: {restored_days: forever}", "restored_days: 'forever': a number of days from 1 to 36500 is wanted"),
    ("retention: {classes: {a: 1}}", "classes: .* a list is wanted"),
    ("retention:\n  classes:\n    - 7", "line 3: classes.0: 7: a mapping with name"),
    ("retention:\n  classes:\n    - {name: a, tags: [x]}", "line 3: classes.0.hot_days: is missing"),
    ("retention:\n  classes:\n    - name: a\n      hot_days: 7", "line 3: classes.0: give tags"),
    ("retention: {classes: [{name: a, hot_days: 7, tags: x}]}", "classes.0.tags: 'x': a list of texts is wanted"),
    ("retention: {classes: [{name: a, hot_days: 7, tags: [a//b]}]}", "write it as TAG, DEVICE/TAG"),
    ("retention: {classes: [{name: 'a b', hot_days: 7, tags: [x]}]}", "classes.0.name: class id 'a b'"),
    ("retention: {classes: [{name: default, hot_days: 7, tags: [x]}]}", "'default' is what every other tag belongs to"),
    ("retention: {classes: [{name: a, hot_days: 7, tags: [x]}, {name: a, hot_days: 7, tags: [y]}]}", "twice"),
    ("retention: {archive_first: 1}", "archive_first: 1: true or false is wanted"),
    ("retention: {archive_first: true}", "archive_first wants an archive"),
    ("retention: {rollups: [1m]}", "rollups: .* a mapping is wanted"),
    ("retention: {rollups: {2m: 4}}", "rollups.2m: unknown key; there are: 1m, 15m, 1h"),
    ("retention: {rollups: {1m: 400, 15m: 30}}", "rollups.15m: is kept for a shorter time than 1m"),
    ("retention: {rollups: {1h: 30}}", "rollups.1h: is kept for a shorter time than 15m"),
    ("store: influxdb://h/?bucket=b\nretention: {hot_days: 7}", "InfluxDB 3, which cannot delete samples"),
    (
        "store: {url: 'influxdb+v1://h/d', retention_days: 30}\nretention: {hot_days: 400}",
        "deletes by itself after retention_days: 30, which nobody counts, before default may go",
    ),
]


@pytest.mark.parametrize(("text", "told"), BAD, ids=[told[:40] for _, told in BAD])
def test_settings_that_cannot_be_are_told_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        loaded(tmp_path, text)


def test_every_problem_of_the_settings_is_told_at_once(tmp_path: Path) -> None:
    text = "retention:\n  hot_days: x\n  classes:\n    - {name: '', tags: [], hot_days: -1}\n"
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, text)
    assert len(told.value.problems) == 4
    assert all("cloud.yaml:1: retention: line " in problem for problem in told.value.problems)
