"""Live values: what a slow reader gets, a hundred readers, one that comes again, and filters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cloud.api import events
from cloud.api.events import Feed, _stream
from cloud.api.tags import Wanted
from cloud.live import LiveTag, LiveValues
from tests.cloud.api.conftest import Plant
from wire.block import Quality, Sample
from wire.ids import NodeId
from wire.tag import ASSET, Datatype

NODE = NodeId("g", "n")
ALL = Wanted()


def live_values(tags: int = 3) -> LiveValues:
    live = LiveValues()
    for node in (NODE, NodeId("g2", "n")):
        live.born(node, "d", [(f"t{i}", Datatype.DOUBLE, {ASSET: f"a{i}"}) for i in range(tags)])
    say(live, *range(tags))
    return live


def say(live: LiveValues, *numbers: int, value: float = 0.0, ts_ms: int = 1, node: NodeId = NODE) -> None:
    live.update(node, "d", [Sample(f"t{i}", Datatype.DOUBLE, ts_ms, Quality.GOOD, value) for i in numbers])


def parsed(event: str) -> tuple[str, dict[str, Any]]:
    second, third, first = event.strip().splitlines()
    assert second == "event: live"
    return first.removeprefix("id: "), {
        v[2]: v[3] for v in json.loads(third.removeprefix("data: "))["values"] if v[3] is not None
    }


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVERY_S", 0.02)


def stream(feed: Feed, which: Wanted = ALL, last: str | None = None) -> AsyncIterator[str]:
    return _stream(feed, asyncio.Event(), which, feed.version(last))


async def test_a_reader_that_was_slow_misses_values_in_between_and_never_the_newest() -> None:
    live = live_values()
    feed = Feed(live)
    reader = stream(feed)
    assert parsed(await anext(reader))[1] == {"t0": 0.0, "t1": 0.0, "t2": 0.0}
    others = stream(feed)
    await anext(others)
    for n in range(1, 6):  # it does not read, others do
        say(live, 0, 1, value=float(n), ts_ms=n)
        await anext(others)
    assert parsed(await anext(reader))[1] == {"t0": 5.0, "t1": 5.0}
    say(live, 2, value=9.0, ts_ms=9)
    assert parsed(await anext(reader))[1] == {"t2": 9.0}


async def test_a_reader_that_comes_again_gets_what_changed_since() -> None:
    live = live_values()
    feed = Feed(live)
    reader = stream(feed)
    number, _ = parsed(await anext(reader))
    say(live, 1, value=7.0, ts_ms=2)
    assert parsed(await anext(stream(feed, last=number)))[1] == {"t1": 7.0}
    again, changed = parsed(await anext(stream(feed, last=f"{feed.start}-{live.version}")))
    assert changed == {}, "a first event comes all the same"
    assert again == f"{feed.start}-{live.version}"
    for other in (f"0000-{live.version}", f"{feed.start}-999999", "nonsense", "", None):
        assert len(parsed(await anext(stream(feed, last=other)))[1]) == 3, "another process: everything"


async def test_filters_of_site_asset_and_tag() -> None:
    live = live_values()
    say(live, 0, 1, 2, value=5.0, node=NodeId("g2", "n"))
    feed = Feed(live)
    for which, names in (
        (Wanted(group="g2", asset="a1"), {"t1": 5.0}),
        (Wanted(group="g", name="T2"), {"t2": 0.0}),
        (Wanted(group="nobody"), {}),
    ):
        reader = stream(feed, which)
        assert parsed(await anext(reader))[1] == names
    reader = stream(feed, Wanted(group="g", name="t0"))
    await anext(reader)
    say(live, 1, value=1.0, ts_ms=3)
    await asyncio.sleep(0.1)
    say(live, 0, value=8.0, ts_ms=3)
    assert parsed(await anext(reader))[1] == {"t0": 8.0}


async def test_a_hundred_readers_that_keep_up_cost_one_search_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    live = live_values()
    feed = Feed(live)
    closing = asyncio.Event()
    got = [0] * 100
    searched = 0
    real = LiveValues.changed

    def counted(self: LiveValues, since: int) -> list[LiveTag]:
        nonlocal searched
        searched += 1
        return real(self, since)

    monkeypatch.setattr(LiveValues, "changed", counted)

    async def read(i: int) -> None:
        async for event in _stream(feed, closing, Wanted(), -1):
            parsed(event)
            got[i] += 1

    tasks = [asyncio.create_task(read(i)) for i in range(100)]
    await asyncio.sleep(0.1)
    assert feed.readers == 100
    begun, steps = searched, 0
    for n in range(5):
        before = list(got)
        say(live, 0, value=float(n), ts_ms=10 + n)
        async with asyncio.timeout(60):
            while any(a == b for a, b in zip(before, got, strict=True)):
                await asyncio.sleep(0.005)
        steps += 1
    frames = feed._frame.step
    assert frames > 0
    assert searched - begun < 100 * steps, "they share a frame: not each of them searches"
    closing.set()
    await asyncio.gather(*tasks)
    assert feed.readers == 0


async def test_an_empty_event_says_that_the_connection_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SILENT_S", 0.05)
    reader = stream(Feed(live_values()))
    assert len(parsed(await anext(reader))[1]) == 3
    assert parsed(await anext(reader))[1] == {}


def test_events_of_a_real_host_can_be_taken_up_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(last: str | None = None, **asked: str) -> tuple[str, dict[str, Any]]:
        headers = {"Last-Event-ID": last} if last else {}
        url = f"{plant.url}/api/events"
        with httpx.stream("GET", url, headers=headers, params=asked, timeout=30, trust_env=False) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            text = ""
            for piece in answer.iter_text():
                text += piece
                if text.endswith("\n\n"):
                    return parsed(text)
        raise AssertionError("no event")

    number, values = first(group="plant-1")
    assert list(values) == ["flow"]
    assert first(number)[1] == {}
    assert first(group="nowhere")[1] == {}
