"""One Modbus unit: a device behind its registers, with the faults that hold now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from firmware_sim.clock import SimClock
from firmware_sim.devices.device import Device
from firmware_sim.faults import FaultPlan
from firmware_sim.modbus_frame import (
    ILLEGAL_DATA_ADDRESS,
    ReadRequest,
    Refused,
    exception_reply,
    parse_request,
    read_reply,
)
from firmware_sim.signals import RegisterImage, Value
from firmware_sim.truth import Truth


class Reply(NamedTuple):
    """`values` are what the PDU says (none in a refusal); the line sends it after `delay_s`, broken if `garbled`."""

    pdu: bytes
    values: Mapping[str, Value]
    delay_s: float = 0.0
    garbled: bool = False


class ModbusUnit:
    """Answers requests; the line that carries them calls `sent` when the answer has left."""

    def __init__(self, name: str, device: Device, faults: FaultPlan, clock: SimClock, truth: Truth) -> None:
        self._name, self._device, self._faults = name, device, faults
        self._clock, self._truth = clock, truth

    def reply(self, pdu: bytes) -> Reply | None:
        """The answer to a request, or None when the unit stays silent."""
        t_s = self._clock.t_s()
        fault = self._faults.now(t_s)
        if fault is not None and fault.kind == "silent":
            return None
        try:
            request = parse_request(pdu)
            if fault is not None and fault.kind == "refused":
                raise Refused(request.function, fault.exception)
            answer, values = self._read(request, t_s)
        except Refused as refusal:
            answer, values = exception_reply(refusal.function, refusal.code), {}
        delay_s = fault.delay_s if fault is not None and fault.kind == "late" else 0.0
        return Reply(answer, values, delay_s, garbled=fault is not None and fault.kind == "garbled")

    def _read(self, request: ReadRequest, t_s: float) -> tuple[bytes, dict[str, Value]]:
        image = RegisterImage(self._device.signals, self._device.at(int(t_s / self._device.step_s)))
        where = (request.table, request.address, request.count)
        cells = image.read(*where)
        if cells is None:
            raise Refused(request.function, ILLEGAL_DATA_ADDRESS)
        return read_reply(request.function, cells), image.covered(*where)

    def sent(self, reply: Reply) -> None:
        """The last byte of this answer leaves now. A garbled answer says nothing."""
        if reply.values and not reply.garbled:
            self._truth.served(self._name, self._clock.now_ms(), reply.values)
