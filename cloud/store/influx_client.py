"""What all versions of InfluxDB have in common over HTTP: one reused client, /ping, InfluxQL, errors in words."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx

from wire.errors import StoreDown

Precision = Literal["ms", "ns"]

LONGEST_WAIT_S = 300.0
"""Of a server that asks to be left alone: after that it is asked again, whatever it said."""


class Unacceptable(Exception):
    """The server refuses these lines, or some of them, whenever they come. The good ones may be stored already."""


class Found(NamedTuple):
    """One series of a query's answer: its tags, its column names, its rows."""

    tags: Mapping[str, str]
    columns: list[str]
    rows: list[list[Any]]


class InfluxServer(Protocol):
    """One database or bucket of an InfluxDB, whatever its version. Raises StoreDown."""

    @property
    def about(self) -> str: ...

    @property
    def retention_ms(self) -> int | None:
        """How far back the server takes points; None: for ever, or nobody knows."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def write(self, body: bytes, precision: Precision = "ms") -> None:
        """Lines with stamps in milliseconds or nanoseconds. Raises Unacceptable."""
        ...

    async def query(self, text: str, bound: Mapping[str, Any] | None = None) -> list[Found]:
        """An InfluxQL statement; `$name` in it is bound to bound['name']. Stamps are epoch ms."""
        ...

    async def delete(self, of: Mapping[str, str], tags: Sequence[str], from_ms: int, to_ms: int) -> None:
        """Samples of these tags of one device, from from_ms (included) to to_ms (not).

        of: group, node and device as they stand in the database. Raises Unacceptable when the server has refused it,
        StoreDown when nobody knows whether it does it.
        """
        ...

    async def forget(self, measurement: str, before_ms: int) -> None:
        """All of a measurement before this time. Raises as `delete` does."""
        ...

    async def deleting(self) -> bool:
        """True while the server still works on an earlier `delete`."""
        ...


class Product(NamedTuple):
    """Who answers. major: None where nobody knows. cloud: InfluxDB Cloud of any kind."""

    version: str
    major: int | None
    cloud: bool = False

    def __str__(self) -> str:
        if self.cloud:
            return "InfluxDB Cloud"
        return f"InfluxDB {self.version}" if self.version else "a server that does not say its version"


class InfluxClient:
    """HTTP to one server. headers: of every request. ca_file: who signed its certificate; None: the system knows."""

    def __init__(
        self,
        url: str,
        timeout_s: float = 20.0,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self.url = url
        self._timeout_s, self._auth, self._headers, self._ca_file = timeout_s, auth, headers, ca_file
        self._client: httpx.AsyncClient | None = None
        self._not_before_s = 0.0

    async def open(self) -> None:
        if self._client is None:
            # trust_env: a proxy that is meant for the internet is never meant for the plant's database.
            self._client = httpx.AsyncClient(
                base_url=self.url, auth=self._auth, headers=self._headers, timeout=self._timeout_s, trust_env=False,
                verify=self._verify(),
            )  # fmt: skip

    def _verify(self) -> ssl.SSLContext | bool:
        if self._ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self._ca_file))
        except (OSError, ssl.SSLError) as fault:
            raise self.down(f"ca_file {self._ca_file}: {fault}") from fault

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def down(self, why: str) -> StoreDown:
        return StoreDown(f"InfluxDB {self.url}: {why}")

    def heed(self) -> None:
        """Raises StoreDown as long as the server wants to be left alone."""
        left_s = self._not_before_s - time.monotonic()
        if left_s > 0:
            raise self.down(f"asked to be left alone for {left_s:.0f} s more")

    def told(self, headers: Mapping[str, str] | None) -> None:
        """An answer's headers: what they say of trying again is kept to."""
        said = (headers or {}).get("Retry-After", "")
        if said.isdecimal():
            self._not_before_s = time.monotonic() + min(float(said), LONGEST_WAIT_S)

    async def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Any answer of the server's. Raises StoreDown when there is none, or when it is not the time to ask."""
        if self._client is None:
            raise self.down("not open")
        self.heed()
        try:
            answer = await self._client.request(method, path, **more)
        except httpx.HTTPError as fault:
            raise self.down(str(fault) or type(fault).__name__) from fault
        if answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
            self.told(answer.headers)
        return answer

    async def ping(self) -> Product:
        """Who answers, by /ping, or else by /health."""
        answer = await self.send("GET", "/ping")
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):  # 3.x wants its token here, too
            raise self.down(f"refuses user, password or token: {said(answer)}")
        if answer.is_error:
            raise self.down(f"/ping: {answer.status_code} {said(answer)}")
        version = answer.headers.get("X-Influxdb-Version", "") or _field(answer, "version")
        if not version:
            version = _field(await self.send("GET", "/health"), "version")
        number = re.match(r"v?(\d+)\.\d", version)
        cloud = answer.headers.get("X-Influxdb-Build", "").lower().startswith("cloud")
        return Product(version.removeprefix("v"), int(number[1]) if number else None, cloud)

    async def query(
        self, database: str, text: str, bound: Mapping[str, Any] | None, method: str = "GET"
    ) -> list[Found]:
        parameters = {"db": database, "epoch": "ms", "q": text}
        if bound:
            parameters["params"] = json.dumps(bound)
        answer = await self.send(method, "/query", params=parameters)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise self.down(f"refuses user, password or token: {said(answer)}")
        if answer.status_code == httpx.codes.FORBIDDEN:
            todo = f"give it the right to read and write {database}, or all rights where the host is to make it"
            raise self.down(f"this user or token may not do that ({said(answer)}): {todo}")
        if answer.is_error:
            raise self.down(f"{answer.status_code} {said(answer)}")
        try:
            results = answer.json().get("results", [])
        except ValueError as fault:
            raise self.down(f"not an answer of InfluxDB: {answer.text[:200]!r}") from fault
        for result in results:
            if "error" in result:
                raise self.down(str(result["error"]))
        return list(_found(results))


def as_line(scheme: str, url: str, rest: str) -> str:
    """A store as cloud.yaml and --store write it."""
    parts = urlsplit(url)
    return f"{scheme}{'+https' if parts.scheme == 'https' else ''}://{parts.netloc}/{rest}"


def literal(text: str, bound: Mapping[str, Any] | None) -> str:
    """An InfluxQL statement with its bound values written into it, for servers that document no bound values.

    bound: texts and integers.
    """
    return re.sub(r"\$(\w+)", lambda name: _literal((bound or {})[name[1]]), text)


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def near(url: str) -> bool:
    """True when the server is on this machine: packing what travels nowhere costs both sides time."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def said(answer: httpx.Response) -> str:
    return reason_in(answer.text)


def reason_in(body: str) -> str:
    """What an error's body says: {"error": …} of 1.x and 3.x, {"code": …, "message": …} of 2.x, or plain text."""
    try:
        found = json.loads(body)
        return str(found.get("error") or found["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.strip()[:200]


def _field(answer: httpx.Response, name: str) -> str:
    try:
        return str(answer.json().get(name, ""))
    except (ValueError, AttributeError):
        return ""


def _found(results: list[dict[str, Any]]) -> Iterator[Found]:
    for result in results:
        for series in result.get("series", []):
            yield Found(series.get("tags", {}), series["columns"], series.get("values", []))
