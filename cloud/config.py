"""What the host is told: cloud.yaml and the options of the command. Every problem is found at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cloud.broker import Broker, parse_broker
from wire.errors import ConfigError
from wire.host_session import REORDER_MS
from wire.ids import check_id

EXAMPLE_TARIFF = Path(__file__).parent / "costs" / "tariffs" / "example.yaml"


@dataclass(frozen=True, slots=True)
class DuckDbFile:
    path: Path


@dataclass(frozen=True, slots=True)
class InfluxV1:
    """InfluxDB 1.x. url: http://host:port."""

    url: str
    database: str
    username: str = ""
    password: str = ""


StoreChoice = DuckDbFile | InfluxV1


@dataclass(frozen=True, slots=True)
class Config:
    """The host's settings. Paths are relative to cloud.yaml, or to the current folder when given as options.

    reorder_s: how long a message waits for the ones before it (tck-id-operational-behavior-host-reordering-param).
    """

    broker: Broker = field(default_factory=lambda: Broker("127.0.0.1"))
    store: StoreChoice = field(default_factory=lambda: DuckDbFile(Path("gaugeline.duckdb")))
    state: Path = Path("gaugeline-state.db")
    http: tuple[str, int] = ("127.0.0.1", 8080)
    host_id: str = "gaugeline"
    tariff: Path = EXAMPLE_TARIFF
    reorder_s: float = REORDER_MS / 1000


def parse_store(text: str, folder: Path) -> StoreChoice:
    """Raises ConfigError when the text names no store that we have."""
    if text.startswith("duckdb:") and len(text) > len("duckdb:"):
        return DuckDbFile(folder / text.removeprefix("duckdb:"))
    try:
        parts = urlsplit(text)
        port = parts.port or 8086
    except ValueError as fault:
        raise ConfigError(f"{text!r}: {fault}") from fault
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "influxdb+v1" or not parts.hostname or not database:
        raise ConfigError(f"{text!r}: write duckdb:FILE or influxdb+v1://HOST:PORT/DATABASE")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return InfluxV1(f"http://{parts.hostname}:{port}", database, user, password)


def parse_http(text: str) -> tuple[str, int]:
    """Raises ConfigError when the text is not ADDRESS:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65_536:
        raise ConfigError(f"{text!r}: write it as ADDRESS:PORT, for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def _secret(value: Any, folder: Path) -> tuple[str, str, str]:
    """A URL, or a mapping of url, username and password_file: (url, username, password)."""
    if isinstance(value, str):
        return value, "", ""
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        raise ConfigError(f"{value!r}: give a URL, or a mapping with url, username, password_file")
    unknown = set(value) - {"url", "username", "password_file"}
    if unknown:
        raise ConfigError(
            f"unknown key {', '.join(sorted(map(str, unknown)))}; there are: url, username, password_file"
        )
    password = ""
    if "password_file" in value:
        try:
            password = (folder / str(value["password_file"])).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"password_file: {fault}") from fault
    return value["url"], str(value.get("username", "")), password


def _broker(value: Any, folder: Path) -> Broker:
    url, username, password = _secret(value, folder)
    found = parse_broker(url)
    return replace(found, username=username or found.username, password=password or found.password)


def _store(value: Any, folder: Path) -> StoreChoice:
    url, username, password = _secret(value, folder)
    found = parse_store(url, folder)
    if isinstance(found, InfluxV1):
        return replace(found, username=username or found.username, password=password or found.password)
    if username or password:
        raise ConfigError("a DuckDB file has no user and password")
    return found


def _path(value: Any, folder: Path) -> Path:
    return folder / _text(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 60:
        raise ConfigError(f"{value!r}: seconds are wanted, more than 0 and at most 60")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{value!r}: a text is wanted")
    return value


# key -> how its value is read
KEYS: Mapping[str, Callable[[Any, Path], Any]] = {
    "broker": _broker,
    "store": _store,
    "state": _path,
    "http": lambda value, _: parse_http(_text(value)),
    "host_id": lambda value, _: check_id(_text(value), "host"),
    "tariff": _path,
    "reorder_s": lambda value, _: _seconds(value),
}


def load_config(path: Path | None, options: Mapping[str, str]) -> Config:
    """cloud.yaml (None: defaults), overruled by options. Raises ConfigError with all problems at once."""
    problems: list[str] = []
    found: dict[str, Any] = {}
    if path is not None:
        raw = _read(path)
        for key, value in raw.items():
            place = f"{path}:{raw.lc.data[key][0] + 1}: {key}"
            _take(key, value, path.parent, place, found, problems)
    for key, value in options.items():
        _take(key, value, Path(), f"--{key.replace('_', '-')}", found, problems)
    if problems:
        raise ConfigError(problems)
    return Config(**found)


def _take(key: str, value: Any, folder: Path, place: str, found: dict[str, Any], problems: list[str]) -> None:
    if key not in KEYS:
        problems.append(f"{place}: unknown key; there are: {', '.join(KEYS)}")
        return
    try:
        found[key] = KEYS[key](value, folder)
    except ConfigError as fault:
        problems.extend(f"{place}: {problem}" for problem in fault.problems)


def _read(path: Path) -> Any:
    try:
        raw = YAML().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    except YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{path}:{line}: not YAML: {getattr(fault, 'problem', fault)}") from fault
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}:1: must be a mapping of {', '.join(KEYS)}")
    return raw
