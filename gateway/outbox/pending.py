"""What was taken and is not yet committed: bounded, in memory, one window at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.pipeline import Taken
from gateway.outbox.rows import Window
from gateway.time_news import News

# 200,000 samples as Blocks are about 20 MB; at 1,000 samples/s that is 200 s of a disk that does not answer.
MAX_SAMPLES = 200_000


class Pending:
    """The open window. What finds no room is refused and counted, never waited for."""

    def __init__(self, max_samples: int = MAX_SAMPLES) -> None:
        self._max = max_samples
        self._open = Window()

    @property
    def samples(self) -> int:
        return self._open.samples

    @property
    def empty(self) -> bool:
        return self._open.empty

    def add(self, taken: Taken) -> None:
        """Takes everything or, when there is no room, counts the samples as refused."""
        window = self._open
        window.first_poll.setdefault(taken.line, taken.polled_ms)
        window.last_poll[taken.line] = max(taken.polled_ms, window.last_poll.get(taken.line, 0))
        self._suppressed(taken)
        for block in taken.blocks:
            count = len(block.tags)
            if window.samples + count > self._max:
                window.refused[block.device] = window.refused.get(block.device, 0) + count
                first, _ = window.refused_span.get(block.device, (block.ts_ms, 0))
                window.refused_span[block.device] = (first, block.ts_ms)
            else:
                window.blocks.append(block)
                window.samples += count

    def _suppressed(self, taken: Taken) -> None:
        for device, count in taken.suppressed.items():
            if count:
                self._open.suppressed[device] = self._open.suppressed.get(device, 0) + count

    def add_unstamped(self, taken: Taken, boot_id: str) -> None:
        """The same for Blocks whose stamps are ms since the boot. The time of the poll is left out: nobody knows it."""
        window = self._open
        window.boot_id = boot_id
        self._suppressed(taken)
        for block in taken.blocks:
            count = len(block.tags)
            if window.samples + count > self._max:
                before, first, _ = window.unstamped_refused.get(block.device, (0, block.ts_ms, 0))
                window.unstamped_refused[block.device] = (before + count, first, block.ts_ms)
            else:
                window.unstamped.append(block)
                window.samples += count

    def clock(self, news: Iterable[News]) -> None:
        """What is known of the time now."""
        self._open.clock.extend(news)

    @property
    def unstamped(self) -> bool:
        return bool(self._open.unstamped or self._open.unstamped_refused)

    def state(self, device: str, alive: bool) -> None:
        self._open.states[device] = alive

    def take(self) -> Window:
        """The open window; a new one begins."""
        taken, self._open = self._open, Window()
        return taken

    def restore(self, window: Window) -> None:
        """Puts a window back that could not be committed, before what came since."""
        later = self._open
        window.blocks.extend(later.blocks)
        window.samples += later.samples
        for device, count in later.suppressed.items():
            window.suppressed[device] = window.suppressed.get(device, 0) + count
        for device, count in later.refused.items():
            window.refused[device] = window.refused.get(device, 0) + count
            first, _ = window.refused_span.get(device, later.refused_span[device])
            window.refused_span[device] = (first, later.refused_span[device][1])
        window.boot_id = window.boot_id or later.boot_id
        window.unstamped.extend(later.unstamped)
        window.clock.extend(later.clock)
        for device, (count, first, last) in later.unstamped_refused.items():
            before, since, _ = window.unstamped_refused.get(device, (0, first, last))
            window.unstamped_refused[device] = (before + count, since, last)
        window.first_poll = later.first_poll | window.first_poll
        window.last_poll |= later.last_poll
        window.states |= later.states
        self._open = window
