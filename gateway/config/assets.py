"""Which asset each tag belongs to: by its device as a whole, or by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.config.site import AssetConfig, TagConfig
from gateway.config.yaml_lines import YamlFile, nearest

Tags = Mapping[str, Sequence[TagConfig]]
"""device -> its tags, those of named bits too."""


class Owners:
    """What each asset holds. A tag that an asset names is that asset's; else it is its device's, or of none."""

    def __init__(self, assets: Iterable[AssetConfig], tags: Tags) -> None:
        self._of: dict[tuple[str, str], str] = {}
        assets = list(assets)
        for asset in assets:
            for device in asset.devices:
                for tag in tags.get(device, ()):
                    self._of.setdefault((device, tag.name), asset.id)
        named = {target: asset.id for asset in assets for target in asset.tags}
        for target, asset_id in named.items():
            device, _, name = target.partition("/")
            for tag in tags.get(device, ()):
                if tag.name == name:
                    self._of[device, name] = asset_id
                    # Its bits go with it, but for those that are named themselves.
                    bits = {f"{name}/{bit}" for bit in tag.bits.values()}
                    self._of |= {(device, bit): asset_id for bit in bits if f"{device}/{bit}" not in named}
        self._tags_of: dict[str, list[tuple[str, TagConfig]]] = {}
        for device, found in tags.items():
            for tag in found:
                if owner := self.of(device, tag.name):
                    self._tags_of.setdefault(owner, []).append((device, tag))

    def of(self, device: str, tag: str) -> str:
        """The id of its asset; '' when it has none."""
        return self._of.get((device, tag), "")

    def tags_of(self, asset: str) -> list[tuple[str, TagConfig]]:
        """(device, tag) of everything that an asset holds, in the order of site.yaml."""
        return self._tags_of.get(asset, [])


def check_assets(file: YamlFile, assets: Mapping[int, AssetConfig], device_ids: set[str], tags: Tags) -> None:
    """Assets name devices and tags that exist, once each; asset and device ids share one namespace."""
    names = {device: {tag.name for tag in found} for device, found in tags.items()}
    ids: set[str] = set()
    owner: dict[str, str] = {}
    for i, asset in assets.items():
        if asset.id in ids:
            file.problem(("assets", i, "id"), "duplicate asset")
        ids.add(asset.id)
        if asset.id in device_ids:
            file.problem(("assets", i, "id"), "a device has this id already, and scores are published under it")
        if not asset.devices and not asset.tags:
            file.problem(("assets", i), "needs devices, or tags as device/tag, or both", shown=False)
        for j, device in enumerate(asset.devices):
            if device not in device_ids:
                file.problem(("assets", i, "devices", j), f"no such device{nearest(device, sorted(device_ids))}")
            elif device in owner:
                again = "stands twice" if owner[device] == asset.id else f"belongs to asset {owner[device]} already"
                file.problem(("assets", i, "devices", j), again)
            owner.setdefault(device, asset.id)
        for name, target in asset.inputs.items():
            device, _, tag = target.partition("/")
            if tag not in names.get(device, set()):
                file.problem(("assets", i, "inputs", name), "must be device/tag of this site")
        for key in ("inputs", "false_alarms", "running"):
            if getattr(asset, key) and asset.model is None and (asset.life is None or key == "false_alarms"):
                file.problem(("assets", i, key), f"only an asset with a model has {key}", shown=False)
    _check_tags(file, assets, device_ids, names)


def _check_tags(
    file: YamlFile, assets: Mapping[int, AssetConfig], device_ids: set[str], names: Mapping[str, set[str]]
) -> None:
    owner: dict[str, str] = {}
    for i, asset in assets.items():
        for j, target in enumerate(asset.tags):
            loc = ("assets", i, "tags", j)
            device, slash, tag = target.partition("/")
            if not slash:
                file.problem(loc, "must be device/tag; a device as a whole stands under devices")
            elif device not in device_ids:
                file.problem(loc, f"no such device{nearest(device, sorted(device_ids))}")
            elif device in names and tag not in names[device]:
                file.problem(loc, f"device {device} has no such tag{nearest(tag, sorted(names[device]))}")
            elif target in owner:
                again = "stands twice" if owner[target] == asset.id else f"belongs to asset {owner[target]} already"
                file.problem(loc, again)
            elif device in asset.devices:
                file.problem(loc, f"the asset has the whole device {device} already")
            owner.setdefault(target, asset.id)
