"""site.yaml as frozen models: what one key may hold. What keys mean to each other is judged in checks."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.frame_spec import ChecksumKind
from agent.spec import DriverName, Order, RawType, Table
from gateway.config.rate import seconds_between
from wire.errors import ConfigError
from wire.ids import check_id, check_tag_name


def _id(what: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            return check_id(text, what)
        except ConfigError as fault:
            raise ValueError(str(fault)) from fault

    return AfterValidator(check)


def _tag_name(text: str) -> str:
    try:
        return check_tag_name(text)
    except ConfigError as fault:
        raise ValueError(str(fault)) from fault


def _rate(given: Any) -> float:
    return seconds_between(given if isinstance(given, str) else "")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as fault:
        raise ValueError("must be a time zone such as Europe/Berlin or Asia/Shanghai") from fault
    return name


def _no_bool(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError("must be a number")  # noqa: TRY004  # pydantic turns only ValueError into a problem
    return given


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


Whole = Annotated[int, BeforeValidator(_no_bool)]
Number = Annotated[float, BeforeValidator(_no_bool), AfterValidator(_finite)]
Seconds = Annotated[Number, Field(gt=0, le=86_400)]
Text = Annotated[str, Field(min_length=1, max_length=256)]


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerConfig(Model):
    """Where to publish. The password stands in a file of its own, never in site.yaml. host_wait_s: with others."""

    url: Text
    username: Text | None = None
    password_file: Text | None = None
    ca_file: Text | None = None
    certificate_file: Text | None = None
    key_file: Text | None = None
    keepalive_s: Annotated[Whole, Field(ge=5, le=3600)] = 30
    host_wait_s: Seconds = 30.0


class OutboxConfig(Model):
    """The store on the gateway's own disk. path is relative to site.yaml."""

    path: Text = "outbox.db"
    commit_ms: Annotated[Whole, Field(ge=10, le=10_000)] = 250
    when_full: Literal["drop_oldest", "thin_oldest", "refuse_new"] = "drop_oldest"
    max_mb: Annotated[Number, Field(ge=1, le=1_000_000)] = 512


class RtsConfig(Model):
    """RTS switches the RS-485 transceiver of a port of the board."""

    sending: Literal["high", "low"] = "high"
    before_s: Annotated[Number, Field(ge=0, le=0.1)] = 0.0
    after_s: Annotated[Number, Field(ge=0, le=0.1)] = 0.0


class CommandsConfig(Model):
    """What may be done to devices beside reading them. Nothing, unless it stands here."""

    write: bool = False


class MetricsConfig(Model):
    """Figures in the text format of Prometheus, on 127.0.0.1 only."""

    port: Annotated[Whole, Field(ge=1, le=65_535)] = 9464


class ClockConfig(Model):
    """The least that is trusted to know the time; NTP always is."""

    trust: Literal["auto", "plausible", "host", "ntp"] = "auto"


class LineConfig(Model):
    """One serial port or TCP endpoint. None: not given; the driver decides what it may be."""

    name: Annotated[str, _id("line")]
    driver: DriverName
    host: Text | None = None
    port: Any = None  # a number beside a host, else a path: checks says which
    baud: Whole | None = None
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    rts: RtsConfig | None = None
    turnaround_s: Annotated[Number, Field(ge=0, le=60)] | None = None
    timeout_s: Seconds = 1.0
    gap_s: Annotated[Number, Field(ge=0, le=60)] = 0.0
    quiet_s: Annotated[Number, Field(ge=0, le=60)] = 0.05
    silent_polls: Annotated[Whole, Field(ge=1, le=1000)] = 3
    probe_s: Seconds = 10.0
    fault_reserve: bool = True


def _bytes(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError as fault:
        raise ValueError("must be bytes in hexadecimal, such as '02 41'") from fault
    return text


Hex = Annotated[str, Field(min_length=2, max_length=256), AfterValidator(_bytes)]


class ChecksumConfig(Model):
    """A checksum of a binary frame: from `first` up to where it stands; by default directly before `end`."""

    kind: ChecksumKind
    first: Annotated[Whole, Field(ge=0)] = 0
    at: Whole | None = None
    order: Literal["big", "little"] | None = None


class LengthConfig(Model):
    """Where a binary frame says its length: the whole frame has `add` bytes more than it says."""

    at: Annotated[Whole, Field(ge=0)]
    size: Literal[1, 2] = 1
    order: Literal["big", "little"] = "big"
    add: Whole = 0


class FrameConfig(Model):
    """How a frame of a serial device reads: text by pattern, separator or columns; or bytes."""

    pattern: Text | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=8)] = "\r\n"
    encoding: Literal["ascii", "latin-1", "utf-8"] = "ascii"
    max_length: Annotated[Whole, Field(ge=1, le=65_536)] = 1024
    separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    fields: Annotated[Whole, Field(ge=1, le=1000)] | None = None
    columns: dict[str, Annotated[list[Whole], Field(min_length=2, max_length=2)]] = {}
    starts: str = ""
    start: Hex | None = None
    end: Hex | None = None
    length: Annotated[Whole, Field(ge=1, le=65_536)] | None = None
    length_field: LengthConfig | None = None
    checksum: ChecksumConfig | None = None


