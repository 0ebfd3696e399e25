"""The store: reachable, which version, may we write, retention. Nothing is written and nothing is made."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from cloud.config import Config, DuckDbFile, InfluxBucket, InfluxV1
from cloud.doctor.broker import judged, shown_by
from cloud.doctor.finding import Finding, failed, ok, warning
from cloud.doctor.here import unwritable
from cloud.store.influx_client import Found, InfluxClient, said
from cloud.store.influx_http import duration_ms
from cloud.store.influx_retention import DAY_MS, kept_for
from wire.errors import StoreDown

START = "start it, or correct `store`; a firewall may stand between"


class Stores(NamedTuple):
    """date: the Date header of the database's server."""

    findings: list[Finding]
    date: str | None = None


async def store(config: Config, host_runs: bool) -> Stores:
    choice = config.store
    if isinstance(choice, DuckDbFile):
        return Stores([duck_file(choice.path, host_runs)])
    headers = {"Authorization": f"Token {choice.token}"} if isinstance(choice, InfluxBucket) and choice.token else None
    auth = None
    if isinstance(choice, InfluxV1) and choice.username:
        auth = httpx.BasicAuth(choice.username, choice.password)
    client = InfluxClient(choice.url, 5.0, auth, headers, choice.ca_file)
    try:
        await client.open()
        found = await client.ping()
        date = (await client.send("GET", "/ping")).headers.get("Date")
        about = f"{found} at {choice.url}"
        second = found.cloud or (found.major or 1) >= 2
        if second != isinstance(choice, InfluxBucket):
            line = "influxdb://HOST:PORT/?org=…&bucket=…&token_file=FILE" if second else "influxdb+v1://HOST/DATABASE"
            return Stores([failed("store", f"{about}, which `store` is not written for", f"write it as {line}")], date)
        shown = await asyncio.to_thread(_certificate, choice.url)
        looked = await (
            _bucket(client, choice, about) if isinstance(choice, InfluxBucket) else _v1(client, choice, about)
        )
        return Stores([*looked, *shown], date)
    except StoreDown as fault:
        return Stores([failed("store", str(fault), START)])
    finally:
        await client.close()


def _certificate(url: str) -> list[Finding]:
    parts = urlsplit(url)
    if parts.scheme != "https":
        return []
    found = shown_by(parts.hostname or "", parts.port or 443)
    return [judged(f"of the store {parts.netloc}", found, datetime.now(UTC))] if found is not None else []


def duck_file(path: Path, host_runs: bool) -> Finding:
    """A running host has it to itself."""
    if host_runs:
        return ok("store", f"{path}: the running host has it")
    if why := unwritable(path):
        todo = "give the host's user the right to write there, or name another file with `store`"
        return failed("store", f"{path} cannot be written: {why}", todo)
    if not path.exists():
        return ok("store", f"{path} will be made")
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as con:
            ((rows,),) = con.execute("SELECT count(*) FROM samples").fetchall()
    except duckdb.CatalogException:
        return failed("store", f"{path} is a DuckDB file, but not one of a host", "name another file with `store`")
    except duckdb.Error as fault:
        todo = "restore it from a backup: `gaugeline cloud restore`"
        if "lock" in str(fault):
            todo = "end the other program; if that is a host that is just starting, ask again in a moment"
        return failed("store", f"{path}: {str(fault).splitlines()[0]}", todo)
    return ok("store", f"DuckDB {duckdb.__version__}, {path}, {rows:,} samples")


async def _v1(client: InfluxClient, choice: InfluxV1, about: str) -> list[Finding]:
    name = choice.database
    try:
        policies = await client.query(name, f'SHOW RETENTION POLICIES ON "{name}"', None)
    except StoreDown as fault:
        if "database not found" in str(fault):
            todo = "the host makes it when its user may; otherwise: CREATE DATABASE"
            return [warning("store", f"{about} has no database {name!r} yet", todo)]
        return [failed("store", str(fault), "correct username and password_file of `store`")]
    # A body without lines is refused or accepted like any other, and changes nothing.
    answer = await client.send("POST", "/write", params={"db": name}, content=b"")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        todo = f'give its user the right: GRANT ALL ON "{name}" TO "{choice.username}"'
        return [failed("store", f"{about}, database {name!r} may not be written: {said(answer)}", todo)]
    if answer.is_server_error:
        return [failed("store", f"{about} cannot write: {answer.status_code} {said(answer)}", "see its log")]
    kept = _duration(policies)
    return [ok("store", f"{about}, database {name!r}, may be written"), _retention(kept, choice.retention_days)]


def _duration(policies: list[Found]) -> int | None:
    rows = [dict(zip(s.columns, row, strict=True)) for s in policies for row in s.rows]
    return next((duration_ms(str(r["duration"])) or None for r in rows if r.get("default")), None)


def _retention(kept_ms: int | None, wanted_days: int | None) -> Finding:
    wanted_ms = None if wanted_days is None else wanted_days * DAY_MS
    if kept_ms is not None and (wanted_ms is None or kept_ms < wanted_ms):
        wish = "for ever" if wanted_days is None else f"{wanted_days} days"
        todo = (
            "what is older is deleted, and gateways' older data becomes dead letters: lengthen it, or say so in store"
        )
        return warning("retention", f"the database {kept_for(kept_ms)}; `store` wants {wish}", todo)
    return ok("retention", f"the database {kept_for(kept_ms)}")


async def _bucket(client: InfluxClient, choice: InfluxBucket, about: str) -> list[Finding]:
    answer = await client.send("GET", "/api/v2/buckets", params={"org": choice.org, "name": choice.bucket})
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        todo = "put a token that may read and write the bucket into token_file"
        return [failed("store", f"{about} refuses the token: {said(answer)}", todo)]
    if answer.status_code == httpx.codes.NOT_FOUND and "organization" in answer.text:
        return [failed("store", f"{about}: {said(answer)}", "correct org in `store`")]
    buckets = [] if answer.is_error else answer.json().get("buckets", [])
    if not buckets:
        todo = "the host makes it when the token may; otherwise: influx bucket create"
        return [warning("store", f"{about} has no bucket {choice.bucket!r} yet", todo)]
    parameters = {"org": choice.org, "bucket": choice.bucket, "precision": "ms"}
    written = await client.send("POST", "/api/v2/write", params=parameters, content=b"")
    if written.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND):
        todo = "give the token the right to write the bucket"
        return [failed("store", f"{about}, bucket {choice.bucket!r} may not be written: {said(written)}", todo)]
    seconds = max((int(r.get("everySeconds", 0)) for r in buckets[0].get("retentionRules", [])), default=0)
    return [
        ok("store", f"{about}, bucket {choice.bucket!r}, may be written"),
        _retention(seconds * 1000 or None, choice.retention_days),
    ]
