"""What makes a tag safe to write: a table that can be, and limits."""

from __future__ import annotations

from gateway.config.site import LineConfig, TagConfig
from gateway.config.yaml_lines import Loc, YamlFile


def check_writable(file: YamlFile, loc: Loc, tag: TagConfig, line: LineConfig | None) -> None:
    """A writable tag is a coil or whole holding registers, with limits for a number."""
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
    elif tag.table == "holding" and tag.type in ("bool", "string"):
        file.problem((*loc, "writable"), f"a {tag.type} in a holding register cannot be written on its own", False)
    elif tag.type in ("bcd16", "bcd32") or tag.states or tag.bits:
        file.problem((*loc, "writable"), "a BCD number, or a tag with states or bits, cannot be written", False)
    elif tag.table == "coil":
        for key in limits:
            file.problem((*loc, key), "a coil has none")
    else:
        for key in ("write_low", "write_high"):
            if key not in limits:
                file.problem((*loc, key), "is missing: a value is only written within limits", False)
        if tag.write_low is not None and tag.write_high is not None and tag.write_low > tag.write_high:
            file.problem((*loc, "write_low"), f"must not be above write_high, which is {tag.write_high:g}")
