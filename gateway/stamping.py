"""Between the agent and the outbox: the agent's times become UTC, or samples wait in the outbox until they can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from agent.pipeline import Sink, Taken
from gateway.births import Latest
from gateway.outbox.store import Outbox
from gateway.time_news import FAR_MS, Step
from gateway.timekeeper import STEP_MS, Timekeeper
from wire.block import Block, Quality, Reason


class Rising:
    """Milliseconds that rise strictly per tag. Per device while that is enough, which costs nothing."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._tops: dict[str, int] = {}
        self._newest: dict[str, dict[str, int]] = {}

    def begin(self, high_water: Mapping[str, int]) -> None:
        """high_water: device -> newest of all its tags."""
        for device, ms in high_water.items():
            self._before[device] = max(ms, self._before.get(device, -1))
            self._tops[device] = max(ms, self._tops.get(device, -1))

    def begin_anew(self, step: Step) -> None:
        """What was never right does not count any more."""
        for of in (self._before, self._tops, *self._newest.values()):
            of.update({key: step.lowered(ms) for key, ms in of.items()})

    def above(self, block: Block, ms: int) -> int:
        """ms, or one more than the newest of the Block's tags."""
        device, names = block.device, block.tags.names
        newest = self._newest.setdefault(device, {})
        top = self._tops.get(device, -1)
        if ms <= top:
            before = self._before.get(device, -1)
            ms = max(ms, 1 + max(newest.get(name, before) for name in names))
        self._tops[device] = max(ms, top)
        newest.update(dict.fromkeys(names, ms))
        return ms

    @property
    def newest_ms(self) -> int:
        return max(self._tops.values(), default=0)


class Stamper:
    """Stamps that rise strictly per tag, over restarts and steps of the clock.

    A stamp that would not rise is put one millisecond above the newest of its tags; where that makes it wrong by more
    than STEP_MS it is UNCERTAIN (CLOCK_UNKNOWN), until the clock has caught up.
    """

    def __init__(self, keeper: Timekeeper) -> None:
        self._keeper = keeper
        self._rising = Rising()

    def begin(self, high_water: Mapping[str, int]) -> None:
        """high_water: device -> newest stamp. Before the first Block."""
        self._rising.begin(high_water)

    def stamped(self, block: Block) -> Block:
        """A Block of the agent in UTC. Only while the time is known."""
        ts_ms, certain = self._keeper.stamp(block.ts_ms)
        stamp = self._rising.above(block, ts_ms)
        if certain and stamp - ts_ms <= STEP_MS:
            return block if stamp == block.ts_ms else replace(block, ts_ms=stamp)
        return replace(doubted(block), ts_ms=stamp)

    def begin_anew(self, step: Step) -> None:
        self._rising.begin_anew(step)

    @property
    def newest_ms(self) -> int:
        return self._rising.newest_ms

    def ahead_ms(self) -> int:
        """How far the newest stamp is ahead of the clock."""
        return max(0, self._rising.newest_ms - self._keeper.now_ms())


def doubted(block: Block) -> Block:
    """What was GOOD is UNCERTAIN, for the clock."""
    good = block.quality == Quality.GOOD
    quality, reason = block.quality.copy(), block.reason.copy()
    quality[good], reason[good] = Quality.UNCERTAIN, Reason.CLOCK_UNKNOWN
    return replace(block, quality=np.asarray(quality, np.uint8), reason=np.asarray(reason, np.uint8))


class StampingSink:
    """The agent's Sink, in front of the outbox' own."""

    def __init__(self, sink: Sink, outbox: Outbox, latest: Latest, keeper: Timekeeper) -> None:
        self._sink, self._outbox, self._latest, self._keeper = sink, outbox, latest, keeper
        self._stamper = Stamper(keeper)
        self._waiting = Rising()
        self._polls: dict[str, tuple[int, int]] = {}  # line -> first and last poll while the time was unknown
        self._direct = False
        self._anew: Step | None = None
        self.taken: Counter[str] = Counter()  # line -> what it has given so far, also polls in which all was suppressed

    async def begin(self) -> None:
        """Once the keeper has begun."""
        self.tell()
        if self._keeper.known and not self._outbox.behind:
            await self._go_direct()

    async def _go_direct(self) -> None:
        self._stamper.begin(await self._outbox.high_water())
        if self._anew is not None:  # it may not be committed yet
            self._stamper.begin_anew(self._anew)
        # Nothing may have come in between: it would be behind the queue again.
        self._direct = not self._outbox.behind

    def tell(self) -> None:
        """Passes on what happened to the clock."""
        news = self._keeper.news()
        for word in news:
            if isinstance(word, Step) and word.floor_ms is not None:
                self._anew = word
                self._stamper.begin_anew(word)
        if news or not self._keeper.known:
            self._outbox.clock(news, self._keeper.known)

    def look_ahead(self) -> None:
        """Stamps that are far ahead of a time that is sure were never right: new ones do not wait for it to come."""
        if self._direct and self._stamper.ahead_ms() > FAR_MS and self._keeper.sure:
            self._keeper.begin_anew(self._stamper.newest_ms, self._keeper.now_ms())
            self.tell()

    async def append(self, taken: Taken) -> None:
        self.taken[taken.line] += 1
        self.tell()
        if self._keeper.known and not self._direct and not self._outbox.behind:
            await self._go_direct()
        if self._polls and self._keeper.known:
            await self._tell_polls()
        if self._direct:
            blocks = tuple(map(self._stamper.stamped, taken.blocks))
            await self._sink.append(replace(taken, blocks=blocks, polled_ms=self._keeper.stamp(taken.polled_ms)[0]))
            return
        for block in taken.blocks:
            self._latest.update(doubted(block))
        first, _ = self._polls.get(taken.line, (taken.polled_ms, 0))
        self._polls[taken.line] = (first, taken.polled_ms)
        boot_time, above = self._keeper.boot_time, self._waiting.above
        blocks = tuple(replace(b, ts_ms=above(b, max(0, boot_time(b.ts_ms)))) for b in taken.blocks)
        self._outbox.append_unstamped(replace(taken, blocks=blocks), self._keeper.boot_id)

    async def _tell_polls(self) -> None:
        """The gap record wants the first and last poll of every line, as soon as they have a time."""
        polls, self._polls = self._polls, {}
        for line, of_line in polls.items():
            for ms in of_line:
                await self._sink.append(Taken(line, self._keeper.stamp(ms)[0], (), {}))

    async def device_state(self, device: str, alive: bool) -> None:
        await self._sink.device_state(device, alive)

    def ahead_ms(self) -> int:
        return self._stamper.ahead_ms()
