"""Where the state lies: one SQLite file, or a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from wire.errors import ConfigError

OPTIONS = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
"""What may stand behind the '?' of a URL, as libpq knows it. host: of a server that is reached by a socket's folder."""


@dataclass(frozen=True, slots=True)
class PostgresDb:
    """A database on a PostgreSQL server. host: name, address, or the folder of its socket. options: see OPTIONS."""

    host: str
    database: str
    port: int = 5432
    username: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        user = f"{self.username}@" if self.username else ""
        return f"postgresql://{user}{self.host}:{self.port}/{self.database}"


StateChoice = Path | PostgresDb


def parse_state(text: str, folder: Path) -> StateChoice:
    """A file of this folder, or postgresql://[user[:password]@]host[:port]/database. Raises ConfigError."""
    if "://" not in text:
        return folder / text
    try:
        parts = urlsplit(text)
        port = parts.port or 5432
    except ValueError as fault:
        raise ConfigError(f"{text!r}: {fault}") from fault
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = options.pop("host", "") or unquote(parts.hostname or "")
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgresql", "postgres") or not host or not database:
        raise ConfigError(f"{text!r}: write the name of a file, or postgresql://USER@HOST:PORT/DATABASE")
    if unknown := set(options) - set(OPTIONS):
        raise ConfigError(f"{text!r}: unknown option {', '.join(sorted(unknown))}; there are: {', '.join(OPTIONS)}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return PostgresDb(host, database, port, user, password, tuple(sorted(options.items())))
