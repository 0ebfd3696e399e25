"""A TCP link that can be cut, made slow and lossy, fall silent without closing, and meddle with MQTT messages.

There is no packet loss on a loopback without the kernel's netem, and TCP hides it from both ends anyway. What it does
to them is that bytes come late, all behind them too, and now and then that the connection breaks: that is what `loss`
does to segments of up to 1,460 bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

SEGMENT = 1460
RETRANSMISSION_S = (0.2, 1.0)  # the shortest time-out of Linux, and that of a second loss in a row
_PUBLISH = 3


@dataclass(slots=True)
class Weather:
    """What happens to bytes now. bytes_per_s: 0 is unlimited. loss: chance of a segment to come late by a time-out.

    silent: everything is taken and nothing passed on; connections made meanwhile stay dead for ever, as behind a
    router that forgot them. meddle: chance of a data message from the server to be doubled, swapped, or followed by an
    old one.
    """

    up: bool = True
    silent: bool = False
    bytes_per_s: float = 0.0
    delay_s: float = 0.0
    loss: float = 0.0
    meddle: float = 0.0


class RoughLink:
    """Listens on a free port of 127.0.0.1, in a thread of its own. Weather may be changed at any time.

    mqtt: what goes through is MQTT, and can be meddled with.
    """

    def __init__(self, target_port: int, dice: random.Random, mqtt: bool = True) -> None:
        self.weather = Weather()
        self.meddled = 0
        self._target, self._dice, self._mqtt = target_port, dice, mqtt
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rough link", daemon=True)
        self._pairs: set[asyncio.Task[None]] = set()
        self._silenced = 0
        self.port = 0

    def start(self) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def cut(self) -> None:
        """Every connection breaks, and new ones break at once, until `calm`."""
        self.weather = Weather(up=False)
        self._loop.call_soon_threadsafe(self._break)

    def go_silent(self) -> None:
        """Half-open: neither end hears anything any more, and none is told."""
        self._silenced += 1
        self.weather = Weather(silent=True)

    def calm(self) -> None:
        """From now on all is well; connections that were silenced stay dead."""
        self.weather = Weather()

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=SEGMENT)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _end(self) -> None:
        self._break()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    def _break(self) -> None:
        for pair in self._pairs:
            pair.cancel()

    def _accept(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        pair = self._loop.create_task(self._pass(near_in, near_out))
        self._pairs.add(pair)
        pair.add_done_callback(self._pairs.discard)

    async def _pass(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        if not self.weather.up:
            near_out.close()
            return
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self._target, limit=SEGMENT)
        except OSError:
            near_out.close()
            return
        known = self._silenced if not self.weather.silent else self._silenced - 1
        ways = [
            self._loop.create_task(self._one_way(near_in, far_out, known, None)),
            self._loop.create_task(self._one_way(far_in, near_out, known, Meddler(self._dice) if self._mqtt else None)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for out in (near_out, far_out):
                out.close()

    async def _one_way(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, known: int, meddler: Meddler | None
    ) -> None:
        """Until one end closes. known: how often the link had gone silent when this connection was made."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=32)
        writing = self._loop.create_task(_write(waiting, sink))
        due = 0.0
        try:
            while data := await source.read(SEGMENT):
                if self._silenced != known:
                    continue  # swallowed, for ever
                weather = self.weather
                if meddler is not None and weather.meddle:
                    data, meddled = meddler.meddle(data, weather.meddle)
                    self.meddled += meddled
                elif meddler is not None:
                    data = meddler.whole(data)
                now = time.monotonic()
                late = 0.0
                while weather.loss and self._dice.random() < weather.loss:
                    late += RETRANSMISSION_S[0] if not late else RETRANSMISSION_S[1]
                sending_s = len(data) / weather.bytes_per_s if weather.bytes_per_s else 0.0
                due = max(due, now + weather.delay_s) + sending_s + late
                if writing.done():
                    return
                await waiting.put((due, data))
        except OSError:
            return
        finally:
            writing.cancel()


async def _write(waiting: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, data = await waiting.get()
            if (wait_s := due - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            sink.write(data)
            await sink.drain()


@dataclass(slots=True)
class Meddler:
    """Whole MQTT packets of one direction; data messages may be doubled, swapped, or followed by an old one."""

    dice: random.Random
    rest: bytes = b""
    held: bytes = b""
    old: deque[bytes] = field(default_factory=lambda: deque(maxlen=50))

    def whole(self, data: bytes) -> bytes:
        """Everything, in its order; packets are followed so that meddling can begin between two of them."""
        return self.meddle(data, 0.0)[0]

    def meddle(self, data: bytes, chance: float) -> tuple[bytes, int]:
        """What to pass on, and how often something was done to it."""
        out, done = [], 0
        for packet in self._packets(data):
            if packet[0] >> 4 != _PUBLISH or packet[0] & 0x06 or b"DATA/" not in packet[:40]:
                out.append(packet)
                continue
            roll = self.dice.random() if chance else 1.0
            self.old.append(packet)
            done += roll < chance
            if roll < chance / 3 and not self.held:
                self.held = packet  # it goes behind the next one
                continue
            out.append(packet)
            if self.held:
                out.append(self.held)
                self.held = b""
            if chance / 3 <= roll < chance * 2 / 3:
                out.append(packet)
            elif chance * 2 / 3 <= roll < chance:
                out.append(self.dice.choice(self.old))
        if not chance and self.held:
            out.append(self.held)
            self.held = b""
        return b"".join(out), done

    def _packets(self, data: bytes) -> Iterator[bytes]:
        """Source: MQTT 3.1.1, 2.2.3: the remaining length, seven bits a byte, low ones first."""
        data = self.rest + data
        while len(data) >= 2:
            length, shift, at = 0, 0, 1
            while at < len(data) and at < 5:
                length |= (data[at] & 0x7F) << shift
                shift += 7
                at += 1
                if not data[at - 1] & 0x80:
                    break
            else:
                break
            if len(data) < at + length:
                break
            yield data[: at + length]
            data = data[at + length :]
        self.rest = data
