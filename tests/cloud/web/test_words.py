"""Ages, clocks, durations and reasons in words."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest

from cloud.web import words
from cloud.web.texts import ENGLISH, Texts
from wire.block import Reason

T = Texts()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "just now"),
        (-500, "just now"),
        (1_999, "just now"),
        (2_000, "2 s ago"),
        (119_000, "119 s ago"),
        (120_000, "2 min ago"),
        (7_200_000, "2 h ago"),
        (172_800_000, "2 d ago"),
    ],
)
def test_ages(ms: int, text: str) -> None:
    assert words.age(1_000_000_000_000 - ms, 1_000_000_000_000, T) == text


def test_no_stamp_has_no_age() -> None:
    assert words.age(None, 5, T) == ""


def test_the_clock_is_the_sites_and_names_the_day_only_when_it_is_another() -> None:
    shanghai = ZoneInfo("Asia/Shanghai")
    now = 1_767_225_600_000  # 2026-01-01 00:00 UTC
    assert words.clock(now, shanghai, now) == "08:00:00"
    assert words.clock(now - 9 * 3_600_000, shanghai, now) == "2025-12-31 23:00:00"
    assert words.hours_minutes(now, shanghai) == "08:00"


@pytest.mark.parametrize(
    ("ms", "text"), [(100, "1 s"), (59_000, "59 s"), (80_000, "1 min 20 s"), (7_260_000, "2 h 1 min")]
)
def test_durations(ms: int, text: str) -> None:
    assert words.duration(ms, T) == text


@pytest.mark.parametrize("why", list(Reason))
def test_every_reason_has_words_and_advice(why: Reason) -> None:
    assert words.reason(why, T) and words.advice(why, T).endswith(".")


def test_the_browser_gets_its_words_and_no_others() -> None:
    told = T.for_browser()
    assert told["lost"] == "Connection lost" and len(told) == sum(key.startswith("js.") for key in ENGLISH)


def test_every_word_that_the_scripts_ask_for_exists() -> None:
    from cloud.web.build import ASSETS

    asked = {
        key
        for file in (ASSETS / "src").glob("*.ts")
        for key in re.findall(r'\bsay\(\s*"(\w+)"', file.read_text(encoding="utf-8"))
    }
    assert asked and asked <= set(T.for_browser())


def test_a_missing_word_is_a_fault() -> None:
    with pytest.raises(KeyError):
        T("no.such.word")
    assert T.get("band.super", "super") == "super"
