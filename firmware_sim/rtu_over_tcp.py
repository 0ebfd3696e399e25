"""RTU over TCP: frames with their CRC through a socket, as a converter from serial line to network passes them on."""

from __future__ import annotations

import asyncio

from firmware_sim.modbus_frame import parse_rtu, request_length
from firmware_sim.rtu_units import RtuUnits
from firmware_sim.speaking import Mouth, Stream
from firmware_sim.tcp_port import TcpPort

# A socket shows no t3.5. Bytes that begin no frame are forgotten after this pause, as converters do.
FORGET_S = 0.1


class RtuTcpServer:
    """The converter passes every answer to the connection that asked."""

    def __init__(self, port: TcpPort, units: RtuUnits) -> None:
        self._port, self._units = port, units

    def open(self) -> dict[str, object]:
        """Raises ScenarioError when the port cannot be had."""
        return {"kind": "rtu-over-tcp", **self._port.open()}

    def close(self) -> None:
        self._port.close()

    async def serve(self) -> None:
        """Answers until cancelled."""
        await self._port.serve(self._client)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mouth, heard = Mouth(Stream(writer).send), bytearray()
        async with asyncio.TaskGroup() as replies:
            while True:
                try:
                    async with asyncio.timeout(FORGET_S if heard else None):
                        data = await reader.read(1024)
                except TimeoutError:
                    heard.clear()
                    continue
                if not data or self._port.drops(writer):
                    break
                if self._port.mute():
                    continue
                heard += data
                while (length := request_length(bytes(heard[:7]))) is not None and len(heard) >= length:
                    if parse_rtu(bytes(heard[:length])) is None:
                        heard.clear()  # out of step: wait for a pause
                        break
                    self._units.hear(bytes(heard[:length]), mouth, replies)
                    del heard[:length]
