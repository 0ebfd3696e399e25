"""From a checked site.yaml to what agent and gateway work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from agent.checksum import CHECKSUMS
from agent.dlt645 import ITEMS
from agent.frame_spec import BinarySpec, ChecksumSpec, FrameSpec
from agent.spec import (
    AssetSpec,
    DeviceSpec,
    Illegal,
    LifeSpec,
    LineSpec,
    PointSpec,
    RawType,
    RtsSpec,
    RunningSpec,
    datatype_of,
)
from gateway.config.site import AssetConfig, DeviceConfig, FrameConfig, LineConfig, TagConfig
from gateway.timekeeper import Trust
from wire.certificates import TlsFiles
from wire.ids import NodeId
from wire.tag import Datatype, Tag

WhenFull = Literal["drop_oldest", "thin_oldest", "refuse_new"]

AssetOf = Callable[[str, str], str]
"""(device, tag name) -> the id of its asset, '' when it has none."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish, with the password read from its file. tls None: plain MQTT.

    host_wait_s: how long the primary host may stay away before the next broker is tried, where there are several.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    keepalive_s: int = 30
    tls: TlsFiles | None = None
    host_wait_s: float = 30.0

    def __str__(self) -> str:
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """commit_ms: the longest that a sample waits for its commit. max_bytes: of the file and its WAL on the disk."""

    path: Path
    commit_ms: int
    max_bytes: int
    when_full: WhenFull = "drop_oldest"


@dataclass(frozen=True, slots=True)
class Site:
    """A checked site. brokers: tried in turn. hosts: those that must confirm; the first is the primary host.

    confirming False: the host never confirms. compress: where all hosts unpack it. writes: `gateway write` is on.
    metrics: the port of 127.0.0.1 on which they are served; None: they are not.
    clock: the least that is trusted to know the time. model_key: of those who sign models; None: none need be signed.
    time_zone: '' for the machine's.
    """

    path: Path
    node: NodeId
    brokers: tuple[Broker, ...]
    hosts: tuple[str, ...]
    outbox: OutboxSettings
    lines: tuple[LineSpec, ...]
    assets: tuple[AssetSpec, ...]
    writes: bool = False
    confirming: bool = True
    compress: bool = False
    metrics: int | None = None
    clock: Trust = "auto"
    model_key: Path | None = None
    time_zone: str = ""

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        return tuple(device for line in self.lines for device in line.devices)


def line_spec(line: LineConfig, devices: Sequence[DeviceSpec]) -> LineSpec:
    return LineSpec(
        name=line.name,
        driver=line.driver,
        host=line.host or "",
        port=line.port if line.port is not None else 502,
        baud=line.baud or 9600,
        parity=line.parity or "N",
        stop_bits=line.stop_bits or 1,
        rts=RtsSpec(line.rts.sending, line.rts.before_s, line.rts.after_s) if line.rts else None,
        turnaround_s=line.turnaround_s,
        timeout_s=line.timeout_s,
        gap_s=line.gap_s,
        quiet_s=line.quiet_s,
        silent_polls=line.silent_polls,
        probe_s=line.probe_s,
        fault_reserve=line.fault_reserve,
        devices=tuple(devices),
    )


# A meter's energy has eight digits: too many for 32 bits.
_TYPE_WITHOUT_TABLE: Mapping[str, RawType] = {
    "serial-text": "float32", "serial-binary": "uint16", "dlt645": "float64"
}  # fmt: skip


def raw_type(tag: TagConfig, driver: str) -> RawType:
    """The type as given, or what the place of the tag suggests."""
    if tag.type is not None:
        return tag.type
    if driver in _TYPE_WITHOUT_TABLE:
        return _TYPE_WITHOUT_TABLE[driver]
    return "bool" if tag.table in ("coil", "discrete") else "uint16"


