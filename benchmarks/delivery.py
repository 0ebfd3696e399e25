"""From the device's answer to the commit in the host's database: latency, bytes on the wire, and an outage's backlog.

1,000 tags at 1 Hz, deadband off, over a real mosquitto into DuckDB. Bytes are counted on the gateway's own connection,
both ways, keep-alives and confirmations included, TCP/IP's headers not. The backlog is what an outage of OUTAGE_S left;
its drain is timed from the new session's births until about a twentieth of it is left (what is left is not counted as
drained), while the live values' latency is taken by a host that started afresh.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.plant import Plant, running
from benchmarks.result import keep

TAGS = 1_000
SECONDS = 15.0
OUTAGE_S = 180.0
LAYOUTS = ((200, "{}"), (200, '{"compress": true}'), (20, "{}"))  # tags of a device: the fewer, the more messages


def steady(plant: Plant) -> dict[str, float]:
    """Latency and bytes while nothing goes wrong."""
    plant.restart_cloud()
    time.sleep(8.0)  # a restarted host asks for births: they are not part of a steady flow
    up, down, made = plant.link.counted.up, plant.link.counted.down, plant.produced()
    written = plant.process.io_counters().write_bytes
    began = time.monotonic()
    time.sleep(SECONDS)
    up, down = plant.link.counted.up - up, plant.link.counted.down - down
    made, took = plant.produced() - made, time.monotonic() - began
    written = plant.process.io_counters().write_bytes - written
    latency = plant.host.get("/api/stats")["latency_ms"]
    return {
        "samples_per_s": made / took,
        "latency_p50_ms": latency["p50"],
        "latency_p99_ms": latency["p99"],
        "bytes_up_per_sample": up / made,
        "bytes_down_per_sample": down / made,
        "card_bytes_per_sample": written / made,
        "card_mb_per_day": written / took * 86_400 / 1e6,
    }


def outage(plant: Plant) -> dict[str, float | None]:
    """How fast a backlog goes, and what the live values suffer meanwhile."""
    plant.link.cut()
    plant.cloud.end(15)
    time.sleep(OUTAGE_S)
    plant.cloud.start()
    plant.host.wait_ready(plant.cloud)
    waiting = plant.status()["outbox"]["pending_batches"]
    plant.link.mend()
    while plant.status()["uplink"]["state"] != "online":
        time.sleep(0.05)
    began = time.monotonic()
    status: dict[str, Any] = plant.status()
    # A twentieth: what is still under way then is mostly live.
    while status["outbox"]["pending_batches"] > waiting / 20 + 50 and time.monotonic() - began < OUTAGE_S:
        time.sleep(0.1)  # a status costs the gateway several milliseconds
        status = plant.status()
    took = time.monotonic() - began
    drained_s = OUTAGE_S * (1 - status["outbox"]["pending_batches"] / waiting)
    latency = plant.host.get("/api/stats")["latency_ms"]
    return {
        "backlog_batches": float(waiting),
        "drain_s": took,
        "drain_times_real_time": drained_s / took,
        "drain_samples_per_s": drained_s * TAGS / took,
        "live_latency_p99_ms_while_draining": latency["p99"],  # None: over before a live value came
    }


def main() -> None:
    figures: dict[str, object] = {"tags": TAGS, "seconds_each": SECONDS, "outage_s": OUTAGE_S}
    with tempfile.TemporaryDirectory() as name:
        for per_device, more in LAYOUTS:
            what = f"{per_device}_tags_a_device" + ("_compressed" if "compress" in more else "")
            with running(Path(name) / what, TAGS, per_device, more=more) as plant:
                found: dict[str, float | None] = {**steady(plant)}
                found |= outage(plant) if "compress" not in more else {}
            figures |= {f"{key}_{what}": None if value is None else round(value, 2) for key, value in found.items()}
    keep("delivery", figures)


if __name__ == "__main__":
    main()
