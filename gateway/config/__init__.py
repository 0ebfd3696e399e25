"""site.yaml: read, judged as a whole, turned into specifications. Every problem at once, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.config import brokers, checks, convert, derived, life, named, registers, running
from gateway.config.assets import Owners, check_assets
from gateway.config.convert import Broker, OutboxSettings, Site
from gateway.config.frame_checks import is_modbus
from gateway.config.site import AssetConfig, DeviceConfig, LineConfig, SiteConfig, TagConfig
from gateway.config.yaml_lines import Loc, M, YamlFile, nearest
from gateway.model_key import verifier
from models import runtime
from wire.errors import ConfigError, ModelError
from wire.ids import NodeId

__all__ = ["Broker", "OutboxSettings", "Site", "load_site"]


def load_site(path: Path) -> Site:
    """Raises ConfigError with every problem as `file:line: key: what is wrong and what to do`."""
    file = YamlFile.read(path)
    top = file.validated(SiteConfig, (), file.data)
    lines = _entries(file, "lines", LineConfig)
    devices = _entries(file, "devices", DeviceConfig)
    assets = _entries(file, "assets", AssetConfig)
    tags = {i: _tags(file, i) for i in range(len(_list(file, "devices")))}

    for i, line in lines.items():
        checks.check_line(file, ("lines", i), line)
    checks.check_lines_differ(file, lines)
    line_of = {line.name: line for line in lines.values()}
    _check_devices(file, devices, line_of)
    _check_tags(file, devices, tags, line_of)
    made_tags = {d.id: [t for tag in tags[i].values() for t in named.with_bits(tag)] for i, d in devices.items()}
    ids = {str(entry["id"]) for entry in _list(file, "devices") if isinstance(entry, dict) and "id" in entry}
    check_assets(file, assets, ids, made_tags)
    owners = Owners(assets.values(), made_tags)
    scopes = derived.Scopes(made_tags, owners)
    for i, device in devices.items():
        for j, tag in tags[i].items():
            derived.check_derived(file, ("devices", i, "tags", j), tag, scopes.of(device.id, tag))
    _check_model_key(file, top)
    models = {i: _model(file, i, asset) for i, asset in assets.items()}
    lives = {i: life.life_spec(file, i, asset, made_tags, owners) for i, asset in assets.items()}
    runs = {i: running.running_spec(file, i, asset, made_tags, owners) for i, asset in assets.items()}
    where = brokers.brokers(file)
    brokers.check_hosts(file)
    file.raise_problems()
    if top is None or not where:
        raise ConfigError(f"{path}: not usable")  # unreachable: their problems have been raised above

    made = [
        convert.device_spec(device, made_tags[device.id], owners.of, line_of[device.line].driver)
        for device in devices.values()
    ]
    period_s = {(d.id, p.tag.name): p.period_s or d.period_s for d in made for p in d.points}
    made = [derived.with_derived(d, made_tags[d.id], owners.of, scopes, period_s) for d in made]
    return Site(
        path=path,
        node=NodeId(top.group, top.gateway),
        brokers=where,
        hosts=tuple(top.hosts),
        outbox=OutboxSettings(
            path.parent / top.outbox.path, top.outbox.commit_ms, int(top.outbox.max_mb * 1e6), top.outbox.when_full
        ),
        lines=tuple(convert.line_spec(line, [d for d in made if d.line == line.name]) for line in lines.values()),
        writes=top.commands.write,
        clock=top.clock.trust,
        metrics=top.metrics.port if top.metrics is not None else None,
        confirming=top.confirm == "stored",
        compress=top.compress,
        model_key=path.parent / top.models.public_key_file if top.models is not None else None,
        time_zone=top.time_zone or "",
        assets=tuple(
            convert.asset_spec(asset, models[i], owners.tags_of(asset.id), runs[i], lives[i])
            for i, asset in assets.items()
        ),
    )


def _list(file: YamlFile, key: str) -> list[Any]:
    found = file.data.get(key)
    return found if isinstance(found, list) else []


def _entries(file: YamlFile, key: str, model: type[M]) -> dict[int, M]:
    """The valid entries of a list by their position; problems of the others are told."""
    found = {i: file.validated(model, (key, i), entry) for i, entry in enumerate(_list(file, key))}
    return {i: entry for i, entry in found.items() if entry is not None}


def _tags(file: YamlFile, device: int) -> dict[int, TagConfig]:
    """The valid tags of a device, also when something else is wrong with the device."""
    loc: Loc = ("devices", device, "tags")
    given = file.value(loc)
    entries = given if isinstance(given, list) else []
    found = {i: file.validated(TagConfig, (*loc, i), entry) for i, entry in enumerate(entries)}
    names: set[str] = set()
    for i, tag in found.items():
        if tag is not None and tag.name in names:
            file.problem((*loc, i, "name"), "duplicate tag")
        names |= {tag.name} if tag is not None else set()
    return {i: tag for i, tag in found.items() if tag is not None}


def _check_devices(file: YamlFile, devices: dict[int, DeviceConfig], line_of: dict[str, LineConfig]) -> None:
    known = [str(entry["name"]) for entry in _list(file, "lines") if isinstance(entry, dict) and "name" in entry]
    for i, device in devices.items():
        if device.line not in known:
            file.problem(("devices", i, "line"), f"no such line{nearest(device.line, known)}")
        checks.check_device(file, ("devices", i), device, line_of.get(device.line))
    checks.check_devices_differ(file, devices, line_of)


def _check_tags(
    file: YamlFile,
    devices: dict[int, DeviceConfig],
    tags: dict[int, dict[int, TagConfig]],
    line_of: dict[str, LineConfig],
) -> None:
    for i, found in tags.items():
        line = line_of.get(str(file.value(("devices", i, "line"))))
        device = devices.get(i)
        serial = line is not None and not is_modbus(line)
        if serial:
            registers.check_no_registers(file, ("devices", i), found)
        elif device is not None and line is not None:
            registers.check_registers(file, ("devices", i), device, found)
        for j, tag in found.items():
            loc = ("devices", i, "tags", j)
            checks.check_tag(file, loc, tag, device.frame if device else None, line)
            named.check_named(file, loc, tag, serial)
        named.check_bit_names_differ(file, ("devices", i, "tags"), found)


def _check_model_key(file: YamlFile, top: SiteConfig | None) -> None:
    if top is None or top.models is None:
        return
    try:
        verifier(file.path.parent / top.models.public_key_file)
    except ConfigError as fault:
        file.problem(("models", "public_key_file"), str(fault), shown=False)


def _model(file: YamlFile, i: int, asset: AssetConfig) -> Path | None:
    """The model file: beside site.yaml, or one that comes with Gaugeline."""
    if asset.model is None:
        return None
    try:
        return runtime.resolve(asset.model, file.path.parent)
    except ModelError as fault:
        file.problem(("assets", i, "model"), str(fault), shown=False)
        return None
