"""The demo's questions to the cloud host, over its HTTP API."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

from firmware_sim.demo.processes import Child, DemoError


class HostTroubleError(DemoError):
    """The host answers, and says that it cannot serve this now."""


def _detail(fault: urllib.error.HTTPError) -> str:
    """What a problem+json answer says, else its status."""
    text = fault.read(10_000).decode(errors="replace")
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{fault.url} answered {fault.code} {fault.reason}"


SLICE_MS, MOST_POINTS = 300_000, 20_000  # a tag at 10 Hz fills 3,000 of them


class Row(NamedTuple):
    """One stored sample: UTC epoch ms, the value as a number (None: BAD, or a text), the OPC quality code."""

    ts_ms: int
    value: float | None
    quality: int


class HostApi:
    """A small client of the host's JSON API. url: http://HOST:PORT, on this machine."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, timeout_s: float = 10.0, **query: str | int) -> Any:
        """The JSON of one answer. Raises DemoError when the host does not answer, or answers with an error."""
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310  # an address of our own
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            raise HostTroubleError(_detail(fault)) from fault
        except (OSError, ValueError) as fault:
            raise DemoError(f"{url} does not answer: {fault}") from fault

    def wait_ready(self, cloud: Child, timeout_s: float = 30.0) -> None:
        until = time.monotonic() + timeout_s
        while True:
            cloud.check()
            try:
                self.get("/api/health", timeout_s=2.0)
            except DemoError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def balance(self) -> dict[str, Any]:
        """produced, stored, lost, ... of the whole and per device; see docs/delivery.md."""
        found: dict[str, Any] = self.get("/api/balance")
        return found

    def anomalies(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        """When assets were unusual: [from_ms, to_ms] in wall time, by their stored `anomaly` tags."""
        detected = self.get("/api/anomalies", from_ms=from_ms, to_ms=to_ms)["detected"]
        return sorted((int(d["from_ms"]), int(d["to_ms"])) for d in detected)

    def tags(self) -> list[dict[str, Any]]:
        """Every tag of every asset, with its group, node and device."""
        return [
            {**tag, "group": asset["group"], "node": asset["node"]}
            for asset in self.get("/api/assets")
            for tag in asset["tags"]
        ]

    def raw_series(self, tag: dict[str, Any], from_ms: int, to_ms: int) -> list[Row]:
        """All stored samples of one tag between two times, asked for slice by slice so that none is thinned out.

        Raises DemoError when a slice holds more samples than the host gives at once.
        """
        rows: list[Row] = []
        for begin_ms in range(from_ms, to_ms, SLICE_MS):
            found = self.get(
                "/api/series",
                timeout_s=30.0,
                group=tag["group"],
                node=tag["node"],
                device=tag["device"],
                tag=tag["name"],
                from_ms=begin_ms,
                to_ms=min(begin_ms + SLICE_MS, to_ms),
                points=MOST_POINTS,
            )
            if found["source"] != "raw" or len(found["t"]) >= MOST_POINTS // 2:
                raise DemoError(f"too many samples of {tag['name']} in one slice to compare them one by one")
            rows += [Row(*each) for each in zip(found["t"], found["v"], found["q"], strict=True)]
        return rows