def point_spec(tag: TagConfig, device: str, asset: str, driver: str) -> PointSpec:
    kind = raw_type(tag, driver)
    unit = tag.unit or (ITEMS[tag.item].unit if tag.item is not None and tag.item in ITEMS else "")
    datatype = Datatype.STRING if tag.states or tag.bits else datatype_of(kind, tag.scale, tag.offset)
    return PointSpec(
        tag=Tag(tag.name, device, datatype, unit, asset, tag.measures),
        table=tag.table,
        address=tag.address or tag.at or 0,
        type=kind,
        order=tag.order or "ABCD",
        bit=tag.bit,
        length=tag.length or 0,
        scale=tag.scale,
        offset=tag.offset,
        low=tag.low,
        high=tag.high,
        invalid=tuple(tag.invalid),
        field=tag.item or tag.field or "",
        when=tuple(sorted((str(name), str(wanted)) for name, wanted in tag.when.items())),
        deadband=deadband_of(tag),
        deadband_percent=tag.deadband_percent,
        min_silence_s=tag.min_silence_s,
        max_silence_s=tag.max_silence_s,
        period_s=tag.period_s,
        states=tuple(tag.states.items()),
        bit_names=tuple(tag.bits.items()),
        writable=tag.writable,
        write_low=tag.write_low,
        write_high=tag.write_high,
    )


def deadband_of(tag: TagConfig) -> float | None:
    """A longest silence alone says that a tag is told when it changes, and at the latest then."""
    only_changes = tag.deadband is None and tag.deadband_percent is None and tag.max_silence_s is not None
    return 0.0 if only_changes else tag.deadband


def illegal_of(device: DeviceConfig) -> list[Illegal]:
    return [Illegal(i.table, i.first, (i.first if i.last is None else i.last) + 1) for i in device.illegal]


def frame_spec(frame: FrameConfig) -> FrameSpec:
    columns = {name: (place[0], place[1]) for name, place in frame.columns.items()}
    return FrameSpec(
        frame.pattern or "", frame.delimiter, frame.encoding, frame.max_length,
        frame.separator or "", frame.fields or 0, columns, frame.starts, _binary(frame),
    )  # fmt: skip


def _binary(frame: FrameConfig) -> BinarySpec | None:
    if frame.start is None:
        return None
    end = bytes.fromhex(frame.end or "")
    check, field = frame.checksum, frame.length_field
    checksum = None
    if check is not None:
        at = check.at if check.at is not None else -len(end) - CHECKSUMS[check.kind][1]
        # A Modbus CRC is sent with its low byte first, the others with the high one.
        little = check.order == "little" or (check.order is None and check.kind == "crc16-modbus")
        checksum = ChecksumSpec(check.kind, check.first, at, little)
    spec = BinarySpec(bytes.fromhex(frame.start), end, frame.length or 0, checksum=checksum)
    if field is None:
        return spec
    return replace(
        spec, length_at=field.at, length_size=field.size, length_little=field.order == "little", length_add=field.add
    )


def _request(device: DeviceConfig, frame: FrameConfig | None) -> bytes:
    if device.request_hex is not None:
        return bytes.fromhex(device.request_hex)
    return (device.request or "").encode(frame.encoding if frame else "ascii", "replace")


def device_spec(device: DeviceConfig, tags: Sequence[TagConfig], asset_of: AssetOf, driver: str) -> DeviceSpec:
    frame = device.frame
    return DeviceSpec(
        id=device.id,
        line=device.line,
        unit_id=device.unit_id,
        period_s=device.period_s,
        max_registers=device.max_registers,
        max_bits=device.max_bits,
        illegal=tuple(illegal_of(device)),
        write_multiple_only=device.write_multiple_only,
        frame=frame_spec(frame) if frame else None,
        request=_request(device, frame),
        events=device.events,
        meter=device.meter or "",
        points=tuple(
            point_spec(tag, device.id, asset_of(device.id, tag.name), driver) for tag in tags if tag.expression is None
        ),
    )


def asset_spec(
    asset: AssetConfig, model: Path | None, tags: Sequence[tuple[str, TagConfig]], running: RunningSpec | None,
    life: LifeSpec | None = None,
) -> AssetSpec:  # fmt: skip
    """tags: (device, tag) of everything that it holds."""
    pairs = {name: target.partition("/") for name, target in asset.inputs.items()}
    return AssetSpec(
        id=asset.id,
        name=asset.name,
        kind=asset.kind,
        tags=tuple((device, tag.name) for device, tag in tags),
        model=model,
        inputs={name: (device, tag) for name, (device, _, tag) in pairs.items()},
        false_alarm_s=asset.false_alarms,
        running=running,
        life=life,
    )
