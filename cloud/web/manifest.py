"""Which built files the page loads: Vite's manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).parent / "static"
DIST = STATIC / "dist"
ENTRY = "src/main.ts"


@dataclass(frozen=True, slots=True)
class Built:
    """Paths below /static/dist."""

    script: str
    styles: tuple[str, ...]


def read_manifest(dist: Path = DIST) -> Built | None:
    """None when the assets are not built."""
    file = dist / "manifest.json"
    if not file.is_file():
        return None
    entry = json.loads(file.read_text(encoding="utf-8"))[ENTRY]
    return Built(entry["file"], tuple(entry.get("css", ())))
