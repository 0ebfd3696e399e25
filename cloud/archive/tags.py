"""The archive's own list of tags: unit, meaning and asset of each, as the gateways' births said them last.

    site=plant-1/tags.json      [{"node": ..., "device": ..., "tag": ..., "unit": "kW.h", "measures": "energy", ...}]

A tag that is born no more keeps its place: its samples are still there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cloud.archive.folder import Folder
from cloud.archive.manifest import site_folder
from wire.ids import NodeId
from wire.tag import ASSET, ENG_UNIT, MEASURES, Datatype

NAME = "tags.json"
Births = Mapping[tuple[NodeId, str], Sequence[tuple[str, Datatype, Mapping[str, object]]]]


class TagFacts(NamedTuple):
    site: str
    node: str
    device: str
    tag: str
    unit: str
    measures: str
    asset: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.node, self.device, self.tag


def born(births: Births) -> list[TagFacts]:
    return [
        TagFacts(
            node.group, node.node, device, name, *(str(told.get(key) or "") for key in (ENG_UNIT, MEASURES, ASSET))
        )
        for (node, device), tags in births.items()
        for name, _, told in tags
    ]


def keep_tags(folder: Folder, found: Iterable[TagFacts]) -> None:
    """Of every site that is archived already or has new tags. Raises ArchiveDown."""
    by_site: dict[str, dict[tuple[str, str, str], TagFacts]] = {}
    for one in found:
        by_site.setdefault(one.site, {})[one.key] = one
    for site, new in by_site.items():
        old = {one.key: one for one in tags_of(folder, site)}
        if merged := {**old, **new}:
            text = _text(merged[key] for key in sorted(merged))
            if old != merged:
                folder.put_text(text, f"{site_folder(site)}/{NAME}")


def tags_of(folder: Folder, site: str) -> list[TagFacts]:
    """Nothing where there is no list, or none that can be read. Raises ArchiveDown."""
    try:
        raw: list[dict[str, Any]] = json.loads(folder.read(f"{site_folder(site)}/{NAME}"))
        return [TagFacts(site, *(str(tag[name]) for name in TagFacts._fields[1:])) for tag in raw]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []  # it is written again with the next births


def _text(found: Iterable[TagFacts]) -> str:
    rows = ({name: value for name, value in one._asdict().items() if name != "site"} for one in found)
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
