"""Modbus TCP: one listening port and the units behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from firmware_sim.modbus_frame import GATEWAY_TARGET_FAILED, MAX_PDU, MBAP, exception_reply, tcp_frame
from firmware_sim.speaking import Mouth, Stream, next_unit
from firmware_sim.tcp_port import TcpPort
from firmware_sim.unit import ModbusUnit, Reply


class ModbusTcpServer:
    """Serves any number of clients. A late answer holds nothing else up: its transaction number names it."""

    def __init__(self, port: TcpPort, units: Mapping[int, ModbusUnit]) -> None:
        self._port, self._units = port, units

    def open(self) -> dict[str, object]:
        """Raises ScenarioError when the port cannot be had."""
        return {"kind": "modbus-tcp", **self._port.open()}

    def close(self) -> None:
        self._port.close()

    async def serve(self) -> None:
        """Answers until cancelled."""
        await self._port.serve(self._client)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late: set[asyncio.Task[None]] = set()
        mouth = Mouth(Stream(writer).send)
        async with asyncio.TaskGroup() as replies:
            while (request := await _next_request(reader)) is not None:
                if self._port.drops(writer):
                    break
                if self._port.mute():
                    continue
                transaction, unit_id, pdu = request
                unit = self._units.get(unit_id)
                if unit is None:
                    # What a gateway says of a unit that does not answer (Messaging on TCP/IP, 4.4.2).
                    failed = exception_reply(pdu[0], GATEWAY_TARGET_FAILED)
                    writer.write(tcp_frame(transaction, unit_id, failed))
                elif (reply := unit.reply(pdu)) is not None:
                    task = _answer(mouth, transaction, unit_id, unit, reply)
                    if reply.delay_s > 0:
                        late.add(replies.create_task(task))
                    else:
                        await task
            for waiting in late:
                waiting.cancel()


async def _answer(mouth: Mouth, transaction: int, unit_id: int, unit: ModbusUnit, reply: Reply) -> None:
    await asyncio.sleep(reply.delay_s)
    frame = tcp_frame(transaction, next_unit(unit_id) if reply.is_("wrong_unit") else unit_id, reply.pdu)
    await mouth.say(frame, reply.fault, lambda: unit.sent(reply))


async def _next_request(reader: asyncio.StreamReader) -> tuple[int, int, bytes] | None:
    """Transaction, unit and PDU; None when the client has gone or what it sends cannot be Modbus."""
    try:
        transaction, protocol, length, unit_id = MBAP.unpack(await reader.readexactly(MBAP.size))
        if protocol != 0 or not 2 <= length <= MAX_PDU + 1:
            return None
        return transaction, unit_id, await reader.readexactly(length - 1)
    except asyncio.IncompleteReadError:
        return None
