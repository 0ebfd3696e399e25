"""Numbers with names in site.yaml: enumerations (states) and status bit-fields (bits)."""

from __future__ import annotations

from collections.abc import Mapping

from agent.spec import REGISTERS_OF
from gateway.config.checks import check_no_range
from gateway.config.site import TagConfig
from gateway.config.yaml_lines import Loc, YamlFile
from wire.errors import ConfigError
from wire.ids import check_tag_name

_WHOLE = ("int16", "uint16", "int32", "uint32", "bcd16", "bcd32")
_FIELDS = ("uint16", "uint32")
_OF_THE_WHOLE = ("order", "bits", "invalid", "measures", "unit", "writable", "write_low", "write_high")
_TEXT_HAS_NONE = ("scale", "offset", "low", "high", "bit", "length", "field")


def check_named(file: YamlFile, loc: Loc, tag: TagConfig, serial: bool) -> None:
    """States and bits fit the type of their tag."""
    for key, names, types in (("states", tag.states, _WHOLE), ("bits", tag.bits, _FIELDS)):
        if not names:
            continue
        kind = tag.type or "uint16"
        if serial or tag.table in ("coil", "discrete"):
            file.problem((*loc, key), "only a tag of an input or holding register has names", shown=False)
        elif kind not in types:
            file.problem((*loc, key), f"type {kind} has no {key}; possible are {', '.join(types)}", shown=False)
        for other in _TEXT_HAS_NONE:
            if file.given((*loc, other)):
                file.problem((*loc, other), f"a tag with {key} is a text and has none")
        check_no_range(file, loc, tag, f"a tag with {key}")
        if len(set(names.values())) < len(names):
            file.problem((*loc, key), "two of the names are the same", shown=False)
    if tag.states and tag.bits:
        file.problem((*loc, "bits"), "a tag has states or bits, not both", shown=False)
    width = 16 * REGISTERS_OF.get(tag.type or "uint16", 1)
    for bit, name in tag.bits.items():
        if not 0 <= bit < width:
            file.problem(
                (*loc, "bits", str(bit)), f"type {tag.type or 'uint16'} has the bits 0 to {width - 1}", shown=False
            )
        try:
            check_tag_name(f"{tag.name}/{name}")
        except ConfigError as fault:
            file.problem((*loc, "bits", str(bit)), f"each bit is a tag of its own too: {fault}", shown=False)


def check_bit_names_differ(file: YamlFile, loc: Loc, tags: Mapping[int, TagConfig]) -> None:
    """The tags that bits make are no other tags of the device."""
    given = {tag.name for tag in tags.values()}
    for i, tag in tags.items():
        for bit, name in tag.bits.items():
            if f"{tag.name}/{name}" in given:
                file.problem((*loc, i, "bits", str(bit)), "duplicate tag: there is one of this name already")


def with_bits(tag: TagConfig) -> list[TagConfig]:
    """The tag itself and, of a bit-field, a tag for each named bit."""
    nothing = {key: TagConfig.model_fields[key].default for key in _OF_THE_WHOLE}
    made = [tag]
    for bit, name in tag.bits.items():
        word, within = _place(bit, tag)
        made.append(
            tag.model_copy(
                update={
                    **nothing, "name": f"{tag.name}/{name}", "address": (tag.address or 0) + word, "type": "bool",
                    "bit": within,
                }
            )
        )  # fmt: skip
    return made


def _place(bit: int, tag: TagConfig) -> tuple[int, int]:
    """(register from the tag's first, bit of it) of a bit of the whole number."""
    registers = REGISTERS_OF.get(tag.type or "uint16", 1)
    word, within = bit // 16, bit % 16
    order = tag.order or "ABCD"
    if order in ("ABCD", "BADC"):
        word = registers - 1 - word
    return word, within ^ 8 if order in ("BADC", "DCBA") else within
