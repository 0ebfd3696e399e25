"""What asks a running host, and every --help, waits for no database, web server or data library to load."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from cloud.cli import GROUPS, main
from tests.servers import free_port

HEAVY = (
    "alembic", "duckdb", "fastapi", "ibis", "influxdb_client", "pandas", "psycopg", "pyarrow", "sqlalchemy", "sqlglot",
    "starlette", "uvicorn",
)  # fmt: skip
COMMANDS = sorted(name for names in GROUPS.values() for name in names)


def test_commands_that_need_no_database_load_none() -> None:
    """All of them in one process, in which none of the heavy libraries can be imported."""
    host = ["--url", f"http://127.0.0.1:{free_port()}"]
    asked = [
        ["audit", *host], ["nodes", *host], ["dead-letters", *host], ["archive", "run", *host],
        ["archive", "restore", "--day", "2026-05-01", *host], ["backup", "new", *host],
        ["export", "--site", "plant", *host],
    ]  # fmt: skip
    helped = [["--help"], *([command, "--help"] for command in COMMANDS)]
    code = (
        "import contextlib, io, sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"  # what Python keeps for a module that cannot be imported
        "from cloud.cli import main\n"
        f"for words in {helped!r}:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(words)\n"
        f"print([main(words) for words in {asked!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{[1] * len(asked)}\n"), done.stderr
    assert done.stderr.count("is `gaugeline cloud run` running?") + done.stderr.count("see --url") == len(asked)


def test_the_help_lists_every_command_once_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^  ([a-z-]+)  +\S", capsys.readouterr().out.partition("Begin:")[2], re.M)
    assert sorted(listed) == COMMANDS
    with pytest.raises(SystemExit):
        main(["nothing"])
    told = capsys.readouterr().err
    assert all(name in told for name in COMMANDS)
    assert told.partition("choose from")[2].count(",") + 1 == len(COMMANDS)
