"""Answers and errors of InfluxDB 2.x, 3.x and Cloud over real HTTP, as public sources say that they are.

Word for word, but for names, times and numbers:
- {"code": …, "message": …}, statuses and fields of PostWrite, GetBuckets, PostBuckets, GetOrgs, GetDBRPs, PostDBRP,
  PostDelete, UNAUTHORIZED: InfluxData, "InfluxDB OSS API Service" (OpenAPI, docs.influxdata.com/openapi/
  influxdb-oss-v2-api.yml).
- TOO_OLD, TOO_LARGE, what statuses mean: InfluxData, "Troubleshoot issues writing data" (influxdata/docs-v2,
  content/shared/influxdb-v2/write-data/troubleshoot.md); TOO_MANY: "Exceeded limited_write plan limit" of the same.
- CONFLICT and the headers of FOUND: a 2.7.11 in tkurki/signalk-to-influxdb2 issue 84 (422, OSS).
- NO_BUCKET, NO_ORGANISATION, BROKEN: influxdata/influxdb (tenant, kit/transport/http/error_handler.go).
- PARTIAL_3: docs.influxdata.com/influxdb3/core/write-data/http-api/v3-write-lp. The headers of CORE_3: "Identify your
  InfluxDB version" of influxdata/docs-v2; that 3.x wants its token at /ping: docs.influxdata.com/influxdb3/core/api/
  server-information. CLOUD: "Ping" of the API says that no version is said.

In the form of what is documented, for no source has the whole of it:
- UNAVAILABLE: the documentation describes 503 and Retry-After in these words, and says not that the message has them.
- MALFORMED: the 400 of 2.x bears "the first malformed line"; the words are those of the parser that 1.x and 2.x share.
- TOO_OLD_IN_2_0: influxdata/influxdb, http/legacy/write_handler.go said 500 "unexpected error writing points to
  database" before 2.1; what follows it are the words of 1.x.
- CLOUD's value of X-Influxdb-Build: "cloud2" as one user saw it.
"""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.certificates import Signed


@dataclass
class Answer:
    status: int
    content: object = None
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(status, {"code": code, "message": message}, {k.replace("_", "-"): v for k, v in headers.items()})


UNAUTHORIZED = problem(401, "unauthorized", "unauthorized access")
NO_BUCKET = problem(404, "not found", 'bucket "plant" not found')
NO_ORGANISATION = problem(404, "not found", 'organization name "acme" not found')
TOO_LARGE = problem(413, "request too large", "cannot read data: points in batch is too large")
TOO_MANY = problem(429, "too many requests", "org 0123 has exceeded limited_write plan limit", Retry_After="40")
UNAVAILABLE = problem(503, "unavailable", "Server is temporarily unavailable to accept writes.", Retry_After="40")
BROKEN = problem(500, "internal error", "An internal error has occurred - check server logs")
MALFORMED = problem(400, "invalid", "unable to parse 'sample,tag=flow': missing fields")
CONFLICT = problem(
    422, "unprocessable entity",
    'failure writing points to database: partial write: field type conflict: input field "value" on measurement'
    ' "sample" is type float, already exists as type string dropped=1',
)  # fmt: skip
TOO_OLD = problem(
    422, "unprocessable entity",
    "failure writing points to database: partial write: dropped 1 points outside retention policy of duration 24h0m0s"
    " - oldest point sample,tag=flow at 1970-01-01T00:00:01.541Z dropped because it violates a Retention Policy Lower"
    " Bound at 2025-05-20T19:06:17.612973Z, newest point sample,tag=flow at 1970-01-01T00:00:01.541Z dropped because it"
    " violates a Retention Policy Lower Bound at 2025-05-20T19:06:17.612973Z"
    " dropped=1 for database: 9f282d63c7d3a5c0 for retention policy: autogen",
)  # fmt: skip
TOO_OLD_IN_2_0 = problem(
    500, "internal error",
    "unexpected error writing points to database: partial write: points beyond retention policy dropped=1",
)  # fmt: skip
PARTIAL_3 = Answer(
    400,
    {
        "error": "partial write of line protocol occurred",
        "data": [
            {
                "original_line": "sample,tag=flow value=1 1735549200",
                "line_number": 1,
                "error_message": "invalid column type for column 'value', expected iox::column_type::field::string,"
                " got iox::column_type::field::float",
            }
        ],
    },
)
FOUND = {"X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS"}
CLOUD = {"X-Influxdb-Build": "cloud2", "X-Influxdb-Version": ""}
CORE_3 = {"X-Influxdb-Version": "3.2.1", "X-Influxdb-Build": "Core"}


