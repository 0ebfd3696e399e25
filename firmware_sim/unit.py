"""One Modbus unit: a device behind its registers, with the faults that hold now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_sim.clock import SimClock
from firmware_sim.faults import FaultSettings
from firmware_sim.modbus_frame import (
    ILLEGAL_DATA_ADDRESS,
    ReadRequest,
    Refused,
    WriteRequest,
    exception_reply,
    parse_request,
    read_reply,
    write_reply,
)
from firmware_sim.present import Now, Present
from firmware_sim.register_map import RegisterMap
from firmware_sim.signals import Value
from firmware_sim.truth import Truth

MUTE = frozenset(("silent", "restart"))


@dataclass(frozen=True, slots=True)
class Reply:
    """`values` are what the PDU says (none in a refusal), `true` what they would be where a fault changed them.

    `fault` hit this answer: the line sends it after `delay_s`, broken, in pieces or under a wrong unit id.
    """

    pdu: bytes
    values: Mapping[str, Value]
    true: Mapping[str, Value]
    delay_s: float = 0.0
    fault: FaultSettings | None = None

    def is_(self, *kinds: str) -> bool:
        return self.fault is not None and self.fault.kind in kinds


class ModbusUnit:
    """Answers requests; the line that carries them calls `sent` when the answer has left."""

    def __init__(self, name: str, present: Present, clock: SimClock, truth: Truth) -> None:
        self.name, self.present = name, present
        self._map = RegisterMap(present.device.signals)
        self._clock, self._truth = clock, truth

    def reply(self, pdu: bytes) -> Reply | None:
        """The answer to a request, or None when the unit stays silent."""
        t_s = self._clock.t_s()
        if (end_s := getattr(self.present.device, "end_s", None)) is not None and t_s >= end_s:
            return None  # the recording has been played
        hit = self.present.plan.hit(t_s)
        fault = hit.fault if hit is not None else None
        if fault is not None:
            self._truth.marred(self.name, self._clock.now_ms(), fault.kind)
            if fault.kind in MUTE:
                return None
        values: Mapping[str, Value] = {}
        true: Mapping[str, Value] = {}
        try:
            request = parse_request(pdu)
            if fault is not None and fault.kind == "refused":
                raise Refused(request.function, fault.exception)
            now = self.present.now(t_s)
            if isinstance(request, WriteRequest):
                answer = self._write(request, now, t_s)
            else:
                answer, values, true = self._read(request, now)
        except Refused as refusal:
            answer = exception_reply(refusal.function, refusal.code)
        delay_s = hit.delay_s() if hit is not None and hit.fault.kind in ("late", "overtaking") else 0.0
        return Reply(answer, values, true, delay_s, fault)

    def _read(self, request: ReadRequest, now: Now) -> tuple[bytes, dict[str, Value], dict[str, Value]]:
        where = (request.table, request.address, request.count)
        found = self._map.read(*where, now.served)
        if found is None:
            raise Refused(request.function, ILLEGAL_DATA_ADDRESS)
        cells, said = found
        true: dict[str, Value] = {}
        if now.served is not now.true:
            exact = self._map.read(*where, now.true)
            true = {name: value for name, value in exact[1].items() if value != said[name]} if exact else {}
        return read_reply(request.function, cells), said, true

    def _write(self, request: WriteRequest, now: Now, t_s: float) -> bytes:
        wanted = self._map.written(request.table, request.address, request.cells, now.true)
        if wanted is None:
            raise Refused(request.function, ILLEGAL_DATA_ADDRESS)
        held = dict(wanted)
        if self.present.plan.holds("write_ignored", t_s) is not None:
            held = {name: now.true[name] for name in wanted}
        else:
            if (clamp := self.present.plan.holds("write_clamped", t_s)) is not None:
                held = {name: _clamped(value, clamp.fault) for name, value in wanted.items()}
            self.present.write(held)
        self._truth.written(self.name, self._clock.now_ms(), wanted, held)
        return write_reply(request)

    def sent(self, reply: Reply) -> None:
        """The last byte of this answer leaves now. A garbled answer says nothing."""
        if reply.values and not reply.is_("garbled"):
            self._truth.served(self.name, self._clock.now_ms(), reply.values, reply.true)


def _clamped(value: Value, fault: FaultSettings) -> Value:
    if isinstance(value, str | bool):
        return value
    low = value if fault.low is None else max(value, fault.low)
    return low if fault.high is None else min(low, fault.high)
