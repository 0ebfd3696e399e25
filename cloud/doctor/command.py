"""`gaugeline cloud doctor`: every check, one after the other, for people and for machines."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.ask import Answer
from cloud.config import KEYS, Config, load_config
from wire.errors import ConfigError

if TYPE_CHECKING:
    from cloud.doctor.finding import Finding

ABOUT = """\
Checks a host's configuration and everything around it, before the first start or when something is wrong. It writes no
sample, makes no database, and leaves a running host alone: give it the same options as `gaugeline cloud run`.

  gaugeline cloud doctor --config cloud.yaml
  gaugeline cloud doctor --broker mqtt://192.168.1.10 --store influxdb+v1://127.0.0.1:8086/gaugeline --json

Checked are: the configuration; the page's port; the broker (reachable, user and password, may the host read what
gateways say and write its STATE, is another host online with this host_id); certificates and how long they count; the
store (reachable, its version, may the host write, retention); the state (reachable, may the host write, its schema);
free space; the archive; the clock.

While a host runs at the page's address, nobody logs in at the broker and its files are not opened: a broker may take
two sessions of one user for one (use_username_as_clientid), and a file belongs to one process.

Exit code 0: all is well; 1: there are warnings; 2: something has failed, or a wrong call.
"""
MARKS = {"ok": "ok      ", "warning": "WARNING ", "failed": "FAILED  "}
OPTIONS = ("broker", "store", "state", "http", "host_id", "archive", "groups", "standby")

_Adder = Callable[..., argparse.ArgumentParser]


def add(command: _Adder) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    doctor = command("doctor", help="is everything there that a host needs?", description=ABOUT, formatter_class=raw)
    doctor.add_argument("--config", metavar="FILE", type=Path, help="the host's cloud.yaml; options overrule it")
    for key in OPTIONS:
        name = f"--{key.replace('_', '-')}"
        doctor.add_argument(name, metavar=key.upper(), help="as of `gaugeline cloud run`")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(ask=_doctor)


def _doctor(arguments: argparse.Namespace) -> Answer:
    given = {key: getattr(arguments, key, None) for key in KEYS}
    try:
        config = load_config(arguments.config, {key: value for key, value in given.items() if value is not None})
    except ConfigError as fault:
        from cloud.doctor.finding import failed

        todo = "correct it; the other checks follow once it can be read"
        return _told([failed("configuration", problem, todo) for problem in fault.problems], arguments.json)
    return _told(asyncio.run(examined(config, arguments.config)), arguments.json)


async def examined(config: Config, file: Path | None = None) -> list[Finding]:
    """Every check."""
    from cloud.costs.tariff_file import load_tariff
    from cloud.doctor import broker, here, state, store
    from cloud.doctor.finding import failed, ok

    found = [ok("configuration", f"{file or 'options and defaults'}: can be used")]
    try:
        load_tariff(config.tariff)
    except ConfigError as fault:
        found.append(failed("configuration", str(fault), "correct the tariff"))
    host = await asyncio.to_thread(here.running_host, config)
    found.append(here.page(config, host))
    of_state = await state.state(config, host is not None)
    online = "a host runs at the page's address" if host is not None else ""
    if not online and config.standby is not None and of_state.holder:
        online = f"host {of_state.holder!r} is active by the lease"
    found += await broker.broker(config, online)
    of_store = await store.store(config, host is not None)
    found += [*of_store.findings, of_state.finding, *here.disk(config)]
    found.append(await asyncio.to_thread(here.archive, config.archive))
    found.append(here.clock(of_store.date))
    return found


def _told(found: list[Finding], as_json: bool) -> Answer:
    states = {finding.state for finding in found}
    code = 2 if "failed" in states else 1 if "warning" in states else 0
    if as_json:
        return Answer(json.dumps({"ok": code == 0, "checks": [f._asdict() for f in found]}, indent=2), code)
    lines = []
    for f in found:
        lines.append(f"{MARKS[f.state]}{f.check}: {f.what}")
        lines += [f"        -> {f.todo}"] if f.todo else []
    verdict = ("All is well.", "There are warnings.", "Something has failed: the host would not work.")[code]
    return Answer("\n".join([*lines, "", verdict]), code)
