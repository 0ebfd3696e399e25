"""The tasks of a gateway's lines: each is started, stopped and replaced without touching its neighbours."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import partial

from agent.command import Desk, Outcome, Write
from agent.derive import Deriver
from agent.driver import Clock, Memory
from agent.pipeline import Sink, run_line
from agent.score import Scorers
from agent.spec import LineSpec
from agent.status import LineStatus
from gateway.supervise import supervised
from gateway.write import LONGEST_S


class Lines:
    """One supervised task, one status and one desk per line."""

    def __init__(
        self, names: Iterable[str], sink: Sink, scorers: Scorers, restarts: Counter[str], memory: Memory, clock: Clock
    ) -> None:  # fmt: skip
        """memory: one for all lines and all their restarts. clock: never steps; what stamps are is the sink's."""
        self._clock = clock
        self._sink, self._scorers, self._restarts, self._memory = sink, scorers, restarts, memory
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._desks: dict[str, Desk] = {}
        self.status: dict[str, LineStatus] = {name: LineStatus(name=name) for name in names}

    def start(
        self, group: asyncio.TaskGroup, lines: Iterable[LineSpec], deriver: Deriver
    ) -> None:  # fmt: skip
        """A line that ran before goes on with its counters. deriver: one for the whole site and every reload."""
        for line in lines:
            status = self.status.setdefault(line.name, LineStatus(name=line.name))
            desk = self._desks.setdefault(line.name, Desk())
            work = partial(
                run_line, line, self._sink, self._clock, {}, self._scorers, status, self._memory, deriver, desk
            )
            task = group.create_task(supervised(f"line {line.name}", work, self._restarts), name=f"line[{line.name}]")
            self._tasks[line.name] = task

    async def stop(self, names: Iterable[str]) -> None:
        """Returns when the ports are free and nothing more comes from these lines."""
        await ended([self._tasks.pop(name) for name in names if name in self._tasks])

    async def stop_all(self) -> None:
        await self.stop(list(self._tasks))

    def dead(self, name: str) -> list[str]:
        """Its devices that are lost now."""
        return [device for device, unit in self.status[name].units.items() if unit.state == "dead"]

    def forget(self, name: str, devices: Iterable[str]) -> None:
        """Drops the counters of devices that are gone; of the line too when none is left."""
        units = self.status[name].units
        for device in devices:
            units.pop(device, None)
        if name not in self._tasks and not units:
            del self.status[name], self._desks[name]

    async def write(self, line: LineSpec, write: Write) -> Outcome:
        """By the owner of the line, between two polls. Raises TimeoutError."""
        return await self._desks[line.name].ask(write, LONGEST_S)


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels until they have ended: on Python 3.11 a library's wait_for can swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=5.0)
