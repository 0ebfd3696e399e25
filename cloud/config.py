"""What the host is told: cloud.yaml and the options of the command. Every problem is found at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cloud.broker import Broker, parse_broker
from cloud.loopback import is_loopback
from cloud.retention.classes import RetentionChoice, parse_retention
from cloud.retention.together import does_not_go
from cloud.state.place import PostgresDb, StateChoice, parse_state
from cloud.store.choice import DuckDbFile as DuckDbFile
from cloud.store.choice import InfluxBucket as InfluxBucket
from cloud.store.choice import InfluxV1 as InfluxV1
from cloud.store.choice import StoreChoice, parse_store
from cloud.tls import read_problems
from wire.certificates import TlsFiles
from wire.errors import ConfigError
from wire.host_session import REORDER_MS
from wire.ids import check_id

EXAMPLE_TARIFF = Path(__file__).parent / "costs" / "tariffs" / "example.yaml"


LEASE_S, LEAST_LEASE_S = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Standby:
    """One of several hosts of which one is active. name: of this one, for people.

    lease_s: how long the active one may be unheard by the state's database before another one takes its place.
    """

    name: str
    lease_s: float = LEASE_S


@dataclass(frozen=True, slots=True)
class ArchiveChoice:
    """place: a folder, or s3://BUCKET/PREFIX. after_days: a UTC day is archived so many days later."""

    place: str
    after_days: int = 1


@dataclass(frozen=True, slots=True)
class Config:
    """The host's settings. Paths are relative to cloud.yaml, or to the current folder when given as options.

    reorder_s: how long a message waits for the ones before it (tck-id-operational-behavior-host-reordering-param).
    groups: the sites that this host collects; none named: all. standby None: there is no other host. retention None:
    nothing is ever removed.
    """

    broker: Broker = field(default_factory=lambda: Broker("127.0.0.1"))
    store: StoreChoice = field(default_factory=lambda: DuckDbFile(Path("gaugeline.duckdb")))
    state: StateChoice = Path("gaugeline-state.db")
    http: tuple[str, int] = ("127.0.0.1", 8080)
    host_id: str = "gaugeline"
    tariff: Path = EXAMPLE_TARIFF
    forget_after_days: int = 365
    reorder_s: float = REORDER_MS / 1000
    groups: tuple[str, ...] = ()
    standby: Standby | None = None
    archive: ArchiveChoice | None = None
    retention: RetentionChoice | None = None


