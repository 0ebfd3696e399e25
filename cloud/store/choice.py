"""Which store a line of cloud.yaml or --store names. Reads the files of tokens; opens nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from wire.errors import ConfigError

LINES = (
    "duckdb:FILE, influxdb+v1://HOST:PORT/DATABASE, or for InfluxDB 2.x, 3.x and Cloud"
    " influxdb://HOST:PORT/?org=ORGANISATION&bucket=BUCKET&token_file=FILE (TLS: influxdb+v1+https://, influxdb+https://)"
)
_OPTIONS = ("ca_file", "retention_days")
_OPTIONS_V2 = ("org", "bucket", "token_file", *_OPTIONS)
LONGEST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class DuckDbFile:
    path: Path


@dataclass(frozen=True, slots=True)
class InfluxV1:
    """InfluxDB 1.x. url: http(s)://host:port. retention_days: None for ever."""

    url: str
    database: str
    username: str = ""
    password: str = ""
    ca_file: Path | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class InfluxBucket:
    """InfluxDB 2.x, 3.x (a bucket is a database there) and Cloud. org: '' where the server has none."""

    url: str
    bucket: str
    org: str = ""
    token: str = ""
    ca_file: Path | None = None
    retention_days: int | None = None


StoreChoice = DuckDbFile | InfluxV1 | InfluxBucket


def parse_store(text: str, folder: Path, more: Mapping[str, object] | None = None) -> StoreChoice:
    """more: what may stand in the line or beside it: ca_file, retention_days, token_file.

    Raises ConfigError when the text names no store that we have.
    """
    if text.startswith("duckdb:") and len(text) > len("duckdb:"):
        if more:
            raise ConfigError(f"a DuckDB file has no {', '.join(more)}")
        return DuckDbFile(folder / text.removeprefix("duckdb:"))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as fault:
        raise ConfigError(f"{text!r}: {fault}") from fault
    scheme, _, secure = parts.scheme.partition("+https")
    if scheme not in ("influxdb", "influxdb+v1") or secure or not parts.hostname:
        raise ConfigError(f"{text!r}: write {LINES}")
    url = _url(parts.hostname, port, secure="+https" in parts.scheme)
    given = dict(parse_qsl(parts.query, keep_blank_values=True)) | {k: str(v) for k, v in (more or {}).items()}
    name = unquote(parts.path.strip("/"))
    known = _OPTIONS if scheme == "influxdb+v1" else _OPTIONS_V2
    if unknown := set(given) - set(known):
        raise ConfigError(f"{text!r}: unknown {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    ca_file, days = _ca_file(given, folder), _days(given)
    if scheme == "influxdb+v1":
        if not name:
            raise ConfigError(f"{text!r}: write {LINES}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return InfluxV1(url, name, user, password, ca_file, days)
    if parts.username or parts.password:
        raise ConfigError(f"{text!r}: InfluxDB 2.x and newer want a token, from a file: give token_file=FILE")
    if name or not given.get("bucket"):
        raise ConfigError(f"{text!r}: names no bucket; write {LINES}")
    return InfluxBucket(url, given["bucket"], given.get("org", ""), _token(given, folder), ca_file, days)


def _url(host: str, port: int | None, secure: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"https://{name}:{port or 443}" if secure else f"http://{name}:{port or 8086}"


def _token(given: Mapping[str, str], folder: Path) -> str:
    if "token_file" not in given:
        return ""
    path = folder / given["token_file"]
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"token_file: {fault}") from fault
    if not found or not found.isascii() or not found.isprintable():
        raise ConfigError(f"token_file: {path} must hold the token and nothing else")
    return found


def _ca_file(given: Mapping[str, str], folder: Path) -> Path | None:
    if "ca_file" not in given:
        return None
    path = folder / given["ca_file"]
    if not path.is_file():
        raise ConfigError(f"ca_file: {path} is not there; it holds the certificates of who signed the server's")
    return path


def _days(given: Mapping[str, str]) -> int | None:
    said = given.get("retention_days")
    if said is None:
        return None
    if not said.isdecimal() or not 1 <= int(said) <= LONGEST_DAYS:
        raise ConfigError(f"retention_days: {said!r}: a number of days from 1 to {LONGEST_DAYS} is wanted")
    return int(said)
