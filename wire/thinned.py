"""A thinned batch: fewer samples under a new number, in place of a batch that the outbox had no room for. Pure.

Its first metric is `Delivery/Replaces` = the batch tag of the batch as it was first made. The digest covers it like any
sample. A host books the samples under that first number: whichever version comes first is stored, every other one is
confirmed and not stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from wire.block import Quality, Sample
from wire.delivery import BatchTag, parse_batch_tag
from wire.tag import Datatype

REPLACES = "Delivery/Replaces"  # born with an alias in every DBIRTH


def replaces_sample(root: BatchTag, ts_ms: int) -> Sample:
    """The marker that goes ahead of a thinned batch's samples."""
    return Sample(REPLACES, Datatype.STRING, ts_ms, Quality.GOOD, str(root))


def replaced(samples: Sequence[Sample]) -> BatchTag | None:
    """The first version's tag; None for a batch that replaces nothing. Raises PayloadError when it cannot be read."""
    if not samples or samples[0].name != REPLACES:
        return None
    return parse_batch_tag(str(samples[0].value))
