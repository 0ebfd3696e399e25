"""A gateway's status in the text format of Prometheus. Names and units follow its conventions; labels are bounded
by site.yaml (lines, devices) or by short lists of words (kinds, causes, states)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

UPLINK_STATES = ("down", "connecting", "waiting for host", "online")
CLOCK_STATES = ("synchronised", "not synchronised", "unknown")
BASELINE_STATES = ("learning", "follows", "frozen", "relearning", "suspended")
FAULTS = ("timeouts", "refused", "garbled")
# What the uplink's counters are called, and what they are. Those that a gateway does not have are left out.
_UPLINK = {
    "sessions": "MQTT sessions begun",
    "births": "Birth sequences said",
    "published": "Batches published, those that were sent again included",
    "resent": "Batches sent again because nobody confirmed them in time",
    "confirmed": "Batches confirmed by the hosts",
    "confirmed_again": "Confirmations of batches that were confirmed before",
    "refilled": "Batches that a host asked for again",
    "conflicts": "Batches parked because a host holds another one under their key",
}
_SAMPLES = {
    "produced": "Samples committed to the outbox",
    "suppressed": "Samples held back by the deadband",
    "refused": "Samples not taken because policy or disk said so",
    "dropped": "Samples evicted before their confirmation",
    "parked": "Samples of batches that contradict what the host holds",
}
_CAUSE = "rebirths: "

Status = Mapping[str, Any]
Families = Iterator[Metric]


def exposition(status: Status) -> bytes:
    """status: as `gaugeline gateway status --json` gives it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(status))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Families:
        yield from _gateway(self._status)
        yield from _outbox(self._status)
        yield from _samples(self._status["devices"])
        yield from _uplink(self._status["uplink"])
        yield from _lines(self._status["lines"])
        yield from _scoring(self._status["scoring"])
        yield from _box(self._status["box"], self._status["kernel_clock"])
        yield from _loop(self._status["loop"])


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gaugeline_{name}", about, value=value)


def _counter(name: str, about: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"gaugeline_{name}", about, value=value)


def _states(name: str, about: str, states: tuple[str, ...], now: str) -> GaugeMetricFamily:
    found = GaugeMetricFamily(f"gaugeline_{name}", about, labels=["state"])
    for state in states if now in states else (*states, now):
        found.add_metric([state], float(state == now))
    return found


def _gateway(status: Status) -> Families:
    info = {"group": status["group"], "gateway": status["gateway"], "version": status["versions"].get("gaugeline", "")}
    yield InfoMetricFamily("gaugeline_gateway", "Which gateway this is", value=info)
    yield _gauge("uptime_seconds", "Since the start of the process", status["uptime_s"])
    yield _gauge("problems", "What `gaugeline gateway status` calls a problem", len(status["problems"]))
    restarts = CounterMetricFamily("gaugeline_task_restarts", "Tasks that failed and were restarted", labels=["task"])
    for task, count in status["restarts"].items():
        restarts.add_metric([task], count)
    yield restarts
    stalled = GaugeMetricFamily("gaugeline_stalled", "1 for a part that stands still", labels=["part"])
    for part in status["stalled"]:
        stalled.add_metric([part], 1)
    yield stalled
    config = status["config"]
    yield _counter("config_reloads", "Times that a changed site.yaml was taken", config["reloads"])
    yield _gauge("config_refused", "1 while a changed site.yaml is not used as it is", float(bool(config["error"])))
    scored = status["scored"]
    yield _counter("scoring_rows", "Rows scored by models", scored["rows"])
    yield _counter("scoring_seconds", "Time spent on scoring, looking for complete rows included", scored["seconds"])


