"""A fleet of gateways with ready-made messages, one MQTT session each: a process of benchmarks.fleet_growth.

Their messages are those of benchmarks.ready_gateways. Does what the lines of its input say and answers each with a line
of JSON: "births" connects all and says their births; "flood" publishes as fast as the host confirms; "steady RATE"
publishes RATE messages a second, the gateways in turn, and says how long each waited for its confirmation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiomqtt
import numpy as np

from benchmarks.ready_gateways import Ready, ready
from wire.delivery import CONFIRMED, check_confirmation, parse_confirmation
from wire.ids import NodeId
from wire.payload import decode
from wire.tag import Datatype

AT_ONCE = 20  # connections that are being made: a broker's queue of new ones is short
LONGEST_S = 120.0


class Speaker:
    """One gateway's session. waits_s: of every batch since `forget`, from its publishing to its confirmation."""

    def __init__(self, gateway: Ready) -> None:
        self.gateway = gateway
        self.next = 0
        self.waits_s: list[float] = []
        self.commands = 0
        self._sent_s: dict[int, float] = {}
        self._digests: dict[int, str] = {}
        self._changed = asyncio.Condition()
        self._client: aiomqtt.Client | None = None

    async def connect(self, stack: AsyncExitStack, port: int) -> None:
        node = self.gateway.node
        client = aiomqtt.Client("127.0.0.1", port, identifier=node.node, clean_session=True, timeout=LONGEST_S)
        client.pending_calls_threshold = 100_000
        self._client = await stack.enter_async_context(client)
        await client.subscribe(f"spBv1.0/{node.group}/NCMD/{node.node}", 1)

    async def births(self) -> None:
        assert self._client is not None
        for message in self.gateway.births:
            await self._client.publish(str(message.topic), message.payload)

    async def listen(self) -> None:
        assert self._client is not None
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            for metric in decode(message.payload, named={CONFIRMED: Datatype.STRING}).metrics:
                if metric.name == CONFIRMED:
                    await self._confirm(str(metric.value))
                else:
                    self.commands += 1

    async def say(self) -> None:
        """The next message, once there is room for it in the window."""
        assert self._client is not None
        topic, payload, number, digest = self.gateway.data[self.next]
        self.next += 1
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._digests) < self.gateway.window)
        self._digests[number], self._sent_s[number] = digest, time.monotonic()
        await self._client.publish(topic, payload)

    async def settled(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._digests)

    async def _confirm(self, text: str) -> None:
        said = parse_confirmation(text)
        numbers, refused = check_confirmation(said, self._digests)
        if refused or said.epoch != self.gateway.epoch:
            raise ValueError(f"{self.gateway.node}: a confirmation that does not fit: {said}")
        now_s = time.monotonic()
        async with self._changed:
            for number in numbers:
                del self._digests[number]
                self.waits_s.append(now_s - self._sent_s.pop(number))
            self._changed.notify_all()


async def flood(fleet: Sequence[Speaker], each: int) -> dict[str, Any]:
    async def all_of(speaker: Speaker) -> None:
        for _ in range(each):
            await speaker.say()
        await speaker.settled()

    return await _timed(fleet, asyncio.gather(*(all_of(speaker) for speaker in fleet)))


async def steady(fleet: Sequence[Speaker], each: int, rate: float) -> dict[str, Any]:
    async def in_turn() -> None:
        began_s = time.monotonic()
        for i in range(each * len(fleet)):
            await asyncio.sleep(max(0.0, began_s + i / rate - time.monotonic()))
            await fleet[i % len(fleet)].say()
        await asyncio.gather(*(speaker.settled() for speaker in fleet))

    return await _timed(fleet, in_turn())


async def _timed(fleet: Sequence[Speaker], work: Any) -> dict[str, Any]:
    for speaker in fleet:
        speaker.waits_s.clear()
    began_s, cpu_s = time.monotonic(), time.process_time()
    await asyncio.wait_for(work, LONGEST_S)
    took_s = time.monotonic() - began_s
    waits = np.concatenate([speaker.waits_s for speaker in fleet]) * 1000
    p50, p99 = np.percentile(waits, (50, 99))
    figures = {"batches": len(waits), "took_s": took_s, "cpu_s": time.process_time() - cpu_s}
    return figures | {"p50_ms": p50, "p99_ms": p99, "commands": sum(s.commands for s in fleet)}


async def run(asked: argparse.Namespace) -> None:
    each = asked.flood + asked.steady
    fleet = [
        Speaker(ready(NodeId("fleet", f"gw{i:04}"), asked.port, 1, asked.tags, each, asked.end_ms, asked.window))
        for i in range(asked.gateways)
    ]
    _answer({"ready": len(fleet)})
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        listening = []
        while words := (await loop.run_in_executor(None, sys.stdin.readline)).split():
            began_s = time.monotonic()
            if words[0] == "births":

                async def begin(speaker: Speaker) -> None:
                    async with gate:
                        await speaker.connect(stack, asked.port)
                        await speaker.births()

                await asyncio.gather(*(begin(speaker) for speaker in fleet))
                listening = [tasks.create_task(speaker.listen()) for speaker in fleet]
                _answer({"took_s": time.monotonic() - began_s})
            elif words[0] == "flood":
                _answer(await flood(fleet, asked.flood))
            else:
                _answer(await steady(fleet, asked.steady, float(words[1])))
        for task in listening:
            task.cancel()


def _answer(figures: dict[str, Any]) -> None:
    print(json.dumps(figures), flush=True)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    for name in ("port", "gateways", "tags", "flood", "steady", "end-ms", "window"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
