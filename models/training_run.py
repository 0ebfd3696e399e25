"""One `gaugeline models train`: reads, trains, proves, writes the file with card and pictures, shows how far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models import card, plots, sources
from models import train as training
from models.history import Asked
from models.settings import read_settings
from models.train import Trained

_PROOF_ROWS = 1000


def run(config: Path, asked: Asked, out: Path, *, pictures: bool = True) -> tuple[Trained, list[Path]]:
    """The model and what was written beside it, the card first. Raises ConfigError, ModelError."""
    settings = read_settings(config)
    shown = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
        console=shown, transient=True, disable=not shown.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading", total=1.0)

        def told(step: str, part: float) -> None:
            bar.update(task, description=step, completed=part)

        history = sources.read(asked, settings, told)
        trained = training.train(settings, history, asked.data, told)
        proof = np.flatnonzero(~np.isnan(history.rows).any(axis=1))[:_PROOF_ROWS]
        training.write(trained, out, history.rows[proof], history.clocks(settings.time_zone)[proof])
        drawn = plots.draw(trained, out) if pictures else {}
    beside = out.with_suffix(".md")
    beside.write_text(card.card(trained.manifest, out.name, drawn), encoding="utf-8")
    return trained, [beside, *(out.with_name(name) for name in drawn.values())]