def _outbox(status: Status) -> Families:
    outbox = status["outbox"]
    yield _gauge("outbox_answers", "0 while the disk under the outbox does not answer", float(outbox["answers"]))
    yield _gauge("outbox_waiting_batches", "Batches that wait for a confirmation", outbox["pending_batches"])
    if "oldest_age_s" not in outbox:
        return  # the disk has never answered
    yield _gauge("outbox_waiting_samples", "Samples that wait for a confirmation", outbox["waiting_samples"])
    yield _gauge("outbox_uncommitted_samples", "Samples in memory that wait for a commit", outbox["pending_samples"])
    yield _gauge("outbox_oldest_age_seconds", "Age of the oldest batch that waits, 0 if none", outbox["oldest_age_s"])
    yield _gauge("outbox_kept_bytes", "Space that all batches take, confirmed ones included", outbox["bytes"])
    yield _gauge("outbox_limit_bytes", "Space that they may take", outbox["limit_bytes"])
    yield _gauge("outbox_gap_lines", "Lines with a gap on record, over all starts", len(status["gaps"]))
    yield _counter("outbox_commits", "Commits", outbox["commits"])
    yield _counter("outbox_commit_failures", "Commits that the disk refused", outbox["failures"])
    about = "Time of a commit: encoding, writing and syncing"
    yield _histogram("outbox_commit_seconds", about, outbox["commit_took"]["buckets"], outbox["commit_took"]["sum_s"])


def _samples(devices: Mapping[str, Mapping[str, int]]) -> Families:
    for name, about in _SAMPLES.items():
        found = CounterMetricFamily(f"gaugeline_samples_{name}", about, labels=["device"])
        for device, counters in devices.items():
            found.add_metric([device], counters[name])
        yield found
    # Not counters: a confirmed batch may be asked for again.
    for name, about in (("confirmed", "Samples confirmed"), ("in_flight", "Samples that wait for a confirmation")):
        gauge = GaugeMetricFamily(f"gaugeline_samples_{name}", about, labels=["device"])
        for device, counters in devices.items():
            gauge.add_metric([device], counters[name])
        yield gauge


def _uplink(uplink: Status) -> Families:
    yield _gauge("uplink_connected", "1 while data reaches a broker and a host", float(uplink["state"] == "online"))
    yield _states("uplink_state", "1 for the state of the uplink", UPLINK_STATES, uplink["state"])
    yield InfoMetricFamily("gaugeline_uplink_broker", "The broker in use, or tried", value={"broker": uplink["broker"]})
    for name, about in _UPLINK.items():
        if name in uplink:
            kind = "messages" if name == "published" else "batches"
            full = f"uplink_{name}" if name in ("sessions", "births") else f"uplink_{name}_{kind}"
            yield _counter(full, about, uplink[name])
    yield _gauge("uplink_live_batches", "Batches that wait to be published for the first time", uplink["live_waiting"])
    yield _gauge("uplink_unconfirmed_batches", "Batches published and not yet confirmed", uplink["under_way"])
    if uplink["round_trip_ms"] is not None:
        about = "From publishing a batch to its confirmation"
        yield _gauge("uplink_round_trip_seconds", about, uplink["round_trip_ms"] / 1000)
    rebirths = CounterMetricFamily("gaugeline_uplink_rebirths", "Births said again, by cause", labels=["cause"])
    causes = {k.removeprefix(_CAUSE): v for k, v in uplink.items() if k.startswith(_CAUSE)}
    for cause, count in (causes or {"unknown": uplink["rebirths"]}).items():
        rebirths.add_metric([cause], count)
    yield rebirths


def _lines(lines: Mapping[str, Status]) -> Families:
    is_open = GaugeMetricFamily("gaugeline_line_open", "1 while the line is open", labels=["line"])
    late = CounterMetricFamily("gaugeline_line_late_answers", "Late answers that were rejected", labels=["line"])
    overruns = CounterMetricFamily("gaugeline_line_overruns", "Polls left out after a slow one", labels=["line"])
    reconnects = CounterMetricFamily("gaugeline_line_reconnects", "Times that it was opened anew", labels=["line"])
    up = GaugeMetricFamily("gaugeline_device_answering", "1 while the device answers", labels=["line", "device"])
    polls = CounterMetricFamily("gaugeline_device_polls", "Polls of a device", labels=["line", "device"])
    answers = CounterMetricFamily("gaugeline_device_answers", "Polls that it answered", labels=["line", "device"])
    faults = CounterMetricFamily("gaugeline_device_faults", "Faults by kind", labels=["line", "device", "kind"])
    heard = GaugeMetricFamily(
        "gaugeline_device_last_answer_timestamp_seconds", "When it answered last", labels=["line", "device"]
    )
    for name, line in lines.items():
        is_open.add_metric([name], float(line["state"] == "open"))
        late.add_metric([name], line["late_rejected"])
        overruns.add_metric([name], line["overruns"])
        reconnects.add_metric([name], line["reconnects"])
        for device, unit in line["units"].items():
            up.add_metric([name, device], float(unit["state"] == "answering"))
            polls.add_metric([name, device], unit["polls"])
            answers.add_metric([name, device], unit["answers"])
            for kind in (*FAULTS, "unparsed"):
                faults.add_metric([name, device, kind.removesuffix("s")], unit[kind])
            if unit["last_answer_ms"] is not None:
                heard.add_metric([name, device], unit["last_answer_ms"] / 1000)
    yield from (is_open, late, overruns, reconnects, up, polls, answers, faults, heard)


