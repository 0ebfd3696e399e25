"""InfluxDB 2.x, 3.x and Cloud: lines through `influxdb-client`'s synchronous write API, a bucket with its retention.

3.x and products that only speak the write API of 2.x make their databases themselves; there nothing is looked after.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from influxdb_client import BucketRetentionRules, DBRPCreate, DeletePredicateRequest, InfluxDBClient
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.rest import ApiException
from influxdb_client.service.dbr_ps_service import DBRPsService
from influxdb_client.service.delete_service import DeleteService
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from cloud.store.influx_client import (
    Found,
    InfluxClient,
    Precision,
    Product,
    Unacceptable,
    as_line,
    literal,
    near,
    reason_in,
)
from cloud.store.influx_retention import DAY_MS, judged, kept_for
from cloud.store.line_protocol import MEASUREMENT
from wire.errors import StoreDown

log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bucket:
    """url: http(s)://host:port. org: '' on 3.x. token: '' where the server wants none."""

    url: str
    name: str
    org: str = ""
    token: str = ""
    ca_file: Path | None = None


class InfluxV2:
    """One bucket, which is made when it is missing, with retention_days (None: for ever)."""

    def __init__(self, bucket: Bucket, timeout_s: float = 20.0, retention_days: int | None = None) -> None:
        self._bucket, self._timeout_s, self._wanted_days = bucket, timeout_s, retention_days
        headers = {"Authorization": f"Token {bucket.token}"} if bucket.token else None
        self._client = InfluxClient(bucket.url, timeout_s, headers=headers, ca_file=bucket.ca_file)
        self._packs = not near(bucket.url)
        self._api: InfluxDBClient | None = None
        self._product = Product("", None)
        self.retention_ms: int | None = None

    @property
    def about(self) -> str:
        kept = kept_for(self.retention_ms) if self._managed else "its retention is not known"
        return f"{self._product}, {self._bucket.url}, bucket {self._bucket.name}, {kept}"

    @property
    def _managed(self) -> bool:
        """True where buckets are ours to look after."""
        return self._product.cloud or self._product.major == 2

    async def open(self) -> None:
        await self._client.open()
        b = self._bucket
        self._product = found = await self._client.ping()
        if not found.cloud and found.major == 1:
            line = as_line("influxdb+v1", b.url, b.name)
            raise StoreDown(f"{b.url} is {found}, not 2.x, 3.x or Cloud; write the store as {line}")
        if self._managed and not b.org:
            line = as_line("influxdb", b.url, f"?org=ORGANISATION&bucket={b.name}&token_file=FILE")
            raise StoreDown(f"{b.url} is {found}, which needs an organisation; write the store as {line}")
        if self._api is None:
            certificates = {"ssl_ca_cert": str(b.ca_file)} if b.ca_file else {}
            self._api = InfluxDBClient(b.url, b.token, timeout=round(self._timeout_s * 1000), org=b.org, **certificates)
        if self._managed:
            self.retention_ms = await self._call(self._ensured)
            mend = f"influx bucket update --name {b.name} --retention"
            judged(self.about, self.retention_ms, self._wanted_days, mend)
        elif self._wanted_days is not None:
            log.warning(
                "retention_days is not set on %s: give its database a retention with its own tools", found,
                extra={"store": self.about},
            )  # fmt: skip

    def _ensured(self, api: InfluxDBClient) -> int | None:
        """The bucket's retention in ms; the bucket is made when there is none of its name. In a thread."""
        b, buckets = self._bucket, api.buckets_api()
        try:
            found = list(buckets.find_buckets(org=b.org, name=b.name).buckets or [])
        except ApiException as fault:
            # Some versions say 404 for a name that they do not know; an unknown organisation is 404, too.
            if fault.status != HTTPStatus.NOT_FOUND or "organization" in _why(fault):
                raise
            found = []
        if not found:
            days = self._wanted_days
            rules = [BucketRetentionRules(type="expire", every_seconds=days * DAY_MS // 1000)] if days else []
            found = [buckets.create_bucket(bucket_name=b.name, org=b.org, retention_rules=rules)]
            log.info("bucket made", extra={"bucket": b.name, "days": days or "all"})
        self._mapped(api, found[0].id)
        seconds = max((int(rule.every_seconds or 0) for rule in found[0].retention_rules or []), default=0)
        return seconds * 1000 or None

    def _mapped(self, api: InfluxDBClient, bucket_id: str) -> None:
        """InfluxQL finds a bucket by a mapping; newer versions have one for every bucket, others are given it."""
        b, mappings = self._bucket, DBRPsService(api.api_client)
        try:
            if not mappings.get_dbr_ps(org=b.org, db=b.name).content:
                new = DBRPCreate(
                    org=b.org, bucket_id=bucket_id, database=b.name, retention_policy="autogen", default=True
                )
                mappings.post_dbrp(new)
        except ApiException as fault:
            mend = f"influx v1 dbrp create --bucket-id {bucket_id} --db {b.name} --rp autogen --default"
            why = {"error": _why(fault), "mend": mend}
            log.warning("it is not known whether queries find the bucket", extra=why)

    async def close(self) -> None:
        await self._client.close()
        if self._api is not None:
            self._api.close()
            self._api = None

    async def write(self, body: bytes, precision: Precision = "ms") -> None:
        """Raises Unacceptable (at least one line is bad), StoreDown."""
        try:
            await self._call(lambda api: self._posted(api, body, precision))
        except _Refused as refused:
            raise Unacceptable(refused.why) from refused

    def _posted(self, api: InfluxDBClient, body: bytes, precision: Precision) -> None:
        # What write_api(write_options=SYNCHRONOUS) calls too; there is no way through that for packed bytes.
        packed: dict[str, str] = {}
        if self._packs:
            body, packed = gzip.compress(body, 1), {"content_encoding": "gzip"}
        WriteService(api.api_client).post_write(
            org=self._bucket.org, bucket=self._bucket.name, body=body, precision=precision,
            content_type="text/plain; charset=utf-8", **packed,
        )  # fmt: skip

    async def query(self, text: str, bound: Mapping[str, Any] | None = None) -> list[Found]:
        """InfluxQL, with the bucket's name as the database."""
        return await self._client.query(self._bucket.name, literal(text, bound), None)

    async def delete(self, of: Mapping[str, str], tags: Sequence[str], from_ms: int, to_ms: int) -> None:
        """Source: InfluxDB's OpenAPI description, "PostDelete": a predicate knows `=` and AND, so one request a tag."""
        for tag in tags:
            await self._delete({"_measurement": MEASUREMENT, **of, "tag": tag}, from_ms, to_ms)

    async def forget(self, measurement: str, before_ms: int) -> None:
        await self._delete({"_measurement": measurement}, 0, before_ms)

    async def _delete(self, named: Mapping[str, str], from_ms: int, to_ms: int) -> None:
        if self._product.major == 3:
            raise Unacceptable("InfluxDB 3 cannot delete samples; leave `retention` out of the host's settings")
        times = [f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}" for ms in (from_ms, to_ms - 1)]
        start, stop = (f"{t}.{ms % 1000:03}" for t, ms in zip(times, (from_ms, to_ms - 1), strict=True))
        predicate = " AND ".join(f'"{name}"={_quoted(value)}' for name, value in named.items())
        body = DeletePredicateRequest(start=f"{start}Z", stop=f"{stop}999999Z", predicate=predicate)
        try:
            await self._call(partial(self._deleted, body))
        except (_Refused, StoreDown) as fault:
            cause = fault.__cause__
            if isinstance(cause, ApiException) and int(cause.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise self._client.down(f"{cause.status} {_why(cause)}") from fault
            if isinstance(cause, HTTPError):
                raise  # no answer
            raise Unacceptable(str(fault)) from fault

    def _deleted(self, body: DeletePredicateRequest, api: InfluxDBClient) -> None:
        b = self._bucket
        DeleteService(api.api_client).post_delete(delete_predicate_request=body, org=b.org, bucket=b.name)

    async def deleting(self) -> bool:
        """Nobody can ask: what was told before is told again, and counted once nothing is left."""
        return False

    async def _call(self, work: Callable[[InfluxDBClient], Result]) -> Result:
        """In a thread. Raises StoreDown; _Refused for what will never be taken."""
        api = self._api
        if api is None:
            raise self._client.down("not open")
        self._client.heed()
        try:
            return await asyncio.to_thread(work, api)
        except ApiException as fault:
            self._client.told(fault.headers)
            raise self._translated(fault) from fault
        except (InfluxDBError, HTTPError) as fault:
            raise self._client.down(str(fault) or type(fault).__name__) from fault

    def _translated(self, fault: ApiException) -> Exception:
        """Source: InfluxDB's OpenAPI description, "PostWrite", and its documentation, "Troubleshoot writing data"."""
        why, b = _why(fault), self._bucket
        if fault.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return self._client.down(
                f"refuses the token ({why}): is token_file right, and may it read and write {b.name}?"
            )
        if fault.status == HTTPStatus.NOT_FOUND:
            return self._client.down(f"{why}: check org and bucket of the store, org={b.org} bucket={b.name}")
        bad = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
        # 2.0 said 500 for a partial write.
        if fault.status in bad or "partial write" in why:
            return _Refused(why)
        return self._client.down(f"{fault.status} {why}")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Refused(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def _why(fault: ApiException) -> str:
    raw = fault.body
    return reason_in(raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw or fault.reason or ""))