class TagConfig(Model):
    """One tag: where it lies in the device and what it means."""

    name: Annotated[str, AfterValidator(_tag_name)]
    table: Table | None = None
    address: Whole | None = None
    type: RawType | None = None
    order: Order | None = None
    bit: Annotated[Whole, Field(ge=0, le=15)] | None = None
    length: Annotated[Whole, Field(ge=1, le=250)] | None = None
    scale: Number = 1.0
    offset: Number = 0.0
    unit: Annotated[str, Field(max_length=32)] = ""
    low: Number | None = None
    high: Number | None = None
    expression: Text | None = None
    states: dict[Whole, Text] = {}
    bits: dict[Whole, Text] = {}
    invalid: list[Any] = []  # numbers or texts
    field: Text | None = None
    at: Annotated[Whole, Field(ge=0, le=65_535)] | None = None
    item: Text | None = None
    when: dict[str | int, str | int] = {}
    deadband: Annotated[Number, Field(ge=0)] | None = None
    deadband_percent: Annotated[Number, Field(ge=0, le=100)] | None = None
    min_silence_s: Seconds | None = None
    max_silence_s: Seconds | None = None
    period_s: Annotated[Number, Field(ge=0.01, le=86_400)] | None = None
    writable: bool = False
    write_low: Number | None = None
    write_high: Number | None = None
    measures: Annotated[str, Field(max_length=32)] = ""


class IllegalConfig(Model):
    """Addresses of a table that the device must not be asked for; last is one of them."""

    table: Table
    first: Annotated[Whole, Field(ge=0, le=65_535)]
    last: Annotated[Whole, Field(ge=0, le=65_535)] | None = None


class DeviceConfig(Model):
    """One physical device; its tags are validated one by one, so that every problem shows at once."""

    id: Annotated[str, _id("device")]
    line: Text
    unit_id: Annotated[Whole, Field(ge=0, le=255)] = 1
    period_s: Annotated[Number, Field(ge=0.01, le=86_400)] = 1.0
    max_registers: Annotated[Whole, Field(ge=1, le=125)] = 125
    max_bits: Annotated[Whole, Field(ge=1, le=2000)] = 2000
    illegal: list[IllegalConfig] = []
    write_multiple_only: bool = False
    frame: FrameConfig | None = None
    request: Text | None = None
    request_hex: Hex | None = None
    events: bool = False
    meter: Text | None = None
    tags: list[Any] = Field(min_length=1)


class RunningConfig(Model):
    """When an asset runs: its tag is true, above a number, or one of these states."""

    tag: Text
    above: Number | None = None
    states: list[Text] = []
    settle_s: Annotated[Number, Field(ge=0, le=86_400)] = 0.0


class AssetConfig(Model):
    """A thing that is maintained, with what measures it and perhaps a model that judges it.

    devices: those that measure nothing else. tags: single ones, as device/tag. inputs: model input -> device/tag, for
    inputs that are not called like the tag. false_alarms: how many the operator accepts, seconds between two.
    """

    id: Annotated[str, _id("asset")]
    name: Annotated[str, Field(max_length=128)] = ""
    kind: Literal["machine", "meter", "car_park", "road", "other"] = "other"
    devices: list[Text] = []
    tags: list[Text] = []
    model: Text | None = None
    inputs: dict[str, Text] = {}
    false_alarms: Annotated[float, BeforeValidator(_rate)] | None = None
    running: RunningConfig | None = None
    life: Any = None  # gateway/config/life.py


class ModelsConfig(Model):
    """public_key_file: only models that its key has signed are run."""

    public_key_file: Text


class SiteConfig(Model):
    """The whole file; brokers and the entries of lines, devices and assets are validated one by one."""

    group: Annotated[str, _id("group")]
    gateway: Annotated[str, _id("gateway")]
    broker: Any
    hosts: list[Annotated[str, _id("host")]] = ["gaugeline"]
    confirm: Literal["stored", "none"] = "stored"
    compress: bool = False
    outbox: OutboxConfig = OutboxConfig()
    commands: CommandsConfig = CommandsConfig()
    metrics: MetricsConfig | None = None
    clock: ClockConfig = ClockConfig()
    models: ModelsConfig | None = None
    time_zone: Annotated[str, Field(min_length=1), AfterValidator(_zone)] | None = None
    lines: list[Any] = Field(min_length=1)
    devices: list[Any] = Field(min_length=1)
    assets: list[Any] = []
