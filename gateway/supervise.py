"""Keeps a task running: a bug in one line stops that line for a moment, never the plant."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.resend import delay_s
from wire.errors import ConfigError

log = logging.getLogger(__name__)

_SOUND_S = 60.0  # a task that ran this long starts its back-off anew


async def supervised(name: str, work: Callable[[], Coroutine[Any, Any, None]], restarts: Counter[str]) -> None:
    """Runs work until it returns or this task is cancelled; logs, counts and restarts it with back-off otherwise.

    A ConfigError passes: what cannot be planned today cannot be planned in a minute either. Work that ends as
    cancelled although nobody cancelled it is restarted too: else it would be gone without a word.
    """
    attempt = 0
    own = asyncio.current_task()
    while True:
        began = time.monotonic()
        try:
            # A task of its own, so that its count of cancellations is not ours.
            await asyncio.create_task(work(), name=name)
            return
        except ConfigError:
            raise
        except asyncio.CancelledError:
            if own is None or own.cancelling():
                raise
            log.error("task ended as cancelled and is started again", extra={"task": name})
        except Exception as fault:
            # Told with its traceback and counted: a fault of ours must not stop the other lines.
            log.exception("task failed and is started again", extra={"task": name, "error": type(fault).__name__})
        if own is not None and own.cancelling():  # which the work has swallowed, in the moment of its fault
            raise asyncio.CancelledError
        restarts[name] += 1
        attempt = 0 if time.monotonic() - began > _SOUND_S else attempt + 1
        await asyncio.sleep(delay_s(attempt, random.uniform(0.5, 1.0), 30.0))  # noqa: S311  # jitter
