"""The dashboard in a real browser, over a plant that can be put out of order."""

from __future__ import annotations

import re
import socket
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Look, keep
from tests.browser.layout import contrast_faults, layout_faults
from tests.browser.plant import Plant
from tests.browser.relay import Relay

SIZES = {"phone": (390, 844), "desk": (1280, 900), "wall": (1920, 1080)}


def drawn(page: Page) -> None:
    """Waits until every chart shows a line or says why it has none."""
    page.wait_for_function(
        """() => [...document.querySelectorAll('.chart')].every((c) => c.querySelector('canvas')
        || (c.querySelector('.empty:not([hidden])')?.textContent ?? '').includes('No valid'))"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_nothing_is_cut_off_and_everything_can_be_read(plant: Plant, look: Look, size: str, scheme: str) -> None:
    plant.off = True
    width, height = SIZES[size]
    page = look(plant.url, width, height, scheme)
    expect(page.locator(".state.anomaly")).to_be_visible(timeout=10_000)
    drawn(page)
    keep(page, f"plant-{size}-{scheme}")
    assert layout_faults(page) == []
    assert contrast_faults(page) == []


def test_values_change_by_themselves(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    value = page.locator("[data-key$='|motor_current'] .value").first
    expect(page.locator("#connection")).to_have_text(re.compile("Live"))
    for _ in range(4):
        expect(value).not_to_have_text(value.inner_text())


def test_an_anomaly_is_marked_explained_and_remembered(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    score = page.locator("figure.wide")
    expect(score).to_have_attribute("data-anomalies", "1")  # the one of the past
    expect(page.locator("#next .step.alarm")).to_have_count(0)
    plant.off = True
    expect(score).to_have_attribute("data-anomalies", "2")
    expect(score.locator(".marks")).to_contain_text("Anomaly since")
    expect(page.locator("#next .step.alarm")).to_contain_text("Temperature is to blame for 81 %")
    expect(page.locator(".card.machine .state")).to_have_text("unusual")
    plant.off = False
    expect(page.locator("#next .step.alarm")).to_have_count(0)
    expect(page.locator(".event.anomaly")).to_have_count(2)


def test_the_marked_part_of_the_chart_is_shaded(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    expect(page.locator("figure.wide")).to_have_attribute("data-anomalies", "1")
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector('figure.wide canvas');
          if (!canvas) return false;
          const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          let red = 0;
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 0 && data[i + 3] < 60 && data[i] > 150 && data[i + 1] < 90) red++;
          return red / (canvas.width * canvas.height) > 0.03;
        }"""
    )


