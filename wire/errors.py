"""The one error tree. A class says what the caller does next.

GaugelineError
├── ConfigError        do not start; show every problem at once
├── FieldError
│   ├── LineDown       back off, reopen the line
│   ├── DeviceSilent   its tags become BAD, listen until quiet, next unit
│   ├── DeviceGarbled  its tags become BAD, listen until quiet, next unit
│   └── DeviceRefused  keep the link, this Span's tags become BAD
├── UplinkDown         back off, new MQTT session
│   └── UplinkRefused  wrong credentials or rights: wait the longest back-off
├── StoreFull          apply the outbox policy, record what went
├── StoreDown          keep what is held, confirm nothing, try again later
├── LeaseLost          another host may be active: confirm nothing, leave the broker, wait for a turn
├── PayloadError       count it, keep the message as a dead letter, go on
└── ModelError         this asset is not scored; say so, go on
"""

from __future__ import annotations

from collections.abc import Sequence


class GaugelineError(Exception):
    """Everything that Gaugeline raises on purpose."""


class ConfigError(GaugelineError):
    """The configuration cannot be used.

    problems: one `file:line: key: what is wrong and what to do` each, all of them at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class FieldError(GaugelineError):
    """Something between the gateway and a device."""


class LineDown(FieldError):
    """The line itself is gone: port closed, host unreachable, connection lost."""


class DeviceSilent(FieldError):
    """No answer, or not the whole of one, within the time-out."""


class DeviceGarbled(FieldError):
    """An answer came that is not the answer to this request (CRC, unit, function code, count)."""


class DeviceRefused(FieldError):
    """The device answered with a Modbus exception.

    code: the exception code of the Modbus Application Protocol v1.1b3, section 7.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class UplinkDown(GaugelineError):
    """The broker cannot be reached or the session was lost."""


class UplinkRefused(UplinkDown):
    """The broker refused user, password, client id or rights."""


class StoreFull(GaugelineError):
    """The gateway's disk, or the outbox's share of it, has no room."""


class StoreDown(GaugelineError):
    """The database cannot be reached, or refuses for reasons that pass."""


class LeaseLost(GaugelineError):
    """This host is not, or not surely, the active one any more."""


class PayloadError(GaugelineError):
    """A message that does not follow Sparkplug B, or our protocol on top of it."""


class ModelError(GaugelineError):
    """A model file that cannot be loaded, or that does not fit the asset."""
