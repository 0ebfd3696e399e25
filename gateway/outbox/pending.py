"""What was taken and is not yet committed: bounded, in memory, one window at a time. Pure."""

from __future__ import annotations

from agent.pipeline import Taken
from gateway.outbox.rows import Window

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
        for device, count in taken.suppressed.items():
            if count:
                window.suppressed[device] = window.suppressed.get(device, 0) + count
        for block in taken.blocks:
            count = len(block.tags)
            if window.samples + count > self._max:
                window.refused[block.device] = window.refused.get(block.device, 0) + count
                first, _ = window.refused_span.get(block.device, (block.ts_ms, 0))
                window.refused_span[block.device] = (first, block.ts_ms)
            else:
                window.blocks.append(block)
                window.samples += count

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
        window.first_poll = later.first_poll | window.first_poll
        window.last_poll |= later.last_poll
        window.states |= later.states
        self._open = window