def test_what_is_not_good_says_why_in_words(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    bad = page.locator("[data-key$='|pump-3|flow']")
    expect(bad).to_contain_text("no value")
    expect(bad).to_contain_text("the device did not answer in time")
    expect(page.locator("[data-key$='|occupancy']")).to_contain_text("outside the range that is possible")
    expect(page.locator("#next")).to_contain_text("pump-3: 2 readings without a valid value")
    empty = page.locator("figure", has_text="Pressure").locator(".empty")
    expect(empty).to_contain_text("No valid value in the last 5 min: the device did not answer in time")


def test_a_quality_that_changes_is_told_at_once(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    tile = page.locator("[data-key$='|vibration_rms']").first
    expect(tile).to_have_attribute("data-quality", "good")
    plant.silent.add("machine-plc")
    expect(tile).to_contain_text("the device did not answer in time")
    expect(page.locator(".card.machine .state")).to_have_text("values missing")
    plant.silent.clear()
    expect(tile).to_have_attribute("data-quality", "good")
    drawn(page)
    legend = page.locator("figure", has_text="Vibration rms").locator(".legend")
    expect(legend).to_contain_text("no valid value")


def test_a_gateway_that_is_gone_is_told_and_its_last_values_are_marked_as_old(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    tile = page.locator("[data-key$='|motor_current']").first
    expect(tile).to_have_attribute("data-quality", "good")
    plant.gone = True
    expect(tile).to_contain_text("last known value: not heard any more")
    expect(tile.locator(".value")).to_have_text(re.compile(r"^1\d\.\d\d$"))
    expect(page.locator(".card.machine .state")).to_have_text("not heard")
    expect(page.locator("#site")).to_contain_text("0 of 1 gateways heard")
    expect(page.locator("#next")).to_contain_text("Gateway demo-gateway: not heard since")
    keep(page, "plant-gone")
    assert layout_faults(page) == [] and contrast_faults(page) == []


def test_the_free_spaces_follow_the_car_park_and_stand_on_the_page_once(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    free = page.locator(".card.car_park [data-key$='|free_spaces']")
    expect(free).to_have_count(1)
    expect(free.locator(".value")).to_have_text("143")
    plant.off = True
    expect(free.locator(".value")).to_have_text("28")
    expect(page.locator(".card.car_park .state")).to_have_text("nearly full")
    expect(free.get_by_text("93 % taken")).to_be_visible()


def test_energy_is_shown_with_cost_band_and_currency(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    card = page.locator(".card.meter")
    expect(card.locator("[data-energy=kwh]")).to_have_text(re.compile(r"^\d[\d\u202f]*\.\d\d kWh$"))
    expect(card.locator("[data-energy=cost]")).to_have_text(re.compile(r"^\d[\d\u202f]*\.\d\d CNY$"))
    expect(card).to_contain_text("CNY/kWh")


def test_the_clock_is_the_sites_and_not_the_viewers(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    expected = page.evaluate(
        "() => new Intl.DateTimeFormat('en-GB', {timeZone: 'Asia/Shanghai', hour: '2-digit'}).format()"
    )
    expect(page.locator("#clock")).to_have_text(re.compile(f"^{expected}:"))
    expect(page.locator(".zone")).to_have_text("Asia/Shanghai")


def test_a_new_device_gets_its_card_and_charts_without_a_reload(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    page.evaluate("() => { window.same = true; }")
    plant.add_device("fan-9")
    card = page.locator("[data-asset='fan-9']")
    expect(card).to_be_visible(timeout=10_000)
    expect(card.locator("canvas")).to_have_count(1)
    expect(page.locator(".card.machine canvas")).to_have_count(5)
    assert page.evaluate("() => window.same") is True


def test_a_value_that_did_not_change_for_long_is_drawn_as_holding(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    plant.add_device("tank-2", last_ms=int(time.time() * 1000) - 20 * 60_000)
    card = page.locator("[data-asset='tank-2']")
    expect(card.locator("canvas")).to_have_count(1)
    expect(card.locator(".empty")).to_be_hidden()
    expect(card.locator(".tile")).to_contain_text("20 min ago")


def test_a_host_that_goes_away_is_seen_and_its_return_too(plant: Plant, look: Look) -> None:
    page = look(plant.url, forgive=True)
    expect(page.locator("#connection")).to_have_text(re.compile("Live"))
    expect(page.locator("#lost")).to_be_hidden()
    plant.stop()
    expect(page.locator("#lost")).to_be_visible(timeout=15_000)
    expect(page.locator("#lost")).to_contain_text("Connection to the host lost at")
    expect(page.locator("#connection")).to_have_text(re.compile("Connection lost"))
    keep(page, "plant-lost")
    again = plant.again()
    try:
        expect(page.locator("#connection")).to_have_text(re.compile("Live"))
        expect(page.locator("#lost")).to_be_hidden()
    finally:
        again.stop()


def test_a_host_that_takes_a_connection_and_never_answers_is_tried_again(plant: Plant, look: Look) -> None:
    page = look(plant.url, forgive=True)
    expect(page.locator("#connection")).to_have_text(re.compile("Live"))
    plant.stop()
    held = []
    with socket.create_server(("127.0.0.1", plant.port)) as deaf:
        deaf.settimeout(120)
        wanted = ""
        while "/api/events" not in wanted:
            caller, _ = deaf.accept()
            held.append(caller)
            wanted = caller.recv(200).decode()
    again = plant.again()
    try:
        expect(page.locator("#connection")).to_have_text(re.compile("Live"))
    finally:
        again.stop()
        for caller in held:
            caller.close()


def test_a_connection_that_dies_without_a_word_is_made_anew(plant: Plant, look: Look) -> None:
    relay = Relay(plant.port)
    try:
        page = look(relay.url, forgive=True)
        expect(page.locator("#connection")).to_have_text(re.compile("Live"))
        relay.freeze()  # what is asked anew is answered
        expect(page.locator("#connection")).to_have_text(re.compile("Connection lost"))
        value = page.locator("[data-key$='|motor_current'] .value").first
        expect(page.locator("#connection")).to_have_text(re.compile("Live"))
        expect(value).not_to_have_text(value.inner_text())
    finally:
        relay.close()


def test_the_window_is_chosen_by_keyboard_and_remembered(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("input[value='5']")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[value='15']")).to_be_checked()
    expect(page.locator("figure.wide .plot")).to_have_attribute("aria-label", re.compile("last 15 min"))
    page.reload()
    expect(page.locator("input[value='15']")).to_be_checked()


def test_a_screen_reader_finds_headings_regions_and_chart_summaries(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    drawn(page)
    for name in ("What to do next", "The balance", "Events"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("article", name="Machine 1")).to_be_visible()
    summary = page.get_by_role(
        "img", name=re.compile(r"Temperature, last 5 min: now [\d.]+, lowest [\d.]+, highest [\d.]+ °F")
    )
    expect(summary).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"


def test_pointing_at_a_chart_tells_value_and_time(plant: Plant, look: Look) -> None:
    page = look(plant.url)
    drawn(page)
    figure = page.locator("figure", has_text="Temperature")
    figure.locator(".u-over").hover(position={"x": 200, "y": 60})
    told = re.compile(r"^[\d.]+ °F · \d\d:\d\d:\d\d$")
    expect(figure.locator(".chart-title")).to_have_attribute("data-readout", told)


def test_the_balance_adds_up_on_the_page(plant: Plant, look: Look) -> None:
    page = look(plant.url)

    def shown(name: str) -> int:
        return int(page.locator(f"[data-count={name}]").inner_text().replace("\u202f", ""))

    parts = ("stored", "in_flight", "dead_letters", "dropped", "collided")
    assert shown("produced") == sum(map(shown, parts)) > 0
    expect(page.locator(".verdict.ok")).to_contain_text("Every sample is accounted for")


def test_the_measures_of_this_test_find_what_is_wrong(plant: Plant, look: Look) -> None:
    page = look(plant.url, 390, 844, forgive=True)  # a style of the test's own may be met by the page's next refresh
    drawn(page)
    assert layout_faults(page) == [] and contrast_faults(page) == []
    page.evaluate("() => { document.querySelector('.card-head').style.width = '600px'; }")
    assert any("sticks out" in fault for fault in layout_faults(page))
    page.evaluate("() => { document.querySelector('.card-head').style.width = ''; }")
    page.evaluate("() => { document.querySelector('.verdict').style.marginBottom = '-40px'; }")
    assert any("lies over" in fault for fault in layout_faults(page))
    page.evaluate("() => { document.querySelector('h3').style.color = '#999'; }")
    assert len(contrast_faults(page)) == 1
