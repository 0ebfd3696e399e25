"""`gaugeline demo`: the whole chain on this machine, with a live line and a report."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from firmware_sim.demo.chain import Chain, DemoSettings
from firmware_sim.demo.host_api import HostTroubleError
from firmware_sim.demo.processes import DemoError
from firmware_sim.demo.report import make_report, shortcomings, summary, write_report

HELP = """\
Runs simulated devices, a gateway, a broker, the cloud host and its page on this machine, with no server to
install, until Ctrl-C or for a number of seconds. The machine's temperature, the road's speed and occupancy are
recordings of the Numenta Anomaly Benchmark (MIT); everything else is seeded physics.
"""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="gaugeline demo",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: gaugeline demo --for 60 --report report.json",
    )
    found.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="stop sampling after so long")
    found.add_argument("--report", type=Path, metavar="FILE", help="write the figures of the run as JSON")
    found.add_argument(
        "--store", default="", metavar="URL", help="influxdb+v1://HOST:PORT/DATABASE instead of the embedded DuckDB"
    )
    found.add_argument("--http", default="127.0.0.1:8080", metavar="HOST:PORT", help="where the page is served")
    found.add_argument(
        "--broker-port", type=int, default=0, metavar="PORT", help="the broker's port (default: any free)"
    )
    found.add_argument("--embedded-broker", action="store_true", help="amqtt, even where mosquitto is installed")
    found.add_argument("--folder", type=Path, default=Path("var/demo"), metavar="DIR", help="emptied at every start")
    found.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the simulated physics")
    return found


class LiveLine:
    """One line that is written over on a terminal, or a new line now and then in a log."""

    def __init__(self, every_s: float) -> None:
        self.terminal = sys.stdout.isatty()
        self.every_s = 1.0 if self.terminal else every_s
        self.next_s = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self.next_s

    def show(self, text: str) -> None:
        self.next_s = time.monotonic() + self.every_s
        if self.terminal:
            text = "\r\x1b[2K" + text[: shutil.get_terminal_size().columns - 1]  # a longer one could not be wiped out
        sys.stdout.write(text if self.terminal else f"{text}\n")
        sys.stdout.flush()

    def end(self) -> None:
        if self.terminal:
            sys.stdout.write("\n")


def say(text: str) -> None:
    print(text, flush=True)


def raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def live_text(chain: Chain) -> str:
    """What became of the samples so far, in one line of less than 100 characters; or what the host's trouble is."""
    try:
        balance = chain.api.balance()
        anomalies = len(chain.api.anomalies(chain.started_ms, time.time_ns() // 1_000_000))
    except HostTroubleError as fault:
        return f"sampling goes on, the gateway keeps what it takes: {fault}"
    return counts_text(balance, anomalies)


def counts_text(balance: dict[str, Any], anomalies: int) -> str:
    return (
        f"produced {balance['produced']:>7}  stored {balance['stored']:>7}  in flight {balance['in_flight']:>5}"
        f"  dropped {balance['dropped']:>3}  anomalies {anomalies:>2}"
    )


def watch(chain: Chain, seconds: float | None) -> float:
    """Shows the live line until the time is over or Ctrl-C. Returns for how long samples were taken."""
    line = LiveLine(every_s=5.0)
    began_s = time.monotonic()
    try:
        while seconds is None or time.monotonic() - began_s < seconds:
            chain.check()
            if line.due():
                line.show(f"{time.monotonic() - began_s:4.0f} s  {live_text(chain)}")
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        line.end()
    return time.monotonic() - began_s


def run(settings: DemoSettings, seconds: float | None, report: Path | None, tell: Callable[[str], None] = say) -> int:
    """Exit code 0 when the run ended as promised, 1 when not."""
    chain = Chain(settings, tell)
    try:
        tell("Gaugeline demo: what runs, and where its logs are: " + str(chain.folder))
        chain.start()
        tell("data       temperature, road speed and occupancy: recordings (NAB, MIT); all else: seeded physics")
        tell(f"page       {chain.api.url}/   (Ctrl-C ends everything)")
        sampling_s = watch(chain, seconds)
        tell("sampling stopped; delivering what is still held (at most 10 s) ...")
        try:
            chain.stop_sampling()
            figures = make_report(chain, sampling_s, time.time_ns() // 1_000_000)
        except KeyboardInterrupt as fault:
            raise DemoError("stopped while the last samples were on their way: no figures of this run") from fault
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave a process behind
        chain.stop()
    tell(summary(figures))
    if report is not None:
        write_report(figures, report)
        tell(f"report     {report}")
    problems = shortcomings(figures)
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    return 1 if problems else 0


def check(options: argparse.Namespace) -> tuple[str, int]:
    """Host and port of the page. A wrong call ends here, before anything was started."""
    host, _, port = options.http.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        parser().error(f"--http wants HOST:PORT with a port from 1 to 65535, not {options.http!r}")
    if not 0 <= options.broker_port < 65536:
        parser().error(f"--broker-port wants 1 to 65535, or 0 for any free one, not {options.broker_port}")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        parser().error(f"--for wants seconds above 0, not {options.seconds}")
    if options.report is not None:
        try:
            options.report.parent.mkdir(parents=True, exist_ok=True)
            options.report.open("a").close()
        except OSError as fault:
            parser().error(f"--report {options.report} cannot be written: {fault.strerror}")
    return host, int(port)


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    host, port = check(options)
    settings = DemoSettings(
        folder=options.folder,
        http_host=host,
        http_port=port,
        broker_port=options.broker_port,
        store=options.store,
        seed=options.seed,
        embedded_broker=options.embedded_broker,
    )
    signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        return run(settings, options.seconds, options.report)
    except DemoError as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    except OSError as fault:  # a full disk, a folder that cannot be made, a reader of our output that has gone
        sys.stderr.write(f"error: {fault}; choose another --folder or --report, or make room\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("ended before everything had started\n")
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
