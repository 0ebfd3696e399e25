"""Windows whose rows the store does not have all of (any more): with the rows that are kept elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import numpy as np

from cloud.store.whole_rows import Of, TagId
from cloud.store.windows import Windows, no_windows, windows_of


class RowSource(Protocol):
    """Where rows are. A TelemetryStore is one."""

    def samples(self, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[Any]:
        """See TelemetryStore.samples. Raises StoreDown."""
        ...


async def of_both(store: RowSource, more: RowSource, tag: TagId, from_ms: int, to_ms: int, step_ms: int) -> Windows:
    """Windows of one tag; where both have a row of one stamp, the store's counts. Raises StoreDown."""
    found = []
    for source in (store, more):
        async for batch in source.samples(Of(tag.node.group, tag.node.node, tag.device, tag.tag), from_ms, to_ms):
            columns = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("ts_ms", "quality", "value"))
            found.append([column.astype(np.float64 if i == 2 else np.int64) for i, column in enumerate(columns)])
    if not found:
        return no_windows([tag])
    ts_ms, quality, value = (np.concatenate(columns) for columns in zip(*found, strict=True))
    ts_ms, first = np.unique(ts_ms, return_index=True)
    return windows_of([tag], np.zeros(len(first), np.int64), ts_ms, quality[first], value[first], step_ms)
