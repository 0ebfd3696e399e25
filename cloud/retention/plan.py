"""What is due: which days of which class are older than the class is kept. Reads; removes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloud.archive.folder import Folder
from cloud.archive.tags import Births, tags_of
from cloud.duty import Duty
from cloud.retention.classes import RetentionChoice, TagClass
from cloud.retention.port import DeviceDay, Removal
from cloud.store.port import DeviceId
from cloud.store.whole_rows import DayId, TagId
from wire.ids import NodeId
from wire.tag import MEASURES


@dataclass(frozen=True, slots=True)
class Due:
    """One class of one site's day. parts: device and day -> rows. tags: those of the class, of each device."""

    day: DayId
    one: TagClass
    parts: dict[DeviceDay, int] = field(default_factory=dict)
    tags: Mapping[DeviceId, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(self.parts.values())

    def tags_of(self, of: DeviceDay) -> list[str]:
        return self.tags[DeviceId(of.node, of.device)]


async def due(
    removal: Removal, choice: RetentionChoice, measures: Mapping[TagId, str], duty: Duty, now_ms: int
) -> list[Due]:
    """Oldest first. measures: of the tags that somebody knows. Raises StoreDown."""
    latest_ms = max(one.cutoff_ms(now_ms) for one in choice.all_classes)
    if not latest_ms:
        return []
    tags: dict[TagClass, dict[DeviceId, list[str]]] = {}
    for tag, first_ms in (await removal.oldest(latest_ms)).items():
        one = choice.of(tag, measures.get(tag))
        if duty.covers(tag.node) and first_ms < one.cutoff_ms(now_ms):
            tags.setdefault(one, {}).setdefault(DeviceId(tag.node, tag.device), []).append(tag.tag)
    found: dict[tuple[DayId, str], Due] = {}
    for one, of_class in tags.items():
        wanted = [TagId(of.node, of.device, name) for of, names in of_class.items() for name in names]
        for part, rows in (await removal.per_day(wanted, one.cutoff_ms(now_ms))).items():
            key = (part.of_site, one.name)
            found.setdefault(key, Due(part.of_site, one, tags=of_class)).parts[part] = rows
    return sorted(found.values(), key=lambda d: (d.day.day, d.day.group, d.one.name))


def known_measures(births: Births, folder: Folder | None) -> dict[TagId, str]:
    """What each tag measures, as it was born last; of tags that are born no more as the archive has it."""
    found: dict[TagId, str] = {}
    if folder is not None:
        for group in {node.group for node, _ in births}:
            for tag in tags_of(folder, group):
                found[TagId(NodeId(tag.site, tag.node), tag.device, tag.tag)] = tag.measures
    for (node, device), tags in births.items():
        found |= {TagId(node, device, name): str(told.get(MEASURES) or "") for name, _, told in tags}
    return found
