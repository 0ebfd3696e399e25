"""What a host is there for, and whether it still is."""

from __future__ import annotations

from wire.ids import NodeId


class Duty:
    """Of a host that has no standby: always. With one: see cloud.lease.Term.

    groups: the sites that it collects; none named: all. token: grows by one with each change of the active host.
    """

    token: int = 0

    def __init__(self, groups: tuple[str, ...] = ()) -> None:
        self.groups = groups

    def covers(self, node: NodeId) -> bool:
        return not self.groups or node.group in self.groups

    def still(self) -> None:
        """By this machine's clock alone. Raises LeaseLost."""

    async def check(self) -> None:
        """In the state's database. Raises LeaseLost; StoreDown when nobody can know."""

    def state_ms(self, now_ms: int) -> int:
        """The time that a STATE message bears: of hosts that take turns, by a clock that they share."""
        return now_ms
