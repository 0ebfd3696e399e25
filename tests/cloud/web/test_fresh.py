"""One answer for many askers, for a moment."""

from __future__ import annotations

import asyncio

import pytest

from cloud.web.fresh import Fresh
from wire.errors import StoreDown


async def test_askers_at_the_same_time_share_one_answer_until_it_is_old() -> None:
    now = 0.0
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return asked

    fresh = Fresh(ask, 2.0, lambda: now)
    assert await asyncio.gather(fresh(), fresh(), fresh()) == [1, 1, 1]
    now = 1.9
    assert await fresh() == 1
    now = 2.0
    assert await fresh() == 2


async def test_a_failure_is_not_remembered() -> None:
    answers: list[int | StoreDown] = [StoreDown("away"), 7]

    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, StoreDown):
            raise answer
        return answer

    fresh = Fresh(ask, 2.0, lambda: 0.0)
    with pytest.raises(StoreDown):
        await fresh()
    assert await fresh() == 7
