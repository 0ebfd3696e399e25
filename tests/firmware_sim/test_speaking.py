"""Merged frames on a wire: one burst, and each frame is on record when its own last byte leaves."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from firmware_sim.faults import FaultSettings
from firmware_sim.pty_port import PtyPort
from firmware_sim.speaking import Mouth


async def test_merged_frames_leave_one_behind_the_other_and_each_is_stamped_at_its_own_end(tmp_path: Path) -> None:
    port = PtyPort("line", tmp_path / "line", baud=2400, bits_per_char=10)
    reader = os.open(port.open(), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    clock, left = asyncio.get_running_loop().time, list[float]()
    merged = FaultSettings(device="meter", kind="merged", at_s=0, for_s=1)
    try:
        mouth = Mouth(port.send, paced=True)
        await mouth.say(b"held-answer-of-20-by", merged, lambda: left.append(clock()))
        assert not left, "it waits for the next one"
        await mouth.say(b"the-next-of-15b", None, lambda: left.append(clock()))
        heard = b""
        async with asyncio.timeout(60):
            while len(heard) < 35:  # the last byte may still be on its way through the terminal
                try:
                    heard += os.read(reader, 100)
                except BlockingIOError:
                    await asyncio.sleep(0.01)
        assert heard == b"held-answer-of-20-bythe-next-of-15b"
        first, second = left
        assert second - first >= 14 * port.char_s
    finally:
        os.close(reader)
        port.close()
