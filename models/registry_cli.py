"""`gaugeline models registry`: versions in a folder, which one is current, and the way back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from models.registry import CURRENT, Registry

_ABOUT = """A folder of models: every version stays, one of each model is current. site.yaml names its current.onnx
(model: models/pump_1/current.onnx); a gateway notices the exchange by itself, and the new one
takes over between two rows.

  gaugeline models registry add pump.onnx          takes a trained file in, with its card and pictures
  gaugeline models registry promote pump_1 2       makes version 2 current, in one step
  gaugeline models registry rollback pump_1        back to the one before
  gaugeline models registry list                   what there is; --log: who did what, and when"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        "registry", help="versions: add, list, promote, rollback", description=_ABOUT, formatter_class=raw
    )
    # The folder may stand before or behind the word.
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument(
        "--folder", type=Path, default=argparse.SUPPRESS, metavar="FOLDER", help="of the registry (default: models)"
    )
    parser.add_argument("--folder", type=Path, default=Path("models"), metavar="FOLDER", help="(default: models)")
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    add = words.add_parser("add", parents=[folder], help="takes a model's file in")
    add.add_argument("file", type=Path, metavar="FILE")
    listed = words.add_parser("list", parents=[folder], help="models, versions, and which is current")
    listed.add_argument("name", nargs="?", metavar="NAME", help="of one model only")
    listed.add_argument("--log", action="store_true", help="who did what, and when")
    listed.add_argument("--json", action="store_true", help="JSON for programs")
    promote = words.add_parser("promote", parents=[folder], help="makes a version the current one")
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    rollback = words.add_parser("rollback", parents=[folder], help="makes the one before the current one")
    rollback.add_argument("name", metavar="NAME")


def lines(call: argparse.Namespace) -> Iterator[str]:
    """Does what is asked, and says what was done. Raises ModelError."""
    registry = Registry(call.folder)
    if call.word == "list":
        yield from _log(registry, call) if call.log else _list(registry, call)
    elif call.word == "add":
        said = registry.add(call.file)
        yield f"{said.name} version {said.version} is in {call.folder}; `promote` makes it current"
    else:
        said = registry.promote(call.name, call.version) if call.word == "promote" else registry.rollback(call.name)
        yield f"{said.name} version {said.version} is current: {call.folder / said.name / f'{CURRENT}.onnx'}"


def _log(registry: Registry, call: argparse.Namespace) -> Iterator[str]:
    for entry in registry.log(call.name):
        text = f"{entry.when}  {entry.who:<12}  {entry.what:<8}  {entry.name} {entry.version}"
        yield json.dumps(asdict(entry), ensure_ascii=False) if call.json else text


def _list(registry: Registry, call: argparse.Namespace) -> Iterator[str]:
    found = registry.versions(call.name)
    if call.json:
        said = [
            {
                "name": each.manifest.name, "version": each.manifest.version, "current": each.current,
                "since": each.since, "who": each.who, "detector": each.manifest.detector,
                "threshold": each.manifest.threshold, "signed": bool(each.manifest.signature), "sha256": each.sha256,
            }
            for versions in found.values()
            for each in versions
        ]  # fmt: skip
        yield json.dumps(said, indent=2, ensure_ascii=False)
        return
    for model, versions in found.items():
        yield model
        for each in versions:
            mark = "*" if each.current else " "
            told = f"made current {each.since} by {each.who}" if each.since else "never current"
            rate = each.manifest.false_alarms.statement
            yield f"  {mark} {each.manifest.version:<12} {each.manifest.detector:<18} {rate}; {told}"
