"""Which retention goes with which store and archive."""

from __future__ import annotations

from cloud.retention.classes import RetentionChoice
from cloud.store.choice import DuckDbFile, InfluxBucket, StoreChoice


def does_not_go(choice: RetentionChoice | None, store: StoreChoice, archived: bool) -> list[str]:
    """What is wrong, with what to do about it."""
    if choice is None:
        return []
    problems = []
    if choice.archive_first and not archived:
        problems.append(
            "retention: archive_first wants an archive: write `archive: {path: FOLDER}`, or archive_first: false, and"
            " what is removed is nowhere any more"
        )
    if isinstance(store, InfluxBucket) and not store.org:
        problems.append(
            "retention: a store without organisation is InfluxDB 3, which cannot delete samples (its delete API is not"
            " there): give the database a retention with its own tools, or leave retention out"
        )
    if not isinstance(store, DuckDbFile) and store.retention_days is not None:
        late = [c.name for c in choice.all_classes if c.hot_days is None or c.hot_days >= store.retention_days]
        if late:
            problems.append(
                f"retention: the database deletes by itself after retention_days: {store.retention_days}, which nobody"
                f" counts, before {', '.join(late)} may go: leave retention_days of the store out"
            )
    return problems
