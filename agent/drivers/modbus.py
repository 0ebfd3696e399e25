"""Modbus TCP, RTU and RTU over TCP through pymodbus: one answer to one Span, or an error of our tree."""

from __future__ import annotations

import asyncio
import logging
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, cast

import numpy as np
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from agent.driver import Answer, Clock, Frame, Span
from agent.drivers.fence import FUNCTION, Fence
from agent.drivers.ports import NO_CONNECTION, NO_HOST, notice_dead_peer, switch_rts, usable_parity, why_port_fails
from agent.drivers.replies import Replies, RtuReplies, TcpReplies
from agent.spec import LineSpec
from agent.wire_time import frame_end_s
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, LineDown

_CONNECT_S = 3.0  # a TCP connect is given at least this long: one lost SYN is sent again after 1 s
_NEVER_S = 86_400.0  # pymodbus' own time-outs must not fire before ours


class ModbusDriver:
    """One Modbus line. Late answers never become another request's value (see fence.py)."""

    def __init__(self, line: LineSpec, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._serial = line.driver == "modbus-rtu"
        # RTU frames name no request, whether they come from a port or from a converter's socket.
        self._rtu = line.driver != "modbus-tcp"
        self._fence = Fence(self._allowed)
        self._replies: Replies = RtuReplies(self._fence) if self._rtu else TcpReplies()
        self._gap_s = max(line.gap_s, frame_end_s(line.baud) if self._serial else 0.0)
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._deadline: asyncio.Timeout | None = None
        self._down = False
        self._ts_ms = 0
        self._busy_s = 0.0  # when a byte was last sent or heard

    @property
    def late(self) -> int:
        return self._replies.late

    @property
    def is_open(self) -> bool:
        return self._client is not None and not self._down

    async def open(self) -> None:
        """Raises LineDown with what to look at."""
        await self.close()
        # pymodbus logs what we raise; our own line on each change of state is enough.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self._down = False
        if self._rtu:
            self._replies = _renewed(RtuReplies(self._fence), self._replies)
        else:
            self._replies = _renewed(TcpReplies(), self._replies)
        client = self._client = self._made()
        try:
            async with asyncio.timeout(max(self._line.timeout_s, _CONNECT_S)):
                async with heeded():
                    opened = await client.connect()
        except TimeoutError as fault:
            await self.close()
            raise LineDown(f"{self._where()}: {NO_CONNECTION}") from fault
        except (ValueError, termios.error) as fault:
            await self.close()
            raise LineDown(f"{self._where()}: does not take these settings: {fault}") from fault
        if not opened:
            await self.close()
            raise LineDown(self._why_not())
        if not self._serial:
            notice_dead_peer(client.ctx.transport)
        elif self._line.rts is not None:
            try:
                switch_rts(self._where(), cast(Any, client.ctx.transport).sync_serial, self._line.rts)
            except LineDown:
                await self.close()
                raise
        if self._rtu:
            # A request of the process before us, or of the connection before this one, may still be answered.
            self._busy_s = self._now_s()
            await self._listen(self._line.timeout_s)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
            await asyncio.sleep(0)

    async def read(self, unit_id: int, span: Span) -> Answer:
        if self._rtu and self._fence.needed(unit_id, span, self._now_s()):
            fence = self._fence.choose(unit_id, span)
            if fence is None:
                raise DeviceSilent(f"unit {unit_id}: too many requests are unanswered")
            with suppress(DeviceRefused):  # an answer all the same
                await self._exchange(unit_id, fence)
        while (asked := self._fence.widened(unit_id, span)) is not None:
            try:
                answer = await self._exchange(unit_id, asked)
            except DeviceRefused:
                if asked == span:
                    raise
                self._fence.refused(unit_id, span, asked)
            else:
                first = span.address - asked.address
                return answer if asked == span else replace(answer, words=answer.words[first : first + span.count])
        parts = self._fence.parts(unit_id, span, lambda address: self._torn(unit_id, span, address))
        if parts is None:
            raise DeviceSilent(f"unit {unit_id}: too many requests are unanswered")
        answers = [await self._exchange(unit_id, part) for part in parts]
        return replace(answers[-1], words=np.concatenate([a.words for a in answers]))

    def stream(self) -> AsyncIterator[Frame]:
        raise LineDown(f"{self._where()}: Modbus devices are asked, they do not stream")

    async def _exchange(self, unit_id: int, span: Span) -> Answer:
        client = self._client
        if client is None or self._down:
            raise LineDown(f"{self._where()}: the line is not open")
        if self._busy_s + self._gap_s > self._now_s():
            await self._listen(self._gap_s)
        replies = self._replies
        replies.expect(unit_id, span, self._now_s())
        if replies.broken:
            await self.close()
            raise LineDown(f"{self._where()}: {replies.fault}")
        try:
            async with asyncio.timeout(self._line.timeout_s) as self._deadline:
                response = await self._asked(client, unit_id, span)
        except TimeoutError:
            return await self._no_answer(unit_id)
        except ConnectionException as fault:
            await self.close()
            raise LineDown(f"{self._where()}: {fault.string}") from fault
        except ModbusException as fault:
            return await self._no_answer(unit_id, fault.string)
        finally:
            self._deadline = None
        return self._checked(response, unit_id, span)

    async def _asked(
        self, client: AsyncModbusSerialClient | AsyncModbusTcpClient, unit_id: int, span: Span
    ) -> ModbusPDU:  # fmt: skip
        read = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
        }[span.table]
        async with heeded():
            return await read(span.address, count=span.count, device_id=unit_id)

    async def _no_answer(self, unit_id: int, garbled: str = "") -> Answer:
        """Raises what the missing answer means, after the line has fallen silent."""
        replies = self._replies
        replies.gave_up()
        if self._down or replies.broken:
            await self.close()
            raise LineDown(f"{self._where()}: {replies.fault or 'the connection was lost'}")
        garbled = garbled or replies.fault or ("no whole answer in what came" if replies.heard_any else "")
        if self._rtu:
            self._busy_s = self._now_s()
            await self._listen(self._line.quiet_s)
        if garbled:
            raise DeviceGarbled(f"unit {unit_id}: {garbled}")
        raise DeviceSilent(f"unit {unit_id}: no answer within {self._line.timeout_s:g} s")

    def _checked(self, response: ModbusPDU, unit_id: int, span: Span) -> Answer:
        if response.isError():
            code = response.exception_code
            raise DeviceRefused(f"unit {unit_id}: refused {span.table} {span.address}, exception {code}", code)
        words = response.bits[: span.count] if span.bits else response.registers
        if response.function_code != FUNCTION[span.table] or len(words) != span.count:
            raise DeviceGarbled(f"unit {unit_id}: {len(words)} values answered, {span.count} asked")
        return Answer(self._ts_ms, np.array(words, dtype=np.uint16))

    async def _listen(self, quiet_s: float) -> None:
        """Until nothing was heard for quiet_s; a babbling line is given up after five times that and a time-out."""
        end_s = self._now_s() + 5 * quiet_s + self._line.timeout_s
        while True:
            left_s = self._busy_s + quiet_s - self._now_s()
            if left_s <= 0 or self._now_s() >= end_s:
                return
            await asyncio.sleep(left_s)

    def _trace(self, sending: bool, data: bytes) -> bytes:
        """pymodbus calls this with every packet sent and with the bytes it holds when new ones came."""
        self._busy_s = self._now_s()
        if sending:
            self._replies.sent(data)
            return data
        before = self._replies.answered
        passed = self._replies.heard(data)
        if self._replies.answered and not before:
            self._ts_ms = self._clock()
        if self._replies.fault:
            self._wake()
        return passed

    def _connected(self, connected: bool) -> None:
        if not connected:
            self._down = True
            self._wake()

    def _wake(self) -> None:
        """No answer will come: end the wait for it now."""
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(self._now_s())
            self._deadline = None

    def _made(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        line = self._line
        if self._serial:
            port = str(line.port)
            client: AsyncModbusSerialClient | AsyncModbusTcpClient = AsyncModbusSerialClient(
                port, baudrate=line.baud, parity=usable_parity(port, line.parity), stopbits=line.stop_bits,
                retries=0, reconnect_delay=0, timeout=_NEVER_S, trace_packet=self._trace, trace_connect=self._connected,
            )  # fmt: skip
        else:
            client = AsyncModbusTcpClient(
                line.host, port=int(line.port), framer=FramerType.RTU if self._rtu else FramerType.SOCKET,
                retries=0, reconnect_delay=0, timeout=_NEVER_S, trace_packet=self._trace, trace_connect=self._connected,
            )  # fmt: skip
        client.set_max_no_responses(1 << 30)  # else pymodbus closes the connection after three time-outs
        return client

    def _allowed(self, unit_id: int, span: Span) -> bool:
        """Nothing that the device lists as illegal, and no more than it gives."""
        for device in self._line.devices:
            if device.unit_id == unit_id:
                most = device.max_bits if span.bits else device.max_registers
                end = span.address + span.count
                return span.count <= most and not any(
                    i.table == span.table and i.crossed(span.address, end) for i in device.illegal
                )
        return True

    def _torn(self, unit_id: int, span: Span, address: int) -> bool:
        """Whether a value of more than one register lies across the address."""
        return any(
            p.table == span.table and p.address < address < p.address + p.registers
            for device in self._line.devices
            if device.unit_id == unit_id
            for p in device.points
        )

    def _where(self) -> str:
        return str(self._line.port) if self._serial else f"{self._line.host}:{self._line.port}"

    def _why_not(self) -> str:
        if not self._serial:
            return f"{self._where()}: {NO_HOST}"
        return why_port_fails(str(self._line.port))

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


@asynccontextmanager
async def heeded() -> AsyncIterator[None]:
    """Raises CancelledError at the end of a block that swallowed a cancellation.

    pymodbus waits with wait_for, which on Python 3.11 forgets a cancellation that meets the answer
    (python/cpython#86296). A poll every 100 ms can meet it again and again: one gateway in eight ended late.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def _renewed(new: Replies, old: Replies) -> Replies:
    new.late = old.late
    return new
