"""Every documented route gives what its document promises, and refuses the rest in words."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cloud.api.balance_shapes import BalanceFound, WindowFound
from cloud.balance import Balance, Counts
from cloud.store.port import DeviceId
from cloud.window import Window, WindowAudit
from tests.cloud.api.conftest import BATCHES, NODES, Plant
from tests.cloud.small_gateway import T0
from wire.ids import NodeId

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/api/events"
WRITES = "/api/backup"  # into any folder of this machine that is asked for
WHOLE = ("/api/window", "/api/export", "/api/aggregates")
"""Asked with every parameter that is known, also those that may be left out."""
PARAMETERS: dict[str, Any] = {
    "from_ms": T0, "to_ms": T0 + 60_000, "group": "plant-1", "node": "gw-1", "device": "pump-1", "tag": "flow",
    "asset": "pump-1", "gateway": "plant-1/gw-1",
}  # fmt: skip


@cache
def _document(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    return found


def document(plant: Plant) -> dict[str, Any]:
    return _document(plant.url)


def operations(plant: Plant) -> list[tuple[str, str, dict[str, Any]]]:
    return [(p, m, one) for p, methods in document(plant)["paths"].items() for m, one in methods.items()]


def fits(plant: Plant, schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document(plant)["components"]}
    jsonschema_rs.validator_for(whole).validate(value)


def test_every_route_has_a_summary_examples_and_every_error(plant: Plant) -> None:
    found = operations(plant)
    assert {"/api/sites", "/api/tags", "/api/values", "/api/ledger", "/api/export"} <= {path for path, _, _ in found}
    schemas = document(plant)["components"]["schemas"]
    for path, method, operation in found:
        what = f"{method} {path}"
        assert operation["summary"] and len(operation["summary"]) < 100, what
        assert operation["tags"], what
        assert all("description" in p or p["name"] in ("tag", "asset", "kind", "format", "letter")
                   for p in operation.get("parameters", [])), what  # fmt: skip
        errors = {status: r for status, r in operation["responses"].items() if status != "200"}
        assert {"403", "421", "500", "503"} <= set(errors), what
        assert ("422" in errors) == bool(operation.get("parameters") or operation.get("requestBody")), what
        for status, answer in errors.items():
            ((media, content),) = answer["content"].items()
            assert media == "application/problem+json", what
            fits(plant, content["schema"], content["example"])
            assert content["example"]["status"] == int(status)
        for content in operation["responses"]["200"]["content"].values():
            assert _examples(content, schemas), what
            if content.get("schema", {}).get("type") != "string":
                for example in _examples(content, schemas):
                    fits(plant, content["schema"], example)


def _examples(content: dict[str, Any], schemas: dict[str, Any]) -> list[Any]:
    """As the content has them, or made of those of the schema."""
    if "example" in content:
        return [content["example"]]
    schema = content["schema"]
    if schema.get("type") == "array":
        return [[example] for example in _examples({"schema": schema["items"]}, schemas)]
    if "additionalProperties" in schema:
        return [{"sample": e} for e in _examples({"schema": schema["additionalProperties"]}, schemas)]
    named = schemas[schema["$ref"].rpartition("/")[2]]
    if "items" in named.get("properties", {}):  # a page
        items = _examples({"schema": named["properties"]["items"]}, schemas)
        return [{"items": page, "next": None} for page in items]
    return list(named.get("examples", []))


def test_real_answers_are_as_documented_and_not_empty(plant: Plant) -> None:
    with httpx.Client(base_url=plant.url, trust_env=False, timeout=30) as http:
        for path, method, operation in operations(plant):
            if method != "get" or path == ENDLESS:
                continue
            asked: dict[str, str | int] = {
                p["name"]: PARAMETERS[p["name"]]
                for p in operation.get("parameters", [])
                if p["name"] in PARAMETERS and (p["required"] or path in WHOLE)
            }
            asked.pop("gateway", None)
            answer = http.get(path.replace("{letter}", "1"), params=asked)
            if path == "/api/energy/today":
                assert answer.status_code == 404, "nothing measures energy here"
                fits(plant, {"$ref": "#/components/schemas/Problem"}, answer.json())
                continue
            assert answer.status_code == 200, answer.text
            media = answer.headers["content-type"]
            content = operation["responses"]["200"]["content"]
            if "json" in media:
                fits(plant, content[media]["schema"], answer.json())
            else:
                assert media.partition(";")[0] in {kind.partition(";")[0] for kind in content}
            assert len(answer.content) > 2 or path in ("/api/records", "/api/anomalies"), path


def test_what_the_new_routes_say(plant: Plant) -> None:
    with httpx.Client(base_url=plant.url, trust_env=False, timeout=30) as http:
        sites = http.get("/api/sites").json()
        assert [(s["id"], s["online"], s["tags"]) for s in sites["items"]] == [("plant-1", 0, 2), ("plant-2", 0, 2)]
        (gateway,) = sites["items"][0]["gateways"]
        assert (gateway["id"], gateway["devices"], gateway["tags"], gateway["online"]) == ("gw-1", 2, 2, False)
        assert min(gateway["heard_ms"], gateway["since_ms"]) > T0
        assert gateway["balance"] == sites["items"][0]["balance"]
        assert gateway["balance"] == {
            "ok": True, "produced": 2 * BATCHES + 1, "stored": 2 * BATCHES, "in_flight": 0, "dead_letters": 1,
            "dropped": 0, "collided": 0, "lost": 0,
        }  # fmt: skip
        without = http.get("/api/sites", params={"balance": False, "limit": 1}).json()
        assert (without["items"][0]["balance"], len(without["items"])) == (None, 1)
        rest = http.get("/api/sites", params={"after": without["next"]}).json()
        assert ([s["id"] for s in rest["items"]], rest["next"]) == (["plant-2"], None)
        (tag,) = http.get("/api/tags", params={"group": "plant-1", "device": "pump-1", "name": "FLO"}).json()["items"]
        assert (tag["tag"], tag["unit"], tag["datatype"], tag["value"]) == ("flow", "bar", "DOUBLE", BATCHES - 1.0)
        assert (tag["ts_ms"], tag["quality"], tag["reason"]) == (T0 + 1000 * (BATCHES - 1), 0, "stale")
        assert http.get("/api/tags", params={"asset": "nothing"}).json() == {"items": [], "next": None}
        (value,) = http.get("/api/values", params={"group": "plant-2", "device": "fan-1"}).json()["items"]
        assert (value["value"], value["unit"]) == (1.0 - BATCHES, "bar")
        (asset,) = http.get("/api/assets", params={"group": "plant-2", "asset": "fan-1"}).json()
        assert (asset["id"], asset["group"]) == ("fan-1", "plant-2")
        asked: dict[str, Any] = {
            "group": "plant-1",
            "node": "gw-1",
            "device": "fan-1",
            "number_from": 3,
            "number_to": 6,
        }
        entries = http.get("/api/ledger", params=asked).json()["items"]
        assert [(e["number"], e["samples"], e["stored"], e["dead_letters"]) for e in entries] == [
            (4, 1, 1, 0), (6, 1, 1, 0),
        ]  # fmt: skip
        assert all(len(e["digest"]) == 32 and e["first_ms"] == e["last_ms"] >= T0 for e in entries)
        asked = {"from_ms": T0 + 5000, "to_ms": T0 + 7000, "epoch": "epoch1"}
        in_time = http.get("/api/ledger", params=asked).json()["items"]
        assert len(in_time) == 2 * 2 * len(NODES)
        assert {e["first_ms"] for e in in_time} == {T0 + 5000, T0 + 6000}
        dead = [e for e in http.get("/api/ledger", params={"limit": 1000}).json()["items"] if e["dead_letters"]]
        assert [(e["samples"], e["stored"]) for e in dead] == [(1, 0)] * len(NODES)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/api/nowhere", 404, "every route of the API is at /docs"),
        ("/nowhere", 404, "nothing at /nowhere"),
        ("/static/nothing.js", 404, "nothing at /static/nothing.js"),
        ("/api/tags?limit=0", 422, "query.limit"),
        ("/api/tags?limit=1001", 422, "query.limit"),
        ("/api/tags?limit=x", 422, "valid integer"),
        ("/api/tags?after=%25", 422, "not a `next` of this list"),
        ("/api/tags?after=WzFd", 422, "not a `next` of this list"),
        ("/api/dead-letters?after=WzFdXQ", 422, "not a `next` of this list"),
        ("/api/dead-letters?after=WzllMzA5XQ", 422, "not a `next` of this list"),
        ("/api/dead-letters?after=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OV0", 422, "not a `next` of this list"),
        ("/api/sites?after=WyJcdWQ4MDAiXQ", 422, "not a `next` of this list"),
        ("/api/sites?after=WyJcdTAwMDAiXQ", 422, "not a `next` of this list"),
        ("/api/tags?group=a%00b", 422, "query.group"),
        ("/api/ledger?from_ms=5&to_ms=4", 422, "5 is later than to_ms 4"),
        ("/api/ledger?number_from=-1", 422, "query.number_from"),
        ("/api/series?group=a&node=b&tag=c&from_ms=5&to_ms=4", 422, "5 is later than to_ms 4"),
        ("/api/export?group=a&from_ms=5&to_ms=4", 422, "5 is later than to_ms 4"),
        ("/api/export?group=a&from_ms=5&to_ms=6&format=xlsx", 422, "query.format"),
        ("/api/dead-letters/999", 404, "no dead letter 999"),
        ("/api/aggregates?group=a&node=b&tag=c&from_ms=5&to_ms=4", 422, "5 is later than to_ms 4"),
        (
            "/api/aggregates?group=a&node=b&tag=c&from_ms=0&to_ms=4000000000000&step_s=1",
            422,
            "choose a step of at least",
        ),
        ("/api/window?from_ms=0&to_ms=1&gateway=no", 404, "no gateway 'no'"),
    ],
)
def test_what_is_asked_wrong_is_told_as_a_problem(plant: Plant, path: str, status: int, told: str) -> None:
    answer = httpx.get(plant.url + path, trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    found = answer.json()
    assert told in found["detail"], found
    assert (found["status"], found["type"]) == (status, "about:blank")
    fits(plant, {"$ref": "#/components/schemas/Problem"}, found)


def test_a_method_that_a_route_does_not_take_is_told_with_those_that_it_takes(plant: Plant) -> None:
    answer = httpx.put(f"{plant.url}/api/refill", trust_env=False)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "/api/refill takes POST, not PUT"


def test_bodies_that_cannot_be_read_are_told(plant: Plant) -> None:
    for path in ("/api/refill", "/api/rollups"):
        for body in (b"", b"{", b"[1]", b'{"from_ms": 5, "to_ms": 4}'):
            answer = httpx.post(
                plant.url + path, content=body, headers={"content-type": "application/json"}, trust_env=False
            )
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), body


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_random_questions_are_answered_as_documented(plant: Plant) -> None:
    """Values of every kind that the document allows, and of kinds that it does not."""
    schema = schemathesis.openapi.from_url(f"{plant.url}/openapi.json")
    asked = 0
    for one in schema.get_all_operations():
        operation = one.ok()  # type: ignore[union-attr]  # of a document that is known to be sound
        if operation.path in (ENDLESS, WRITES):
            continue
        raw = operation.definition.raw
        modes = [schemathesis.GenerationMode.POSITIVE]
        if raw.get("parameters") or raw.get("requestBody"):
            modes.append(schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:

            @settings(
                max_examples=1 if mode is modes[0] else 2, deadline=None, derandomize=True, database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                answer = case.call()
                assert answer.status_code < 500, (case, answer.text)
                case.validate_response(answer, checks=CHECKS)

            ask()
    assert asked > 30
    assert json.loads(plant.host.get("/api/health"))["status"] in ("ok", "degraded"), "it is there still"


def test_the_answers_of_the_balance_leave_no_column_out() -> None:
    of = DeviceId(NodeId("plant", "gw-1"), "pump-1")
    for shape, found in (
        (BalanceFound, Balance(devices={tuple(of): Counts(produced=1)}).as_json()),
        (WindowFound, WindowAudit(0, 1, devices={of: Window(samples=1)}).as_json()),
    ):
        assert shape.model_validate(found).model_dump() == found
