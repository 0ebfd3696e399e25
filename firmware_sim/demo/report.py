"""The figures of one run of the demo, as JSON and as a few lines for a person."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from firmware_sim import yaml_lines
from firmware_sim.demo.chain import Chain
from firmware_sim.demo.host_api import HostTroubleError
from firmware_sim.demo.processes import DemoError, gaugeline
from firmware_sim.demo.site import GATEWAY, GROUP
from firmware_sim.demo.witness import compare_all, read_truth, served_values, standstills, true_windows

COUNTED = ("produced", "suppressed", "stored", "dead_letters", "dropped", "in_flight", "collided", "duplicates", "lost")
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

    lost = produced - stored - dead letters - dropped - in flight - collided, of the whole, per gateway and per device.
    """
    prefix = f"{GROUP}/{gateway}/"
    hosts = {name.removeprefix(prefix): entry for name, entry in balance["devices"].items()}
    devices: dict[str, dict[str, Any]] = {}
    for device in sorted(hosts.keys() | counters.keys()):
        entry = dict.fromkeys(COUNTED, 0) | {k: v for k, v in hosts.get(device, {}).items() if k in COUNTED}
        for name in ("produced", "suppressed"):
            entry[name] = counters.get(device, {}).get(name, 0)
        entry["lost"] = entry["produced"] - sum(entry[name] for name in OUT)
        devices[device] = entry
    summed = {name: sum(entry[name] for entry in devices.values()) for name in ("produced", "suppressed")}
    gateways = {}
    for name, told in balance["gateways"].items():
        gateways[name.rpartition("/")[2]] = entry = {**told, **summed} if name == prefix[:-1] else {**told}
        entry["lost"] = entry["produced"] - sum(entry[each] for each in OUT)
    total = {**balance, **summed}
    total["lost"] = total["produced"] - sum(total[name] for name in OUT)
    return {**total, "devices": devices, "gateways": gateways}


def gaps_of(device: str, site: Any, records: Sequence[Mapping[str, Any]]) -> int:
    """How many gap records name a line of this device; of an asset's scores, a line of any of its devices.

    site: site.yaml as read. records: those of `/api/records?kind=gap`.
    """
    of_asset = {each["id"]: set(each["devices"]) for each in site["assets"]}
    lines = {each["line"] for each in site["devices"] if each["id"] in of_asset.get(device, {device})}
    return sum(any(gap["line"] in lines for gap in record["lines"]) for record in records)


def overlap(detected: Sequence[tuple[int, int]], true: Sequence[tuple[int, int]]) -> bool:
    """True when some detected interval touches some true window."""
    return any(a <= d and c <= b for a, b in detected for c, d in true)


def make_report(chain: Chain, sampling_s: float, ended_ms: int) -> dict[str, Any]:
    """The report of a run whose gateway has ended and whose cloud still answers. Times in epoch milliseconds.

    `database` says why the database could not be asked, '' when it could. What only it knows is null then, and what
    the gateway's outbox holds is in flight.
    """
    counters = outbox_counters(chain.site)
    ran = {
        "rss_mb": {name: child.usage.rss_mb for name, child in chain.children.items()},
        "cpu_percent": {name: child.usage.cpu_percent for name, child in chain.children.items()},
        "sampling_s": round(sampling_s, 1),
        "started_ms": chain.started_ms,
        "ended_ms": ended_ms,
    }
    try:
        return {"database": "", **_with_database(chain, counters, ended_ms), **ran}
    except HostTroubleError as fault:
        return {"database": str(fault), **_without_database(chain, counters), **ran}


def _without_database(chain: Chain, counters: dict[str, dict[str, int]]) -> dict[str, Any]:
    known = ("produced", "suppressed", "dropped", "in_flight")
    devices = {
        device: {**dict.fromkeys((*COUNTED, "gaps")), **{name: entry[name] for name in known}}
        for device, entry in sorted(counters.items())
    }
    total = {
        **dict.fromkeys((*COUNTED, "gaps")),
        **{name: sum(entry[name] for entry in counters.values()) for name in known},
    }
    return {
        **total,
        "devices": devices,
        "gateways": {chain.gateway: total},
        "versions": {**versions(), "store": None, "broker": chain.broker_name},
    }


def _with_database(chain: Chain, counters: dict[str, dict[str, int]], ended_ms: int) -> dict[str, Any]:
    balance = reconcile(chain.api.balance(), counters, chain.gateway)
    site, gaps = yaml_lines.load(chain.site), chain.api.get("/api/records", kind="gap")
    devices = {device: {**entry, "gaps": gaps_of(device, site, gaps)} for device, entry in balance["devices"].items()}
    stats = chain.api.get("/api/stats")
    truth = list(read_truth(chain.truth))
    served = served_values(truth)
    known = {device for device, _ in served}
    tags = [tag for tag in chain.api.tags() if tag["device"] in known]
    until_ms = ended_ms + 60_000
    stored = [
        (t["device"], t["name"], [row[:2] for row in chain.api.raw_series(t, chain.started_ms, until_ms)]) for t in tags
    ]
    compared = compare_all(served, stored, standstills(ts_ms for _, _, rows in stored for ts_ms, _ in rows))
    detected = chain.api.anomalies(chain.started_ms, ended_ms)
    true = true_windows(truth, chain.started_ms, ended_ms)
    return {
        **{name: balance[name] for name in COUNTED},
        "gaps": balance["gaps"],
        "devices": devices,
        "gateways": balance["gateways"],
        "anomalies": {"detected": [list(d) for d in detected], "true": [list(t) for t in true]},
        "true_window_hit": overlap(detected, true),
        "values_compared": asdict(compared),
        "latency_ms": {"p50": stats["latency_ms"]["p50"], "p99": stats["latency_ms"]["p99"]},
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
    if report["database"]:
        return [
            f"the database was down to the end ({report['database']}); {report['in_flight']} samples wait in the "
            "gateway's outbox, and what is stored could not be counted"
        ]
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
    """The end of a run in a few lines."""
    if report["database"]:
        return (
            f"produced {report['produced']}, held back by deadband {report['suppressed']}, "
            f"in flight {report['in_flight']}, dropped {report['dropped']}; the database could not be asked"
        )
    compared, latency = report["values_compared"], report["latency_ms"]
    return (
        f"produced {report['produced']} = stored {report['stored']} + dead letters {report['dead_letters']}"
        f" + dropped {report['dropped']} + in flight {report['in_flight']} + collided {report['collided']}"
        f" + lost {report['lost']}\n"
        f"held back by deadband {report['suppressed']}; batches seen again {report['duplicates']}\n"
        f"{compared['checked']} stored values compared with the simulator's truth: {compared['wrong']} wrong\n"
        f"from the device's answer to the database: p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"
    )
