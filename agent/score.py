"""Scores: a scorer per asset turns Blocks of its input tags into Blocks of its score device."""

from __future__ import annotations

from collections.abc import Sequence

from agent.spec import AssetSpec, LineSpec
from wire.block import Block
from wire.tag import Tag


class Scorers:
    """One Scorer per asset with a model that loads and fits."""

    def __init__(self, assets: Sequence[AssetSpec], lines: Sequence[LineSpec]) -> None:
        """Loads the models. Never raises for a model: problems() says what is not scored and why."""
        raise NotImplementedError

    def score(self, block: Block) -> list[Block]:
        """Blocks of score devices that this Block completes; mostly none or one."""
        raise NotImplementedError

    def tags(self) -> list[Tag]:
        """The tags of all score devices, in birth order."""
        raise NotImplementedError

    def problems(self) -> list[str]:
        """One `asset ID: what is wrong` each for assets that have a model and are not scored."""
        raise NotImplementedError
