"""The page as the server renders it: whole, in parts, and when the database is away."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.balance import Balance, Counts
from cloud.costs.energy import EnergyToday, energy_today
from cloud.costs.tariff_file import load_tariff
from cloud.host_view import Anomaly, HostStats
from cloud.live import LiveValues
from cloud.store.embedded import EmbeddedStore
from cloud.store.port import Batch
from cloud.web import mount
from cloud.web import pages as web_pages
from tests.cloud.costs.test_tariff import EXAMPLE
from tests.cloud.web.plant_values import METER, NODE, hear, machine, said
from wire.block import Quality, Sample
from wire.errors import StoreDown
from wire.tag import Datatype


class Host:
    """A host over real live values, a real database and a real tariff; `down` is what the database then says."""

    def __init__(self, folder: Path) -> None:
        self.live = LiveValues()
        self.store = EmbeddedStore(folder / "s.duckdb")
        self.balance = Balance()
        self.found: list[Anomaly] = []
        self.problems: tuple[str, ...] = ()
        self.down = ""
        self._tariff = load_tariff(EXAMPLE)

    def _asked(self) -> None:
        if self.down:
            raise StoreDown(self.down)

    async def audit(self) -> Balance:
        self._asked()
        return self.balance

    async def energy_today(self, asset: str) -> EnergyToday:
        self._asked()
        tag = next(a for a in self.live.assets() if a.id == asset).measuring("energy")
        assert tag is not None
        return await energy_today(self.store, tag, self._tariff, int(time.time() * 1000))

    async def anomalies(self, from_ms: int, to_ms: int) -> list[Anomaly]:
        self._asked()
        return self.found

    def stats(self) -> HostStats:
        latency = {"p50": 12.0, "p99": 40.0, "n": 9}
        return HostStats(latency, 3.5, self.store.about, "mqtt://b", {}, {}, self.problems, 1.0)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    found = Host(tmp_path)
    await found.store.open()
    yield found
    await found.store.close()


@pytest.fixture
async def page(host: Host) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    mount(app, host)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page") as client:
        yield client


async def meter(host: Host, unit: str = "kW.h") -> None:
    """A meter with two stored readings of its register, one second apart, and what it shows now."""
    now = int(time.time() * 1000)
    samples = tuple(Sample("e", Datatype.DOUBLE, now - 2000 + 1000 * i, Quality.GOOD, 100.0 + 2 * i) for i in range(2))
    async with host.store.transaction():
        await host.store.write([Batch(NODE, "m", samples, "e1", 1)])
    hear(host.live, "m", METER, said("e", 102.0, unit, "energy", Datatype.DOUBLE), ts_ms=now)


async def test_an_empty_host_says_that_it_waits(page: httpx.AsyncClient) -> None:
    answer = await page.get("/")
    assert answer.status_code == 200
    for words in (
        "Waiting for the first gateway",
        "No asset yet",
        "No gateway has reported",
        "No gateway has been heard",
    ):
        assert words in answer.text


async def test_the_page_shows_asset_balance_energy_and_events(host: Host, page: httpx.AsyncClient) -> None:
    now = int(time.time() * 1000)
    machine(host.live, off=True)
    await meter(host)
    host.balance.devices[NODE, "plc"] = Counts(produced=12_345, stored=12_300, in_flight=45, suppressed=7, refused=1)
    host.balance.gaps[NODE] = 2
    host.balance.duplicates[NODE] = 3
    host.found = [Anomaly("m1", now - 30_000, now - 10_000)]
    text = (await page.get("/")).text
    for words in (
        "Machine 1: unusual since", "12\u202f345", "Every sample is accounted for", "3 batches came twice",
        "2.00 <span class=\"unit\">kWh", "Example time-of-use tariff", "Machine 1 unusual for 20 s", "2 gaps on record",
        "Asia/Shanghai", "1 readings were refused", "°F",
    ):  # fmt: skip
        assert words in text, words


async def test_a_balance_that_is_off_is_red_in_words_too(host: Host, page: httpx.AsyncClient) -> None:
    host.balance.devices[NODE, "plc"] = Counts(produced=10, stored=8, dead_letters=1)
    text = (await page.get("/parts")).text
    assert 'class="verdict off" data-lost="1"' in text and "1 samples are unaccounted for" in text


async def test_more_stored_than_taken_is_off_too(host: Host, page: httpx.AsyncClient) -> None:
    host.balance.devices[NODE, "plc"] = Counts(produced=10, stored=12)
    assert "2 samples more are stored than were taken" in (await page.get("/parts")).text


async def test_a_database_that_is_away_is_told_and_the_live_values_stay(host: Host, page: httpx.AsyncClient) -> None:
    machine(host.live, off=False)
    await meter(host)
    host.down = "connection refused"
    answer = await page.get("/")
    assert answer.status_code == 200 and "96.5" in answer.text
    for words in (
        "The database cannot be asked now: connection refused",
        "Energy cannot be computed now",
        "Events cannot",
    ):
        assert words in answer.text


async def test_a_register_in_a_unit_that_is_no_energy_is_told(host: Host, page: httpx.AsyncClient) -> None:
    await meter(host, "m3")
    assert "cannot be billed" in (await page.get("/")).text


async def test_parts_name_only_what_stands_on_the_page(host: Host, page: httpx.AsyncClient) -> None:
    machine(host.live, off=False)
    whole = await page.get("/")
    layout = json.loads(whole.headers["HX-Trigger"])["layout"]
    assert f'data-layout="{layout}"' in whole.text
    assert "asset-plant-gw-m1-now" in (await page.get("/parts", params={"layout": layout})).text
    other = await page.get("/parts", params={"layout": "an older one"})
    assert "asset-plant-gw-m1-now" not in other.text and json.loads(other.headers["HX-Trigger"])["layout"] == layout
    assert "asset-plant-gw-m1-now" in (await page.get("/parts/assets")).text


async def test_a_device_cannot_put_markup_on_the_page(host: Host, page: httpx.AsyncClient) -> None:
    evil = "<script>alert(1)</script>"
    hear(host.live, "plc", None, said("note", evil, kind=Datatype.STRING), said("x", 1.0, evil))
    host.problems = (evil,)
    answer = await page.get("/")
    assert evil not in answer.text and "&lt;script&gt;" in answer.text
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_every_file_that_the_page_loads_is_served_by_this_host(page: httpx.AsyncClient) -> None:
    text = (await page.get("/")).text
    loaded = re.findall(r'(?:src|href)="(?!#)([^"]+)"', text)
    assert len(loaded) >= 3
    for path in loaded:
        assert path.startswith("/static/") and (await page.get(path)).status_code == 200


async def test_without_built_assets_the_page_says_what_to_do(
    page: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_pages, "read_manifest", lambda: None)
    answer = await page.get("/")
    assert answer.status_code == 503 and "make setup" in answer.text
