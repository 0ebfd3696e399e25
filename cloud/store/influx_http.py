"""Talking to InfluxDB 1.x over HTTP: one reused client, errors as StoreDown or Unacceptable."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx

from cloud.store.line_protocol import quoted
from wire.errors import StoreDown


class Unacceptable(Exception):
    """The server refuses these lines, or some of them, whenever they come. The good ones may be stored already."""


class Found(NamedTuple):
    """One series of a query's answer: its tags, its column names, its rows."""

    tags: Mapping[str, str]
    columns: list[str]
    rows: list[list[Any]]


class InfluxHttp:
    """`/write` and `/query` of one database, which is made when it is missing."""

    def __init__(
        self, url: str, database: str, username: str = "", password: str = "", timeout_s: float = 20.0
    ) -> None:
        self.url, self.database = url, database
        self._auth = httpx.BasicAuth(username, password) if username else None
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self.version = "unknown version"

    async def open(self) -> None:
        if self._client is None:
            # trust_env: a proxy that is meant for the internet is never meant for the plant's database.
            self._client = httpx.AsyncClient(
                base_url=self.url, auth=self._auth, timeout=self._timeout_s, trust_env=False
            )
        answer = await self._send("GET", "/ping")
        self.version = answer.headers.get("X-Influxdb-Version", self.version)
        await self.query(f"CREATE DATABASE {quoted(self.database)}", method="POST")

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def write(self, body: str) -> None:
        """Raises Unacceptable (at least one line is bad), StoreDown."""
        # Level 1: a quarter of the bytes for a tenth of the time of the default level.
        packed = await asyncio.to_thread(lambda: gzip.compress(body.encode(), 1))
        parameters = {"db": self.database, "precision": "ms"}
        answer = await self._send(
            "POST", "/write", params=parameters, content=packed, headers={"Content-Encoding": "gzip"}
        )
        if answer.status_code == httpx.codes.NOT_FOUND:  # somebody dropped the database
            await self.query(f"CREATE DATABASE {quoted(self.database)}", method="POST")
            raise StoreDown(f"InfluxDB {self.url}: {_said(answer)}; the database is made again")
        if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE):
            raise Unacceptable(_said(answer))

    async def query(self, text: str, bound: Mapping[str, Any] | None = None, method: str = "GET") -> list[Found]:
        """An InfluxQL statement; `$name` in it is bound to bound['name']. Stamps are epoch ms. Raises StoreDown."""
        parameters = {"db": self.database, "epoch": "ms", "q": text}
        if bound:
            parameters["params"] = json.dumps(bound)
        answer = await self._send(method, "/query", params=parameters)
        try:
            results = answer.json().get("results", [])
        except ValueError as fault:
            raise StoreDown(f"InfluxDB {self.url}: not an answer of InfluxDB: {answer.text[:200]!r}") from fault
        for result in results:
            if "error" in result:
                raise StoreDown(f"InfluxDB {self.url}: {result['error']}")
        return list(_found(results))

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        if self._client is None:
            raise StoreDown(f"InfluxDB {self.url}: not open")
        try:
            answer = await self._client.request(method, path, **more)
        except httpx.HTTPError as fault:
            raise StoreDown(f"InfluxDB {self.url}: {fault or type(fault).__name__}") from fault
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise StoreDown(f"InfluxDB {self.url} refuses user or password: {_said(answer)}")
        if path == "/write" and answer.status_code in (400, 404, 413):
            return answer
        if answer.is_error:
            raise StoreDown(f"InfluxDB {self.url}: {answer.status_code} {_said(answer)}")
        return answer


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def _found(results: list[dict[str, Any]]) -> Iterator[Found]:
    for result in results:
        for series in result.get("series", []):
            yield Found(series.get("tags", {}), series["columns"], series.get("values", []))
