"""Two gateways under one id: found by what only two of them can say. Pure.

A gateway draws an epoch at every start, and says old epochs as historical. So live batches of an epoch that another
one had replaced, with numbers that are new, come from a second gateway that is still running: two connections with one
client id take the broker's session from each other, again and again. Nodes of others are known by their bdSeq: a birth
under one that was replaced and did not die belongs to a second session. Either must be seen twice within the time that
an alarm holds: a message that was delayed must not raise one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from wire.host_events import Data, Event, Gone, NodeBorn, OldDeath
from wire.ids import NodeId

HOLD_MS = 600_000
"""The alarm goes ten minutes after the last sign: a gateway that knocks every 15 s gives many within them."""
SIGNS = 2
MOST_NODES = 20_000
MOST_OLD = 8  # epochs and sessions of one node that are remembered


@dataclass(slots=True)
class _Seen:
    epoch: str = ""
    highest: OrderedDict[str, int] = field(default_factory=OrderedDict)  # epoch -> highest live number
    bd_seq: int | None = None
    open: OrderedDict[int, None] = field(default_factory=OrderedDict)  # bdSeqs that were replaced and did not die
    signs: list[int] = field(default_factory=list)  # when


@dataclass(slots=True)
class Twins:
    """`hear` every event; `alarmed` are the nodes whose id is used twice."""

    _nodes: dict[NodeId, _Seen] = field(default_factory=dict)

    def hear(self, event: Event, now_ms: int) -> bool:
        """True when this event is a sign of a second session under one id."""
        match event:
            case Data(node=node, batch=batch) if batch is not None and not event.historical:
                sign = _epoch(self._seen(node), batch.epoch, batch.number)
            case NodeBorn(node=node, bd_seq=bd_seq) if bd_seq is not None:
                sign = _birth(self._seen(node), bd_seq)
            case OldDeath(node=node, bd_seq=bd_seq) if bd_seq is not None and node in self._nodes:
                self._nodes[node].open.pop(bd_seq, None)
                return False
            case Gone(node=node, device=None) if node in self._nodes:
                self._nodes[node].bd_seq = None
                return False
            case _:
                return False
        if sign:
            signs = self._nodes[node].signs
            signs[:] = [*(at for at in signs if now_ms - at < HOLD_MS), now_ms][-SIGNS:]
        return sign

    def _seen(self, node: NodeId) -> _Seen:
        if node not in self._nodes and len(self._nodes) >= MOST_NODES:
            self._nodes.pop(next(iter(self._nodes)))
        return self._nodes.setdefault(node, _Seen())

    def alarmed(self, now_ms: int) -> set[NodeId]:
        return {
            node for node, seen in self._nodes.items() if len(seen.signs) >= SIGNS and now_ms - seen.signs[-1] < HOLD_MS
        }

    def forget(self, node: NodeId) -> None:
        self._nodes.pop(node, None)


def _epoch(seen: _Seen, epoch: str, number: int) -> bool:
    before = seen.highest.get(epoch)
    if epoch == seen.epoch:
        seen.highest[epoch] = max(number, before or 0)
        return False
    if before is not None and number <= before:
        return False  # said before: a repetition
    seen.epoch = epoch
    seen.highest[epoch] = number
    seen.highest.move_to_end(epoch)
    if len(seen.highest) > MOST_OLD:
        seen.highest.popitem(last=False)
    return before is not None


def _birth(seen: _Seen, bd_seq: int) -> bool:
    sign = bd_seq in seen.open
    if seen.bd_seq is not None and seen.bd_seq != bd_seq:
        seen.open[seen.bd_seq] = None
        if len(seen.open) > MOST_OLD:
            seen.open.popitem(last=False)
    seen.open.pop(bd_seq, None)
    seen.bd_seq = bd_seq
    return sign
