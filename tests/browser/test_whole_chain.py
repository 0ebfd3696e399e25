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
    seen = set()
    for _ in range(20):
        seen.add(value.inner_text())
        page.wait_for_timeout(300)
    assert len(seen) >= 3
    expect(page.locator("[data-energy=kwh]")).to_have_text(re.compile(r"\d\.\d\d kWh"), timeout=30_000)
    expect(page.locator(".card.car_park .spaces .big")).to_have_text(re.compile(r"\d"))
    expect(page.locator("[data-key$='|road-detector|flow'] .unit")).to_have_text("/h")


def test_the_anomaly_mark_appears_and_the_next_step_names_a_cause(running_page: str, look: Look) -> None:
    page = look(running_page)
    expect(page.locator("figure.wide")).to_have_attribute("data-anomalies", re.compile("[1-9]"), timeout=90_000)
    expect(page.locator(".event.anomaly").first).to_be_visible(timeout=10_000)
    alarm = page.locator("#next .step.alarm")
    expect(alarm.first).to_contain_text(re.compile(r"unusual since .* blame for \d+ %"), timeout=60_000)
    keep(page, "chain-anomaly")


def test_nothing_is_lost(running_page: str, look: Look) -> None:
    page = look(running_page)
    expect(page.locator(".verdict.ok")).to_have_attribute("data-lost", "0", timeout=30_000)
    taken = page.locator("[data-count=produced]").inner_text()
    page.wait_for_timeout(5_000)
    assert page.locator("[data-count=produced]").inner_text() != taken
    expect(page.locator(".verdict.ok")).to_have_attribute("data-lost", "0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_nothing_is_cut_off(running_page: str, look: Look, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    page = look(running_page, width, height, scheme)
    expect(page.locator(".card.machine canvas")).to_have_count(5, timeout=30_000)
    page.wait_for_timeout(1_000)
    keep(page, f"chain-{size}-{scheme}")
    assert layout_faults(page) == []
    assert contrast_faults(page) == []
