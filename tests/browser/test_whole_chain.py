"""The page of the whole running chain: devices, gateway, broker, collector, database, browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Look, keep
from tests.browser.layout import contrast_faults, layout_faults
from tests.browser.test_dashboard import SIZES


def test_values_of_every_asset_come_and_change(running_page: str, look: Look) -> None:
    page = look(running_page)
    for kind in ("machine", "meter", "car_park", "road"):
        expect(page.locator(f".card.{kind}")).to_be_visible(timeout=30_000)
    value = page.locator("[data-key$='|machine-plc|temperature'] .value").first
    for _ in range(3):
        expect(value).not_to_have_text(value.inner_text())
    expect(page.locator("[data-energy=kwh]")).to_have_text(re.compile(r"\d\.\d\d kWh"))
    expect(page.locator(".card.car_park .spaces .big")).to_have_text(re.compile(r"\d"))
    expect(page.locator("[data-key$='|road-detector|flow'] .unit")).to_have_text("/h")


def test_the_anomaly_mark_appears_and_the_next_step_names_a_cause(running_page: str, look: Look) -> None:
    page = look(running_page)
    expect(page.locator("figure.wide")).to_have_attribute("data-anomalies", re.compile("[1-9]"), timeout=90_000)
    expect(page.locator(".event.anomaly").first).to_be_visible(timeout=10_000)
    alarm = page.locator("#next .step.alarm")
    expect(alarm.first).to_contain_text(re.compile(r"unusual since .* blame for \d+ %"))
    keep(page, "chain-anomaly")


def test_nothing_is_lost(running_page: str, look: Look) -> None:
    page = look(running_page)
    expect(page.locator(".verdict.ok")).to_have_attribute("data-lost", "0")
    produced = page.locator("[data-count=produced]")
    expect(produced).not_to_have_text(produced.inner_text())
    expect(page.locator(".verdict.ok")).to_have_attribute("data-lost", "0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_nothing_is_cut_off(running_page: str, look: Look, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    page = look(running_page, width, height, scheme)
    expect(page.locator(".card.machine canvas")).to_have_count(5)
    page.wait_for_timeout(1_000)
    keep(page, f"chain-{size}-{scheme}")
    assert layout_faults(page) == []
    assert contrast_faults(page) == []
