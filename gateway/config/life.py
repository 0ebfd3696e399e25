"""How the remaining life of an asset is told: by a model file, or by the trend of one of its tags towards a limit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.spec import LifeSpec
from gateway.config.assets import Owners, Tags
from gateway.config.site import AssetConfig, Model, Number, TagConfig, Text
from gateway.config.yaml_lines import Loc, YamlFile, nearest
from models import runtime
from wire.errors import ModelError

# Of a trend, where nothing is said.
EVERY_S = 3600.0


class LifeConfig(Model):
    """model: an ONNX file, or tag and limit. every_s: of running time, one row; counter: a tag that counts instead."""

    model: Text | None = None
    tag: Text | None = None
    limit: Number | None = None
    falling: bool = False
    every_s: Annotated[Number, Field(ge=1, le=2_678_400)] | None = None
    counter: Text | None = None


def life_spec(file: YamlFile, i: int, asset: AssetConfig, tags: Tags, owners: Owners) -> LifeSpec | None:
    """None where the asset has none, and where something is wrong: that is told."""
    loc: Loc = ("assets", i, "life")
    said = None if asset.life is None else file.validated(LifeConfig, loc, asset.life)
    if said is None:
        return None
    if (said.model is None) == (said.tag is None):
        file.problem(loc, "needs either model, an ONNX file of remaining life, or tag and limit", shown=False)
        return None
    if said.tag is not None and said.limit is None:
        file.problem((*loc, "limit"), f"is missing: the value of {said.tag} at which its life ends", shown=False)
    if said.model is not None and (said.limit is not None or said.falling):
        file.problem((*loc, "model"), "knows its own limit; leave limit and falling out, or give a tag instead")
    if said.counter is not None and (said.tag is not None or said.every_s is not None):
        file.problem((*loc, "counter"), "is for a model, in the place of every_s")
    if said.model is not None and said.counter is None and said.every_s is None:
        what = "is missing: a row of the model from so long; or counter, the tag that counts what its life is told in"
        file.problem((*loc, "every_s"), what, shown=False)
    tag = None if said.tag is None else _tag(file, (*loc, "tag"), said.tag, asset, tags, owners)
    counter = None if said.counter is None else _tag(file, (*loc, "counter"), said.counter, asset, tags, owners)
    model = None
    if said.model is not None:
        try:
            model = runtime.resolve(said.model, file.path.parent)
        except ModelError as fault:
            file.problem((*loc, "model"), str(fault), shown=False)
            return None
    return LifeSpec(model, tag, said.limit or 0.0, said.falling, said.every_s or EVERY_S, counter)


def _tag(file: YamlFile, loc: Loc, name: str, asset: AssetConfig, tags: Tags, owners: Owners) -> tuple[str, str] | None:
    own = owners.tags_of(asset.id)
    here = [(device, tag) for device, tag in own if tag.name == name]
    of_device, _, rest = name.partition("/")
    found: list[tuple[str, TagConfig]] = here or [
        (of_device, tag) for tag in tags.get(of_device, ()) if tag.name == rest
    ]
    if len(found) != 1:
        near = nearest(name, sorted({tag.name for _, tag in own}))
        many = "more than one tag of the asset has this name; write device/tag"
        file.problem(loc, many if found else f"no tag of the asset, and no device/tag of this site{near}")
        return None
    device, tag = found[0]
    if tag.type == "string" or tag.states or tag.bits:
        file.problem(loc, f"tag {tag.name} is no number")
    return device, tag.name
