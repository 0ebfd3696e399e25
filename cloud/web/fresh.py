"""Remembers an answer for a moment, so that ten open pages cost the database what one does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Asks again only when the last answer is older than keep_s; askers at the same time wait for one answer.

    A failure is not remembered: it goes to every asker that waits, and the next one asks again.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], keep_s: float, clock_s: Callable[[], float]) -> None:
        self._ask, self._keep_s, self._clock_s = ask, keep_s, clock_s
        self._lock = asyncio.Lock()
        self._answer: tuple[float, T] | None = None

    async def __call__(self) -> T:
        async with self._lock:
            if self._answer is None or self._clock_s() - self._answer[0] >= self._keep_s:
                self._answer = (self._clock_s(), await self._ask())
            return self._answer[1]
