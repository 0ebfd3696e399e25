"""Scorers that count: rows scored, and the time that it took."""

from __future__ import annotations

import time

from agent.score import Scorers
from wire.block import Block


class TimedScorers(Scorers):
    """As Scorers; seconds is the time spent in score(), looking for a complete row included."""

    rows = 0
    seconds = 0.0

    def score(self, block: Block) -> list[Block]:
        began = time.perf_counter()
        scores = super().score(block)
        self.seconds += time.perf_counter() - began
        self.rows += len(scores)
        return scores
