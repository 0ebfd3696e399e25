"""History from a running host: the tags of one asset between two times, over its HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np

from models.align import Course, aligned
from models.history import History
from wire.errors import ModelError

# The host thins what is more than so many points: each of _POINTS / 2 slices of the time keeps its lowest and its
# highest value. A piece of so many periods makes a slice half a period: nothing that a row needs is left out.
_POINTS, _PIECE_PERIODS = 20_000, 5_000
_TIMEOUT_S = 60.0
_BAD = 0


def read_store(
    url: str, asset: str, columns: Sequence[str], only_where: str, period_s: float, hold_s: float | None,
    from_ms: int, to_ms: int, told: Callable[[str, float], None] = lambda step, part: None,
) -> History:  # fmt: skip
    """url: as of `gaugeline cloud run --http`. Raises ModelError."""
    wanted = list(dict.fromkeys([*columns, *([only_where] if only_where else [])]))
    with httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT_S) as client:
        found = _asset(client, asset)
        tags = _tags(found, wanted, asset)
        courses: dict[str, Course] = {}
        for i, (name, tag) in enumerate(tags.items()):
            told(f"reading {name}", i / len(tags))
            place = {"group": found["group"], "node": found["node"], "device": tag["device"], "tag": tag["name"]}
            courses[name] = _course(client, place, from_ms, to_ms, max(1, round(_PIECE_PERIODS * period_s * 1000)))
    return aligned(courses, columns, only_where, period_s, hold_s, f"{url}, asset {asset}")


def _asset(client: httpx.Client, asset: str) -> Any:
    known = _get(client, "/api/assets", {})
    found = [each for each in known if each["id"] == asset]
    if len(found) != 1:
        trouble = "several gateways have an asset" if found else "no asset"
        names = ", ".join(sorted({str(each["id"]) for each in known})) or "none"
        raise ModelError(f"{client.base_url}: {trouble} {asset!r}; there are: {names}")
    return found[0]


def _tags(asset: Any, names: Sequence[str], asset_id: str) -> dict[str, Any]:
    by_name: dict[str, list[Any]] = {}
    for tag in asset["tags"]:
        by_name.setdefault(tag["name"], []).append(tag)
    for name in names:
        if len(by_name.get(name, ())) != 1:
            trouble = "has several tags" if name in by_name else "has no tag"
            raise ModelError(f"asset {asset_id} {trouble} {name!r}; it has: {', '.join(sorted(by_name))}")
    return {name: by_name[name][0] for name in names}


def _course(client: httpx.Client, place: dict[str, str], from_ms: int, to_ms: int, piece_ms: int) -> Course:
    found: dict[int, float] = {}
    for begin in range(from_ms, to_ms + 1, piece_ms):
        end = min(begin + piece_ms - 1, to_ms)
        said = _get(client, "/api/series", {**place, "from_ms": begin, "to_ms": end, "points": _POINTS})
        for ts_ms, value, quality in zip(said["t"], said["v"], said["q"], strict=True):
            found[ts_ms] = float("nan") if value is None or quality == _BAD else float(value)
    stamps = sorted(found)
    return Course(np.array(stamps, float) / 1000, np.array([found[ts_ms] for ts_ms in stamps], float))


def _get(client: httpx.Client, path: str, query: dict[str, Any]) -> Any:
    try:
        answer = client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as fault:
        raise ModelError(f"{client.base_url}: {path} answered {fault.response.status_code}") from fault
    except httpx.HTTPError as fault:
        raise ModelError(f"{client.base_url}: no answer ({fault}): does `gaugeline cloud run` listen there?") from fault
    except ValueError as fault:
        raise ModelError(f"{client.base_url}: {path} is not of a Gaugeline host") from fault
