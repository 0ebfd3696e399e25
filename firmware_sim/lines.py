"""The lines that a scenario may have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from firmware_sim.devices.device import Name

Baud = Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]
Turnaround = Annotated[float, Field(ge=0, le=5)]


class NetworkLine(BaseModel):
    """Port 0 takes a free one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, strict=True)] = 0


class TcpLine(NetworkLine):
    kind: Literal["modbus-tcp"]


class RtuTcpLine(NetworkLine):
    """RTU frames through a socket, as converters pass them on."""

    kind: Literal["rtu-over-tcp"]
    turnaround_s: Turnaround = 0.004


class SerialLine(BaseModel):
    """A pseudo-terminal, linked at `port` (default: in a temporary folder)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    port: Path | None = None
    parity: Literal["N", "E", "O"]
    stop_bits: Literal[1, 2] = 1

    @property
    def bits_per_char(self) -> int:
        return 1 + 8 + (self.parity != "N") + self.stop_bits


class RtuLine(SerialLine):
    """`strict_gaps`: a request with a pause longer than t1.5 in it is dropped."""

    kind: Literal["modbus-rtu"]
    baud: Baud = 19200
    parity: Literal["N", "E", "O"] = "E"
    turnaround_s: Turnaround = 0.004
    strict_gaps: bool = False


class TextLine(SerialLine):
    kind: Literal["serial-text"]
    baud: Baud = 9600
    parity: Literal["N", "E", "O"] = "N"
    turnaround_s: Turnaround = 0.004


class BinaryLine(SerialLine):
    """2400 8E1 is what DL/T 645-2007 meters are delivered with."""

    kind: Literal["serial-binary"]
    baud: Baud = 2400
    parity: Literal["N", "E", "O"] = "E"
    turnaround_s: Turnaround = 0.02


AnyLine = Annotated[TcpLine | RtuTcpLine | RtuLine | TextLine | BinaryLine, Field(discriminator="kind")]
FramedLine = TextLine | BinaryLine