def _scoring(scoring: Mapping[str, Status]) -> Families:
    on = GaugeMetricFamily("gaugeline_asset_scored", "1 while the model of an asset runs", labels=["asset"])
    gone = GaugeMetricFamily("gaugeline_asset_missing_inputs", "Tags without which it is judged now", labels=["asset"])
    state = GaugeMetricFamily("gaugeline_baseline_state", "1 for the state of the baseline", labels=["asset", "state"])
    drift = GaugeMetricFamily(
        "gaugeline_baseline_drift", "How far normal has moved, in the tag's unit", labels=["asset", "tag"]
    )
    notices = GaugeMetricFamily("gaugeline_baseline_notices", "What a person should look at", labels=["asset"])
    renewed = CounterMetricFamily(
        "gaugeline_baseline_recalibrations", "Own centres learnt, levels accepted or recognised", labels=["asset"]
    )
    refused = CounterMetricFamily(
        "gaugeline_baseline_refused_rows", "Rows not learnt from: in alarm, or beyond the threshold", labels=["asset"]
    )
    for asset, scored in scoring.items():
        if scored["state"]:
            on.add_metric([asset], float(scored["state"] == "on"))
        gone.add_metric([asset], len(scored.get("missing", ())))
        if (baseline := scored.get("baseline")) is None:
            continue
        for name in BASELINE_STATES:
            state.add_metric([asset, name], float(name == baseline["state"]))
        for tag, amount in baseline["drift"].items():
            drift.add_metric([asset, tag], amount)
        notices.add_metric([asset], len(baseline["notices"]))
        renewed.add_metric([asset], baseline["recalibrations"])
        refused.add_metric([asset], baseline["refused_rows"])
    yield from (on, gone, state, drift, notices, renewed, refused)


def _box(box: Status, clock: Status) -> Families:
    """process_* are the names that every Prometheus client uses."""
    yield CounterMetricFamily("process_cpu_seconds", "User and system CPU time", value=box["cpu_s"])
    yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory", value=box["rss_bytes"])
    yield GaugeMetricFamily("process_open_fds", "Open file descriptors", value=box["open_fds"])
    if box["temperature_celsius"]:
        zones = GaugeMetricFamily("gaugeline_board_temperature_celsius", "Temperature of the board", labels=["zone"])
        for zone, celsius in box["temperature_celsius"].items():
            zones.add_metric([zone], celsius)
        yield zones
    yield _states("clock_state", "1 for the state of the clock", CLOCK_STATES, clock["state"])
    if clock["max_error_s"] is not None:
        yield _gauge("clock_max_error_seconds", "How wrong the clock may be", clock["max_error_s"])


def _loop(loop: Status) -> Families:
    about = "How much later than wanted the loop woke"
    yield _histogram("event_loop_lag_seconds", about, loop["lag_buckets"], loop["lag_sum_s"])


def _histogram(
    name: str, about: str, buckets: Sequence[tuple[float | None, int]], sum_s: float
) -> HistogramMetricFamily:
    """buckets: (upper bound in seconds, count up to it), as gateway.histogram gives them; the last bound is None."""
    found = HistogramMetricFamily(f"gaugeline_{name}", about)
    found.add_metric([], [("+Inf" if bound is None else str(bound), n) for bound, n in buckets], sum_value=sum_s)
    return found