@dataclass
class Influx2:
    """What the server says, and what it was told. refuses: of a body of lines, what is wrong with it; None: nothing.

    buckets: name -> seconds of retention, 0 for ever.
    """

    port: int = 0
    headers: dict[str, str] = field(default_factory=lambda: dict(FOUND))
    buckets: dict[str, int] = field(default_factory=dict)
    mappings: dict[str, str] = field(default_factory=dict)
    organisation: str = "plant"
    may_map: bool = True
    refuses: Callable[[list[str]], Answer | None] = lambda lines: None
    lines: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    deleted: list[dict[str, str]] = field(default_factory=list)
    deletes_with: Answer = field(default_factory=lambda: Answer(204))
    written_to: list[dict[str, list[str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, asked: dict[str, list[str]], token: str, body: bytes) -> Answer:
        self.calls.append(f"{method} {path}")
        if path == "/ping":
            wants_token = self.headers.get("X-Influxdb-Build") == "Core"
            return Answer(401) if wants_token and token != "Token secret" else Answer(204, headers=self.headers)
        if token != "Token secret":
            return UNAUTHORIZED
        if asked.get("org", [self.organisation]) != [self.organisation]:
            return NO_ORGANISATION
        name = asked.get("bucket", asked.get("name", [""]))[0]
        match method, path:
            case "GET", "/api/v2/orgs":
                return Answer(200, {"orgs": [{"id": "0" * 16, "name": self.organisation}]})
            case "GET", "/api/v2/buckets":
                return Answer(200, {"buckets": [self._bucket(name)]}) if name in self.buckets else NO_BUCKET
            case "POST", "/api/v2/buckets":
                wanted = json.loads(body)
                self.buckets[wanted["name"]] = sum(r["everySeconds"] for r in wanted["retentionRules"])
                return Answer(201, self._bucket(wanted["name"]))
            case "GET", "/api/v2/dbrps" if self.may_map:
                database = asked["db"][0]
                return Answer(200, {"content": [self._mapping(database)] if database in self.mappings else []})
            case "POST", "/api/v2/dbrps":
                new = json.loads(body)
                self.mappings[new["database"]] = new["bucketID"]
                return Answer(201, self._mapping(new["database"]))
            case "POST", "/api/v2/write":
                return self._write(asked, body)
            case "POST", "/api/v2/delete":
                self.deleted.append(json.loads(body))
                return self.deletes_with
            case "GET", "/query":
                return Answer(200, {"results": [{"statement_id": 0, "series": []}]})
        return UNAUTHORIZED

    def _write(self, asked: dict[str, list[str]], body: bytes) -> Answer:
        self.written_to.append(asked)
        found = body.decode().split("\n")
        wrong = self.refuses(found)
        if wrong is None:
            self.lines += found
        return wrong or Answer(204)

    def _bucket(self, name: str) -> dict[str, Any]:
        rules = [{"type": "expire", "everySeconds": self.buckets[name]}]
        return {"id": "1" * 16, "orgID": "0" * 16, "name": name, "type": "user", "retentionRules": rules}

    def _mapping(self, database: str) -> dict[str, Any]:
        ids = {"id": "2" * 16, "orgID": "0" * 16, "bucketID": "1" * 16}
        return {**ids, "database": database, "retention_policy": "autogen", "default": True}


@contextmanager
def influx2(signed: Signed | None = None) -> Iterator[Influx2]:
    """Over HTTP, or over TLS with a certificate."""
    said = Influx2()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            parts = urlsplit(self.path)
            token = self.headers.get("Authorization", "")
            found = said.answer(self.command, parts.path, parse_qs(parts.query), token, body)
            content = b"" if found.content is None else json.dumps(found.content).encode()
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """What was asked stands in Influx2.calls."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if signed is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed.certificate, signed.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    said.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, name="influx2")
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
