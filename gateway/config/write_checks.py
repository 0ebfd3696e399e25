"""What makes a tag safe to write: a table that can be, and limits."""

from __future__ import annotations

from gateway.config.site import LineConfig, TagConfig
from gateway.config.yaml_lines import Loc, YamlFile

# Function 16 takes 123 registers. Source: Modbus Application Protocol v1.1b3, section 6.12.
_LONGEST = 2 * 123


def check_writable(file: YamlFile, loc: Loc, tag: TagConfig, line: LineConfig | None) -> None:
    """A writable tag is a coil, a bit or whole holding registers; a number has limits."""
    limits = [key for key in ("write_low", "write_high") if getattr(tag, key) is not None]
    if not tag.writable:
        for key in limits:
            file.problem((*loc, key), "only a tag with `writable: true` has limits for writing")
        return
    if line is not None and not line.driver.startswith("modbus"):
        file.problem((*loc, "writable"), f"only Modbus can be written to; line {line.name} is {line.driver}", False)
        return
    if tag.table not in ("coil", "holding"):
        file.problem((*loc, "writable"), "only a coil or a holding register can be written", False)
    elif tag.type in ("bcd16", "bcd32"):
        file.problem((*loc, "writable"), "a BCD number cannot be written", False)
    elif tag.bits:
        what = "a bit-field cannot be written; give each bit to be written a tag of its own: type bool, bit"
        file.problem((*loc, "writable"), what, False)
    elif tag.type == "string" and (tag.length or 0) % 2:
        file.problem((*loc, "length"), "a string to be written fills whole registers: its length must be even")
    elif tag.type == "string" and (tag.length or 0) > _LONGEST:
        file.problem((*loc, "length"), f"at most {_LONGEST} bytes can be written at once")
    elif tag.table == "coil" or tag.type in ("bool", "string") or tag.states:
        what = "coil" if tag.table == "coil" else "tag with states" if tag.states else f"{tag.type}"
        for key in limits:
            file.problem((*loc, key), f"a {what} has none")
    else:
        for key in ("write_low", "write_high"):
            if key not in limits:
                file.problem((*loc, key), "is missing: a value is only written within limits", False)
        if tag.write_low is not None and tag.write_high is not None and tag.write_low > tag.write_high:
            file.problem((*loc, "write_low"), f"must not be above write_high, which is {tag.write_high:g}")
