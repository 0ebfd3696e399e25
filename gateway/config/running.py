"""When an asset runs, by one of its tags: a boolean, a number with its limit, or a text with its states."""

from __future__ import annotations

from agent.spec import RunningSpec
from gateway.config.assets import Owners, Tags
from gateway.config.site import AssetConfig, RunningConfig, TagConfig
from gateway.config.yaml_lines import Loc, YamlFile, nearest


def running_spec(file: YamlFile, i: int, asset: AssetConfig, tags: Tags, owners: Owners) -> RunningSpec | None:
    """None where the asset always runs, and where something is wrong: that is told."""
    said = asset.running
    if said is None:
        return None
    loc: Loc = ("assets", i, "running")
    own = owners.tags_of(asset.id)
    here = [(device, tag) for device, tag in own if tag.name == said.tag]
    device, _, name = said.tag.partition("/")
    found = here or [(device, tag) for tag in tags.get(device, ()) if tag.name == name]
    if len(found) != 1:
        near = nearest(said.tag, sorted({tag.name for _, tag in own}))
        many = "more than one tag of the asset has this name; write device/tag"
        file.problem((*loc, "tag"), many if found else f"no tag of the asset, and no device/tag of this site{near}")
        return None
    device, tag = found[0]
    _check(file, loc, said, tag)
    return RunningSpec(device, tag.name, said.above, tuple(said.states), said.settle_s)


def _check(file: YamlFile, loc: Loc, said: RunningConfig, tag: TagConfig) -> None:
    if tag.bits:
        bits = ", ".join(f"{tag.name}/{bit}" for bit in tag.bits.values())
        file.problem((*loc, "tag"), f"is a field of bits; name one of them: {bits}")
    elif tag.states or tag.type == "string":
        names = [str(name) for name in tag.states.values()]
        if not said.states:
            some = f" (there are {', '.join(names)})" if names else ""
            file.problem((*loc, "states"), f"is missing: in which states of {tag.name} the asset runs{some}", False)
        for j, state in enumerate(said.states):
            if names and state not in names:
                file.problem((*loc, "states", j), f"tag {tag.name} has no such state{nearest(state, names)}")
        if said.above is not None:
            file.problem((*loc, "above"), f"tag {tag.name} is a text; give states instead")
        return
    elif _is_bool(tag):
        if said.above is not None:
            file.problem((*loc, "above"), f"tag {tag.name} is a bool: the asset runs while it is true; leave this out")
    elif said.above is None:
        file.problem((*loc, "above"), f"is missing: above which value of {tag.name} the asset runs", shown=False)
    if said.states:
        file.problem((*loc, "states"), f"tag {tag.name} has no states", shown=False)


def _is_bool(tag: TagConfig) -> bool:
    return tag.type == "bool" or (tag.type is None and tag.table in ("coil", "discrete"))
