"""Derived tags of site.yaml: which tag each name of an expression means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.expression import Expression
from agent.spec import DerivedSpec, DeviceSpec, PointSpec, RawType, datatype_of
from gateway.config.assets import Owners
from gateway.config.convert import AssetOf, deadband_of
from gateway.config.site import TagConfig
from gateway.config.yaml_lines import Loc, YamlFile, nearest
from wire.errors import ConfigError
from wire.tag import Tag

_READ_ONLY = (
    "table", "address", "order", "bit", "length", "scale", "offset", "invalid", "field", "states", "bits", "period_s",
    "at", "item", "when", "writable", "write_low", "write_high",
)  # fmt: skip
Periods = Mapping[tuple[str, str], float]
"""(device, tag name) -> seconds between two polls."""
_TYPES = ("float64", "float32", "bool")


class Scope:
    """What an expression may name: the tags of its own device, and device/tag of everything of the same asset."""

    def __init__(self, device: str, own: Sequence[TagConfig], kin: Sequence[tuple[str, TagConfig]]) -> None:
        self._own = {tag.name: (device, tag) for tag in own}
        self._kin = {f"{d}/{tag.name}": (d, tag) for d, tag in kin}
        self.names = [*self._own, *self._kin]

    def owns(self, name: str) -> bool:
        return name in self._own

    def find(self, name: str) -> tuple[str, TagConfig] | None:
        return self._own.get(name) or self._kin.get(name)


class Scopes:
    """One Scope for all tags of a device that belong to the same asset."""

    def __init__(self, tags: Mapping[str, Sequence[TagConfig]], owners: Owners) -> None:
        self._tags, self._owners = tags, owners
        self._made: dict[tuple[str, str], Scope] = {}

    def of(self, device: str, tag: TagConfig) -> Scope:
        asset = self._owners.of(device, tag.name)
        if (device, asset) not in self._made:
            own = self._tags.get(device, ())
            self._made[device, asset] = Scope(device, own, self._owners.tags_of(asset))
        return self._made[device, asset]


def check_derived(file: YamlFile, loc: Loc, tag: TagConfig, scope: Scope) -> None:
    """An expression is understood, and each name in it is a tag that is read and is a number."""
    if tag.expression is None:
        return
    for key in _READ_ONLY:
        if file.given((*loc, key)):
            file.problem((*loc, key), "a tag with an expression is calculated, not read", shown=False)
    if tag.type is not None and tag.type not in _TYPES:
        file.problem((*loc, "type"), f"of a calculated tag must be {'|'.join(_TYPES)}")
    at = (*loc, "expression")
    try:
        expression = Expression(tag.expression)
    except ConfigError as fault:
        file.problem(at, str(fault))
        return
    if not any(scope.owns(name) for name in expression.names) and all(map(scope.find, expression.names)):
        # Else it would go on speaking for a device that is lost.
        file.problem(at, "uses no tag of this device; it belongs to a device that it uses", shown=False)
    for name in expression.names:
        found = scope.find(name)
        if found is None:
            where = "; of this device, or in quotes 'device/tag' of one of the same asset"
            file.problem(at, f"no tag {name!r}{nearest(name, scope.names) or where}", shown=False)
        elif found[1].expression is not None:
            file.problem(at, f"{name} is calculated itself; write its expression out", shown=False)
        elif found[1].type == "string" or found[1].states or found[1].bits:
            file.problem(at, f"{name} is a text", shown=False)


def with_derived(
    spec: DeviceSpec, tags: Sequence[TagConfig], asset_of: AssetOf, scopes: Scopes, period_s: Periods
) -> DeviceSpec:
    """The device with its calculated tags. Only after check_derived."""
    made = []
    for tag in tags:
        if tag.expression is None:
            continue
        scope = scopes.of(spec.id, tag)
        found = [scope.find(name) for name in Expression(tag.expression).names]
        inputs = tuple((device, read.name) for device, read in filter(None, found))
        made.append(
            DerivedSpec(
                _point(tag, spec.id, asset_of(spec.id, tag.name)),
                tag.expression,
                inputs,
                min(period_s[key] for key in inputs),
            )
        )
    return replace(spec, derived=tuple(made))


def _point(tag: TagConfig, device: str, asset: str) -> PointSpec:
    kind: RawType = tag.type or "float64"
    return PointSpec(
        tag=Tag(tag.name, device, datatype_of(kind), tag.unit, asset, tag.measures),
        type=kind,
        low=tag.low,
        high=tag.high,
        deadband=deadband_of(tag),
        deadband_percent=tag.deadband_percent,
        min_silence_s=tag.min_silence_s,
        max_silence_s=tag.max_silence_s,
    )
