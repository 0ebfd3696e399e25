"""`gaugeline cloud disk`: what the database takes, and writing its file anew."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from cloud.ask import Answer, call

ABOUT = """\
What the DuckDB file of the running host takes on the disk, and how much a million samples take of it.

  gaugeline cloud disk
  gaugeline cloud disk --compact     writes the file anew, without what is empty and sorted by day and tag

What was deleted leaves empty blocks, which later samples use again. Once more than half of the file is empty the host
compacts it by itself. While it does it stores nothing, and the gateways keep what they have; it needs as much free disk
as the samples take. InfluxDB compacts by itself.
"""
ENOUGH = 100_000  # samples; what a file takes that is nearly empty says nothing of a million


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    parser = command(
        "disk",
        help="what the database takes; compact it",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--compact", action="store_true", help="write the file anew")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(ask=_disk)


def _disk(arguments: argparse.Namespace) -> Answer:
    if arguments.compact:
        found: dict[str, Any] = call(arguments.url, "/api/disk/compact", body={}, timeout_s=4 * 3600)
        text = f"before: {told(found['before'])}\nafter: {told(found['after'])}"
    else:
        found = call(arguments.url, "/api/disk")
        text = told(found)
    return Answer(json.dumps(found, indent=2) if arguments.json else text)


def told(use: dict[str, Any]) -> str:
    text = f"{use['bytes'] / 1e6:,.1f} MB"
    if use["empty_bytes"]:
        text += f", {use['empty_bytes'] / 1e6:,.1f} MB of it empty"
    text += f"; {use['rows']:,} samples"
    if use["rows"] >= ENOUGH:
        text += f", {use['bytes_per_million_samples'] / 1e6:,.1f} MB a million"
    return text
