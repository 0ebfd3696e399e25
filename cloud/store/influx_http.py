"""InfluxDB 1.x: lines at `/write`, a database with its retention policy."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from cloud.store.influx_client import Found, InfluxClient, Precision, Product, Unacceptable, as_line, near, said
from cloud.store.influx_retention import judged, kept_for
from cloud.store.line_protocol import quoted
from wire.errors import StoreDown

__all__ = ["Found", "InfluxHttp", "Unacceptable"]

log = logging.getLogger(__name__)

FULL = "no space left on device"
MOST_TAGS = 100
"""In one DELETE: its address stays below what servers and proxies take."""
_UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000}


class InfluxHttp:
    """`/write` and `/query` of one database, which is made when it is missing, with retention_days (None: for ever)."""

    def __init__(
        self,
        url: str,
        database: str,
        username: str = "",
        password: str = "",
        timeout_s: float = 20.0,
        ca_file: Path | None = None,
        retention_days: int | None = None,
    ) -> None:
        self.url, self.database = url, database
        auth = httpx.BasicAuth(username, password) if username else None
        self._client = InfluxClient(url, timeout_s, auth, ca_file=ca_file)
        self._wanted_days = retention_days
        self._packs = not near(url)
        self._product = Product("", None)
        self.retention_ms: int | None = None

    @property
    def version(self) -> str:
        return self._product.version

    @property
    def about(self) -> str:
        return f"{self._product}, {self.url}/{self.database}, {kept_for(self.retention_ms)}"

    async def open(self) -> None:
        await self._client.open()
        found = await self._client.ping()
        if found.cloud or (found.major or 1) >= 2:
            line = as_line("influxdb", self.url, f"?org=ORGANISATION&bucket={self.database}&token_file=FILE")
            raise StoreDown(f"{self.url} is {found}, not InfluxDB 1.x; write the store as {line}")
        self._product = found
        try:
            self.retention_ms = await self._retention()
        except StoreDown as fault:
            if "database not found" not in str(fault):
                raise
            await self._create()
            self.retention_ms = await self._retention()
        judged(self.about, self.retention_ms, self._wanted_days, f"ALTER RETENTION POLICY … ON {quoted(self.database)}")

    async def _create(self) -> None:
        with_days = f" WITH DURATION {self._wanted_days}d" if self._wanted_days else ""
        await self.query(f"CREATE DATABASE {quoted(self.database)}{with_days}", method="POST")
        log.info("database made", extra={"database": self.database, "days": self._wanted_days or "all"})

    async def _retention(self) -> int | None:
        """Of the policy that points go to."""
        found = await self.query(f"SHOW RETENTION POLICIES ON {quoted(self.database)}")
        for series in found:
            for row in series.rows:
                policy = dict(zip(series.columns, row, strict=True))
                if policy.get("default"):
                    return duration_ms(str(policy.get("duration", ""))) or None
        return None

    async def close(self) -> None:
        await self._client.close()

    async def write(self, body: str | bytes, precision: Precision = "ms") -> None:
        """Raises Unacceptable (at least one line is bad), StoreDown."""
        content = body.encode() if isinstance(body, str) else body
        headers = {}
        if self._packs:
            # Level 1: a quarter of the bytes for a tenth of the time of the default level.
            content = await asyncio.to_thread(gzip.compress, content, 1)
            headers["Content-Encoding"] = "gzip"
        parameters = {"db": self.database, "precision": precision}
        answer = await self._client.send("POST", "/write", params=parameters, content=content, headers=headers)
        if not answer.is_error:
            return
        why = said(answer)
        if answer.status_code == httpx.codes.NOT_FOUND:  # somebody dropped the database
            await self._create()
            raise self._client.down(f"{why}; the database is made again")
        if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE):
            raise Unacceptable(why)
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise self._client.down(f"refuses user or password: {why}")
        if FULL in why:
            # Seen with 1.6.7: the writer of its log keeps the fault, and every write fails until it is started anew.
            why += "; make room on InfluxDB's disk, then restart InfluxDB: it does not go on by itself"
        raise self._client.down(f"{answer.status_code} {why}")

    async def query(self, text: str, bound: Mapping[str, Any] | None = None, method: str = "GET") -> list[Found]:
        return await self._client.query(self.database, text, bound, method)

    async def delete(self, of: Mapping[str, str], tags: Sequence[str], from_ms: int, to_ms: int) -> None:
        """Is done when the server answers."""
        bound: dict[str, Any] = {**of, "from": from_ms * 1_000_000, "to": to_ms * 1_000_000}
        for i in range(0, len(tags), MOST_TAGS):
            names = {f"t{n}": tag for n, tag in enumerate(tags[i : i + MOST_TAGS])}
            anyone = " OR ".join(f'"tag" = ${name}' for name in names)
            text = (
                'DELETE FROM "sample" WHERE "group" = $group AND "node" = $node AND "device" = $device'  # noqa: S608
                f" AND ({anyone}) AND time >= $from AND time < $to"
            )
            await self._deleted(text, bound | names)

    async def forget(self, measurement: str, before_ms: int) -> None:
        """Is done when the server answers."""
        await self._deleted(f'DELETE FROM "{measurement}" WHERE time < $before', {"before": before_ms * 1_000_000})  # noqa: S608

    async def _deleted(self, text: str, bound: Mapping[str, Any]) -> None:
        try:
            await self.query(text, bound, method="POST")
        except StoreDown as fault:
            if isinstance(fault.__cause__, httpx.HTTPError | ValueError):
                raise  # no answer, or half of one
            raise Unacceptable(str(fault)) from fault

    async def deleting(self) -> bool:
        """A server goes on with a statement also when whoever asked is gone."""
        found = await self.query("SHOW QUERIES")
        shown = [dict(zip(series.columns, row, strict=True)) for series in found for row in series.rows]
        return any(q["database"] == self.database and str(q["query"]).startswith("DELETE") for q in shown)


def duration_ms(text: str) -> int:
    """'168h0m0s' -> 604800000; 0 is for ever."""
    return sum(int(number) * _UNITS_MS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))