def parse_http(text: str) -> tuple[str, int]:
    """Raises ConfigError when the text is not ADDRESS:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65_536:
        raise ConfigError(f"{text!r}: write it as ADDRESS:PORT, for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


_TLS_KEYS = ("ca_file", "certificate_file", "key_file")


def _secret(value: Any, folder: Path, more: tuple[str, ...] = ()) -> tuple[str, str, str]:
    """A URL, or a mapping of url, username, password_file and more: (url, username, password)."""
    if isinstance(value, str):
        return value, "", ""
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        raise ConfigError(f"{value!r}: give a URL, or a mapping with url, username, password_file")
    known = ("url", "username", "password_file", *more)
    if unknown := set(value) - set(known):
        raise ConfigError(f"unknown key {', '.join(sorted(map(str, unknown)))}; there are: {', '.join(known)}")
    password = ""
    if "password_file" in value:
        try:
            password = (folder / str(value["password_file"])).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"password_file: {fault}") from fault
    return value["url"], str(value.get("username", "")), password


def _broker(value: Any, folder: Path) -> Broker:
    url, username, password = _secret(value, folder, _TLS_KEYS)
    found = parse_broker(url)
    found = replace(found, username=username or found.username, password=password or found.password)
    given = {key: folder / _text(value[key]) for key in _TLS_KEYS if isinstance(value, Mapping) and key in value}
    if given and found.tls is None:
        raise ConfigError(f"{', '.join(given)}: only for TLS; write url as mqtts://HOST")
    if ("certificate_file" in given) != ("key_file" in given):
        raise ConfigError("certificate_file and key_file need each other: give both")
    if found.tls is None:
        return found
    files = TlsFiles(*(given.get(key) for key in _TLS_KEYS))
    if problems := read_problems(files):
        raise ConfigError(problems)
    return replace(found, tls=files)


_STORE_KEYS = ("token_file", "ca_file", "retention_days")


def _store(value: Any, folder: Path) -> StoreChoice:
    url, username, password = _secret(value, folder, _STORE_KEYS)
    beside = value if isinstance(value, Mapping) else {}
    found = parse_store(url, folder, {key: beside[key] for key in _STORE_KEYS if key in beside})
    if isinstance(found, InfluxV1):
        return replace(found, username=username or found.username, password=password or found.password)
    if username or password:
        has = "a DuckDB file has" if isinstance(found, DuckDbFile) else "InfluxDB 2.x and newer have a token_file and"
        raise ConfigError(f"{has} no user and password")
    return found


def _state(value: Any, folder: Path) -> StateChoice:
    url, username, password = _secret(value, folder)
    found = parse_state(_text(url), folder)
    if isinstance(found, PostgresDb):
        return replace(found, username=username or found.username, password=password or found.password)
    if username or password:
        raise ConfigError("a state file has no user and password")
    return found


def _groups(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{value!r}: a list of groups is wanted, as [plant-a, plant-b]")
    return tuple(dict.fromkeys(check_id(_text(name).strip(), "group") for name in names))


def _standby(value: Any) -> Standby:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or "name" not in given or set(given) - {"name", "lease_s"}:
        raise ConfigError(f"{value!r}: give this host's name, or a mapping with name and lease_s")
    lease_s = _seconds(given.get("lease_s", LEASE_S))
    if lease_s < LEAST_LEASE_S:
        raise ConfigError(f"lease_s {lease_s:g}: at least {LEAST_LEASE_S:g} s, or a moment's delay changes the host")
    return Standby(check_id(_text(given["name"]), "standby"), lease_s)


def _archive(value: Any, folder: Path) -> ArchiveChoice:
    given = {"path": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or "path" not in given or set(given) - {"path", "after_days"}:
        raise ConfigError(f"{value!r}: give a folder, or a mapping with path and after_days")
    place = _text(given["path"])
    if "://" not in place:
        place = str(folder / place)
    elif not place.startswith("s3://"):
        raise ConfigError(f"{place.split('://')[0]}://: write a folder, or s3://BUCKET/PREFIX")
    return ArchiveChoice(place, _days(given.get("after_days", 1)))


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


def _days(value: Any) -> int:
    if isinstance(value, bool) or not str(value).isdecimal() or not 1 <= int(value) <= 36_500:
        raise ConfigError(f"{value!r}: a number of days from 1 to 36500 is wanted")
    return int(value)


# key -> how its value is read
KEYS: Mapping[str, Callable[[Any, Path], Any]] = {
    "broker": _broker,
    "store": _store,
    "state": _state,
    "http": lambda value, _: parse_http(_text(value)),
    "host_id": lambda value, _: check_id(_text(value), "host"),
    "tariff": _path,
    "forget_after_days": lambda value, _: _days(value),
    "reorder_s": lambda value, _: _seconds(value),
    "groups": lambda value, _: _groups(value),
    "standby": lambda value, _: _standby(value),
    "archive": _archive,
    "retention": lambda value, _: parse_retention(value),
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
    if not problems:
        config = Config(**found)
        problems = _together(config)
    if problems:
        raise ConfigError(problems)
    return config


def _together(config: Config) -> list[str]:
    """What does not go with what, and what may not be yet."""
    problems = does_not_go(config.retention, config.store, config.archive is not None)
    if not is_loopback(config.http[0]):
        problems.append(
            f"http: {config.http[0]} could be reached by others, and there are no users and roles yet: write "
            f"127.0.0.1:{config.http[1]}. From another machine use a tunnel (ssh -L 8080:127.0.0.1:{config.http[1]} "
            "HOST), or a proxy with a login in front of it"
        )
    if config.standby is None:
        return problems
    if isinstance(config.store, DuckDbFile):
        problems.append(
            f"standby: a DuckDB file ({config.store.path}) belongs to one process, so that no other host could go on "
            "with it: give --store influxdb+v1://HOST:PORT/DATABASE, or leave standby out"
        )
    if not isinstance(config.state, PostgresDb):
        problems.append(
            f"standby: the hosts share their state, which a file ({config.state}) cannot be: "
            "give --state postgresql://USER@HOST/DATABASE, or leave standby out"
        )
    return problems


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
