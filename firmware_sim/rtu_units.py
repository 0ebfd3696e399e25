"""The units of one RTU line: who answers a frame, when, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from firmware_sim.modbus_frame import WRITES, parse_rtu, rtu_frame
from firmware_sim.speaking import Mouth, broken, next_unit
from firmware_sim.unit import ModbusUnit, Reply

BROADCAST = 0


class RtuUnits:
    """Each unit answers its requests in their order, except where a fault lets answers overtake each other."""

    def __init__(self, units: Mapping[int, ModbusUnit], turnaround_s: float) -> None:
        self._units = units
        self._turnaround_s = turnaround_s
        self._order = {unit_id: asyncio.Lock() for unit_id in units}

    def hear(self, frame: bytes, mouth: Mouth, replies: asyncio.TaskGroup) -> None:
        """Takes one frame; whoever it is for answers in a task of its own."""
        request = parse_rtu(frame)
        if request is None:
            return  # broken: a device on a bus says nothing
        unit_id, pdu = request
        if unit_id == BROADCAST and pdu[0] in WRITES:
            for each in self._units.values():
                each.reply(pdu)  # done by all, answered by none (Serial Line V1.02, 2.1)
        elif (unit := self._units.get(unit_id)) is not None and (reply := unit.reply(pdu)) is not None:
            due = asyncio.get_running_loop().time() + self._turnaround_s + reply.delay_s
            replies.create_task(self._speak(unit_id, unit, reply, mouth, due), name=f"reply[{unit_id}]")

    async def _speak(self, unit_id: int, unit: ModbusUnit, reply: Reply, mouth: Mouth, due: float) -> None:
        if reply.is_("overtaking"):
            await self._say(unit_id, unit, reply, mouth, due)
            return
        async with self._order[unit_id]:
            await self._say(unit_id, unit, reply, mouth, due)

    async def _say(self, unit_id: int, unit: ModbusUnit, reply: Reply, mouth: Mouth, due: float) -> None:
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        frame = rtu_frame(next_unit(unit_id) if reply.is_("wrong_unit") else unit_id, reply.pdu)
        await mouth.say(
            broken(frame) if reply.is_("garbled") else frame, reply.fault, lambda: unit.sent(reply)
        )  # fmt: skip
