"""What the simulator costs: CPU of the process while 1,000 and 10,000 registers are read once a second over Modbus TCP.

The reader is a bare socket in this process: what is measured is the simulator alone, by its own process time. The
truth of every answer is written to a file, as in every test.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.result import keep

COUNTS = (1_000, 10_000)
SECONDS = 20
PER_READ = 125
SCENARIO = """\
name: load
lines: [{{name: tcp, kind: modbus-tcp}}]
devices:
  - id: plant
    model: registers
    line: tcp
    signals:
      - {{name: t, address: 0, count: {count}, scale: 0.1, source: {{kind: random_walk, mean: 500, amplitude: 400}}}}
"""


def read_all(connection: socket.socket, count: int) -> None:
    """One round: every register once, one request after the other."""
    for address in range(0, count, PER_READ):
        wanted = min(PER_READ, count - address)
        connection.sendall(struct.pack(">HHHBBHH", address // PER_READ, 0, 6, 1, 3, address, wanted))
        left = 9 + 2 * wanted
        while left:
            left -= len(connection.recv(left))


def measure(folder: Path, count: int) -> tuple[float, float, float]:
    """(share of a core in per cent, RSS in MiB, milliseconds of one round) at one round a second."""
    scenario = folder / f"load{count}.yaml"
    scenario.write_text(SCENARIO.format(count=count))
    command = [sys.executable, "-m", "gaugeline", "sim", "run", str(scenario), "--truth", str(folder / "truth.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            [device] = json.loads(simulator.stdout.readline())["devices"]
            process = psutil.Process(simulator.pid)
            with socket.create_connection((device["host"], device["port"])) as connection:
                read_all(connection, count)
                used = sum(process.cpu_times()[:2])
                begin, busy = time.monotonic(), 0.0
                for second in range(SECONDS):
                    time.sleep(max(0.0, begin + second - time.monotonic()))
                    round_begin = time.monotonic()
                    read_all(connection, count)
                    busy += time.monotonic() - round_begin
                taken = time.monotonic() - begin
                used = sum(process.cpu_times()[:2]) - used
            return 100 * used / max(taken, SECONDS), process.memory_info().rss / 2**20, 1000 * busy / SECONDS
        finally:
            simulator.terminate()


def main() -> int:
    figures: dict[str, object] = {"seconds_each": SECONDS, "registers_per_read": PER_READ}
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            core, rss, round_ms = measure(Path(folder), count)
            figures[f"core_percent_{count}_registers_1_hz"] = round(core, 2)
            figures[f"rss_mib_{count}_registers"] = round(rss, 1)
            figures[f"round_ms_{count}_registers"] = round(round_ms, 1)
    keep("simulator_load", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
