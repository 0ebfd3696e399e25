"""Modbus TCP: one listening port and the units behind it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping

from firmware_sim.errors import ScenarioError
from firmware_sim.modbus_frame import GATEWAY_TARGET_FAILED, MAX_PDU, MBAP, exception_reply, tcp_frame
from firmware_sim.unit import ModbusUnit, Reply


class ModbusTcpServer:
    """Serves any number of clients. A late answer holds nothing else up: its transaction number names it."""

    def __init__(self, line: str, host: str, port: int, units: Mapping[int, ModbusUnit]) -> None:
        self._line, self._host, self._port, self._units = line, host, port, units
        self._socket: socket.socket | None = None
        self._clients: asyncio.TaskGroup | None = None

    def open(self) -> dict[str, object]:
        """Listens, and says where. Raises ScenarioError when the port cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._port), family=family)
        except OSError as fault:
            raise ScenarioError(self._explain(fault)) from fault
        self._port = self._socket.getsockname()[1]
        return {"kind": "modbus-tcp", "host": self._host, "port": self._port}

    def _explain(self, fault: OSError) -> str:
        key, where = f"lines.{self._line}.port", f"{self._host}:{self._port}"
        if fault.errno == errno.EADDRINUSE:
            return f"{key}: {where} is in use; choose another with --set {key}=PORT (0 takes a free one)"
        if fault.errno == errno.EACCES:
            return f"{key}: no right to listen on {where}; ports below 1024 need root"
        return f"lines.{self._line}.host: cannot listen on {where}: {fault.strerror or fault}"

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    async def serve(self) -> None:
        """Answers until cancelled."""
        server = None
        try:
            async with asyncio.TaskGroup() as clients:
                self._clients = clients
                server = await asyncio.start_server(self._accept, sock=self._socket)
                await asyncio.Event().wait()
        finally:
            if server is not None:
                server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._clients is not None
        self._clients.create_task(self._client(reader, writer), name=f"client[{self._line}]")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as replies:
                while (request := await _next_request(reader)) is not None:
                    transaction, unit_id, pdu = request
                    unit = self._units.get(unit_id)
                    if unit is None:
                        # What a gateway says of a unit that does not answer (Messaging on TCP/IP, 4.4.2).
                        failed = exception_reply(pdu[0], GATEWAY_TARGET_FAILED)
                        writer.write(tcp_frame(transaction, unit_id, failed))
                    elif (reply := unit.reply(pdu)) is not None:
                        frame = tcp_frame(transaction, unit_id, reply.pdu)
                        if reply.delay_s > 0:
                            late.add(replies.create_task(_later(writer, frame, unit, reply)))
                        else:
                            unit.sent(reply)
                            writer.write(frame)
                            await writer.drain()
                for task in late:
                    task.cancel()
        except* ConnectionError:
            pass  # the client went away; that is its right
        finally:
            writer.close()


async def _later(writer: asyncio.StreamWriter, frame: bytes, unit: ModbusUnit, reply: Reply) -> None:
    await asyncio.sleep(reply.delay_s)
    unit.sent(reply)
    writer.write(frame)
    await writer.drain()


async def _next_request(reader: asyncio.StreamReader) -> tuple[int, int, bytes] | None:
    """Transaction, unit and PDU; None when the client has gone or what it sends cannot be Modbus."""
    try:
        transaction, protocol, length, unit_id = MBAP.unpack(await reader.readexactly(MBAP.size))
        if protocol != 0 or not 2 <= length <= MAX_PDU + 1:
            return None
        return transaction, unit_id, await reader.readexactly(length - 1)
    except asyncio.IncompleteReadError:
        return None
