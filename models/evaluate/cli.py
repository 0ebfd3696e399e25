"""`gaugeline models evaluate`: a public benchmark over the shipped runtime."""

from __future__ import annotations

import argparse
from typing import Any

from models.evaluate import cmapss, nab, skab
from wire.errors import ModelError

# Each offers add_to(commands) and sets `run`, a function of the call, as a default of its parser.
BENCHMARKS = (skab, nab, cmapss)

_EVALUATE = """Runs a public benchmark: fits models, exports them as ONNX files, and lets the runtime of the gateway
judge the rows one by one. The data is not part of Gaugeline; each benchmark says where it is from and how it must lie.

  gaugeline models evaluate skab --data SKAB/data --out /tmp/skab [--drop 40] [--json]
  gaugeline models evaluate nab --data NAB/data --out /tmp/nab [--detector NAME] [--json]
  gaugeline models evaluate cmapss --train train_FD001.txt --test test_FD001.txt --out FD001.csv [--json]
  gaugeline models evaluate skab --help"""


def add_to(commands: Any) -> None:
    """commands: what argparse' add_subparsers gave."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="run a public benchmark with the shipped runtime",
        description=_EVALUATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for each in BENCHMARKS:
        each.add_to(benchmarks)


def run(call: argparse.Namespace) -> int:
    """0 is success. Raises ModelError."""
    try:
        code: int = call.run(call)
    except ModuleNotFoundError as fault:
        raise ModelError(
            f"benchmarks need the package {fault.name!r}: pip install 'gaugeline[train]' (scoring does not need it)"
        ) from fault
    return code
