"""What a person can put right: a fault in the scenario, in an argument, or a port that cannot be had."""

from __future__ import annotations

from collections.abc import Sequence


class ScenarioError(Exception):
    """The simulation does not start. `problems` holds one sentence each, naming the key to change."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))
