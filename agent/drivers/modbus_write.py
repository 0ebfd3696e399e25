"""Writing over Modbus: function codes 5, 6 and 16, on the line that also reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pymodbus.exceptions import ConnectionException, ModbusException

from agent.drivers.fence import Fence, Verdict
from agent.drivers.modbus import ModbusDriver, heeded
from agent.drivers.replies import RtuReplies, TcpReplies
from agent.spec import Table
from wire.errors import DeviceGarbled, DeviceRefused, LineDown


class WritingModbusDriver(ModbusDriver):
    """A Modbus line that can be written to: TCP, RTU, or RTU over TCP."""

    async def write(self, unit_id: int, table: Table, address: int, words: Sequence[int]) -> None:
        """One request, one answer. An answer proves little: read it back. Raises as read does."""
        client = self._client
        if client is None or self._down:
            raise LineDown(f"{self._where()}: the line is not open")
        if self._busy_s + self._gap_s > self._now_s():
            await self._listen(self._gap_s)
        only_multiple = any(d.write_multiple_only for d in self._line.devices if d.unit_id == unit_id)
        function = 5 if table == "coil" else 6 if len(words) == 1 and not only_multiple else 16
        before = self._replies
        if isinstance(before, RtuReplies):
            self._replies = RtuReplies(_WriteFence(self._fence, unit_id, function))
        else:
            self._replies = _TcpWriteReplies(unit_id, function)
        try:
            async with asyncio.timeout(self._line.timeout_s) as self._deadline:
                async with heeded():
                    if function == 5:
                        response = await client.write_coil(address, bool(words[0]), device_id=unit_id)
                    elif function == 6:
                        response = await client.write_register(address, words[0], device_id=unit_id)
                    else:
                        response = await client.write_registers(address, list(words), device_id=unit_id)
        except TimeoutError:
            await self._no_answer(unit_id)
            return
        except ConnectionException as fault:
            await self.close()
            raise LineDown(f"{self._where()}: {fault.string}") from fault
        except ModbusException as fault:
            await self._no_answer(unit_id, fault.string)
            return
        finally:
            self._deadline = None
            before.late += self._replies.late
            self._replies = before
        if response.isError():
            code = response.exception_code
            raise DeviceRefused(f"unit {unit_id}: refused to write {table} {address}, exception {code}", code)
        if response.function_code != function:
            raise DeviceGarbled(f"unit {unit_id}: function {response.function_code} answered, {function} asked")


class _WriteFence(Fence):
    """Knows one write beside the unanswered reads of a line."""

    def __init__(self, reads: Fence, unit_id: int, function: int) -> None:
        super().__init__()
        self._reads, self._unit_id, self._function, self._waits = reads, unit_id, function, True

    def gave_up(self) -> None:
        self._waits = False

    def heard(self, unit_id: int, function: int, size: int, refused: bool) -> Verdict:
        if (unit_id, function) != (self._unit_id, self._function):
            return self._reads.heard(unit_id, function, size, refused)
        ours, self._waits = self._waits, False
        return "ours" if ours else "late"


class _TcpWriteReplies(TcpReplies):
    """Answers to a write bear address and value, or address and count: four bytes."""

    def __init__(self, unit_id: int, function: int) -> None:
        super().__init__()
        self._write = (unit_id, function)

    def _fits(self, body: bytes) -> bool:
        unit_id, function = self._write
        if body[0] != unit_id:
            return False
        return len(body) == (3 if body[1] == function | 0x80 else 6) and body[1] & 0x7F == function
