"""Which registers of a device its tags take: none of them illegal, and no value begins inside another one."""

from __future__ import annotations

from collections.abc import Mapping

from agent.spec import REGISTERS_OF
from gateway.config.convert import illegal_of, raw_type
from gateway.config.site import DeviceConfig, TagConfig
from gateway.config.yaml_lines import Loc, YamlFile


def check_registers(file: YamlFile, loc: Loc, device: DeviceConfig, tags: Mapping[int, TagConfig]) -> None:
    """loc: of the device. A value may lie wholly within another one: a bit, or a half of a counter."""
    for j, entry in enumerate(device.illegal):
        if entry.last is not None and entry.last < entry.first:
            file.problem((*loc, "illegal", j, "last"), f"must be {entry.first}, the first, or more")
    taken: list[tuple[str, int, int, TagConfig]] = []
    for j, tag in tags.items():
        if tag.table is None or tag.address is None or not 0 <= tag.address <= 65_535:
            continue  # told already
        start, end = tag.address, tag.address + _registers(tag)
        for illegal in illegal_of(device):
            if illegal.table == tag.table and illegal.holds(start, end):
                file.problem((*loc, "tags", j, "address"), f"lies in {illegal}, which the device lists as illegal")
        for table, other_start, other_end, other in taken:
            within = (other_start <= start and end <= other_end) or (start <= other_start and other_end <= end)
            if table == tag.table and start < other_end and other_start < end and not within:
                where = f"{other_start} to {other_end - 1}"
                what = f"{start} to {end - 1} overlap tag {other.name}, which takes {where}; one of them is wrong"
                file.problem((*loc, "tags", j, "address"), what, shown=False)
        taken.append((tag.table, start, end, tag))


def check_no_registers(file: YamlFile, loc: Loc, tags: Mapping[int, TagConfig]) -> None:
    """A device that is not Modbus is not asked for registers, at no period. loc: of the device."""
    for key in ("max_registers", "max_bits", "illegal", "write_multiple_only"):
        if file.given((*loc, key)):
            file.problem((*loc, key), "only a Modbus device has registers", shown=False)
    for j, tag in tags.items():
        if tag.period_s is not None:
            file.problem((*loc, "tags", j, "period_s"), "only a tag of a Modbus device has a period of its own")


def _registers(tag: TagConfig) -> int:
    kind = raw_type(tag, "")
    return -(-(tag.length or 1) // 2) if kind == "string" else REGISTERS_OF.get(kind, 1)
