"""The figures of one run of the demo, as JSON and as a few lines for a person."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from firmware_sim.demo.chain import Chain
from firmware_sim.demo.processes import DemoError, gaugeline
from firmware_sim.demo.site import GATEWAY, GROUP
from firmware_sim.demo.witness import compare_all, read_truth, served_values, true_windows

COUNTED = ("produced", "suppressed", "stored", "dead_letters", "dropped", "in_flight", "collided", "duplicates", "lost")
PER_DEVICE = tuple(name for name in COUNTED if name != "duplicates")  # a batch seen again is counted per gateway
PACKAGES = ("gaugeline", "pymodbus", "onnxruntime", "protobuf")
NOTICED_WITHIN_MS = (
    15_000  # the demo's model needs some 2 s; a run that ends right after the failure began says nothing
)
OUT = ("stored", "dead_letters", "dropped", "in_flight", "collided")


def outbox_counters(site: Path) -> dict[str, dict[str, int]]:
    """Device -> counters, asked of the gateway's own outbox file after the gateway has ended."""
    command = gaugeline("gateway", "status", str(site), "--json")
    answer = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
    if not answer.stdout:  # its exit code says how the gateway is
        raise DemoError(f"the outbox could not be read: {answer.stderr.strip()}")
    counters: dict[str, dict[str, int]] = json.loads(answer.stdout)["devices"]
    return counters


def reconcile(balance: dict[str, Any], counters: dict[str, dict[str, int]], gateway: str = GATEWAY) -> dict[str, Any]:
    """The host's balance with `produced` as the outbox counted it, so that nobody marks his own work.

    lost = produced - stored - dead letters - dropped - in flight - collided, of the whole and per device.
    """
    prefix = f"{GROUP}/{gateway}/"
    hosts = {name.removeprefix(prefix): entry for name, entry in balance["devices"].items()}
    devices: dict[str, dict[str, Any]] = {}
    for device in sorted(hosts.keys() | counters.keys()):
        entry = dict.fromkeys(PER_DEVICE, 0) | {k: v for k, v in hosts.get(device, {}).items() if k in PER_DEVICE}
        for name in ("produced", "suppressed"):
            entry[name] = counters.get(device, {}).get(name, 0)
        entry["lost"] = entry["produced"] - sum(entry[name] for name in OUT)
        devices[device] = entry
    total = {**balance, **{name: sum(entry[name] for entry in devices.values()) for name in ("produced", "suppressed")}}
    total["lost"] = total["produced"] - sum(total[name] for name in OUT)
    return {**total, "devices": devices}


def overlap(detected: Sequence[tuple[int, int]], true: Sequence[tuple[int, int]]) -> bool:
    """True when some detected interval touches some true window."""
    return any(a <= d and c <= b for a, b in detected for c, d in true)


def make_report(chain: Chain, sampling_s: float, ended_ms: int) -> dict[str, Any]:
    """The report of a run whose gateway has ended and whose cloud still answers. Times in epoch milliseconds."""
    balance = reconcile(chain.api.balance(), outbox_counters(chain.site), chain.gateway)
    stats = chain.api.get("/api/stats")
    truth = list(read_truth(chain.truth))
    served = served_values(truth)
    known = {device for device, _ in served}
    tags = [tag for tag in chain.api.tags() if tag["device"] in known]
    until_ms = ended_ms + 60_000
    stored = (
        (t["device"], t["name"], [row[:2] for row in chain.api.raw_series(t, chain.started_ms, until_ms)]) for t in tags
    )
    compared = compare_all(served, stored)
    detected = chain.api.anomalies(chain.started_ms, ended_ms)
    true = true_windows(truth, chain.started_ms, ended_ms)
    return {
        **{name: balance[name] for name in COUNTED},
        "gaps": balance["gaps"],
        "devices": balance["devices"],
        "anomalies": {"detected": [list(d) for d in detected], "true": [list(t) for t in true]},
        "true_window_hit": overlap(detected, true),
        "values_compared": asdict(compared),
        "latency_ms": {"p50": stats["latency_ms"]["p50"], "p99": stats["latency_ms"]["p99"]},
        "rss_mb": {name: child.usage.rss_mb for name, child in chain.children.items()},
        "cpu_percent": {name: child.usage.cpu_percent for name, child in chain.children.items()},
        "sampling_s": round(sampling_s, 1),
        "started_ms": chain.started_ms,
        "ended_ms": ended_ms,
        "versions": {**versions(), **stats["versions"], "store": stats["store"], "broker": chain.broker_name},
    }


def versions() -> dict[str, str]:
    """Of the packages that gateway and simulator run on; all processes of the demo share one environment."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # no onnxruntime on a 32-bit machine
            found[name] = version(name)
    return found


def write_report(report: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def shortcomings(report: dict[str, Any]) -> list[str]:
    """What a person must be told about the run; empty when all is as promised."""
    found = []
    if report["lost"] != 0:
        found.append(f"{report['lost']} samples are neither stored nor on a list that says why not")
    if report["dead_letters"] or report["collided"]:
        found.append(f"{report['dead_letters']} dead letters, {report['collided']} collided samples")
    if not report["stored"]:
        found.append("nothing was stored: see the logs of gateway, broker and cloud")
    true = report["anomalies"]["true"]
    if not report["true_window_hit"] and any(end - begin > NOTICED_WITHIN_MS for begin, end in true):
        found.append("the machine's failure was not noticed by its model")
    if report["values_compared"]["wrong"]:
        found.append(
            f"{report['values_compared']['wrong']} of {report['values_compared']['checked']} stored values "
            "were never served by the simulator"
        )
    return found


def summary(report: dict[str, Any]) -> str:
    """The end of a run in four lines."""
    compared, latency = report["values_compared"], report["latency_ms"]
    return (
        f"produced {report['produced']} = stored {report['stored']} + dead letters {report['dead_letters']}"
        f" + dropped {report['dropped']} + in flight {report['in_flight']} + collided {report['collided']}"
        f" + lost {report['lost']}\n"
        f"held back by deadband {report['suppressed']}; batches seen again {report['duplicates']}\n"
        f"{compared['checked']} stored values compared with the simulator's truth: {compared['wrong']} wrong\n"
        f"from the device's answer to the database: p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"
    )
