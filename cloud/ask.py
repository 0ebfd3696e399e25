"""`gaugeline cloud audit | dead-letters | nodes`: what a person asks the running host."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from cloud.times import HELP, WrongCall, moment_ms, unshielded
from wire.errors import ConfigError

AUDIT_ABOUT = f"""\
Asks the running host what became of every sample, per gateway and device. Exit code 0: the balance holds; 1: it does
not, or the host does not answer; 2: a wrong call.

  gaugeline cloud audit                           everything, from the gateways' own counters
  gaugeline cloud audit --gateway plant-1/gw-1    one gateway (gw-1 alone, where no other group has one)
  gaugeline cloud audit --from -2h                what was measured in the last two hours
  gaugeline cloud audit --refill -7d now          the host was restored: gateways send again what they kept of a week

The balance: produced = stored + dead letters + dropped + in flight + collided + expired. Columns, in samples:
  produced      committed to the gateway's outbox, whatever the quality, scores included; counted there
  stored        rows in the database, counted there, and those that retention removed, counted when it did
  in flight     in the outbox, not confirmed, and not in the host's ledger either; counted in the outbox
  dead letters  what no database takes, or what contradicts a known batch: see `gaugeline cloud dead-letters`
  dropped       left out by the policy of a full outbox, each with a record
  collided      another batch had stored the same tag at the same time
  expired       deleted by the database's own retention, which counts nothing: what the ledger has beyond the database,
                as far as it is older than the database keeps
  lost          what is left over of the balance, and must be 0
  suppressed    held back by the deadband: never produced
  refused       not taken, because a policy or a full disk said so: never produced
Below them: duplicates (batches that came again and were not stored again), gaps (records of a gateway's restart),
third-party rows (of nodes that count nothing).

With --from or --to the ledger is asked instead, which knows times (the gateways' counters do not); a batch that reaches
into the time counts whole:
  batches       ledger entries of that time
  samples       in them; = stored + dead letters + collided
  stored        what they say is in the database
  restored      rows that `archive restore` gave back and no batch accounts for; their days count whole
  rows          what the database has between the first and the last stamp of these batches
  removed       by retention; runs of such days count whole
  expired       deleted by the database's own retention, as above
  lost          stored + restored - rows - removed - expired, and must be 0
  missing       (per gateway) batches between them that are neither stored nor accounted for, and must be 0
Times are {HELP}.
"""
LETTERS_ABOUT = """\
Lists what could not be stored, newest first, and how much of it was left out for want of room.

  gaugeline cloud dead-letters                    the newest 50
  gaugeline cloud dead-letters --kind message     messages that do not follow Sparkplug B
  gaugeline cloud dead-letters show 17            all of number 17, with its content

Kinds: sample (one value that no database takes: not a number, a time in 1970), conflict (a whole batch whose number is
stored with another digest, or whose digest never fitted), record (a gateway's record that cannot be read), message (not
understood at all). Samples and conflicts stand in the balance as dead letters. At most 10,000 messages and 100,000
other letters are kept, 64 MB of contents each; of what comes then only the count is kept.
"""
NODES_ABOUT = """\
Lists every edge node that the host knows: alive or stale, since when, when it was heard last, whether two gateways use
its id, and which metrics are left out because their datatype (Template, DataSet, UUID ...) is not one that is stored.
A node that was silent for `forget_after_days` (365) is forgotten, unless its balance does not hold.
"""
BALANCE = (
    *("produced", "stored", "in_flight", "dead_letters", "dropped", "collided", "expired", "lost"),
    *("suppressed", "refused"),
)
WIDEST = 120  # characters of one cell: a reason needs about so many
WINDOW = (
    "batches", "samples", "stored", "dead_letters", "collided", "restored", "rows", "removed", "expired", "lost",
)  # fmt: skip

_Adder = Callable[..., argparse.ArgumentParser]


class Answer(NamedTuple):
    """What to print, and the exit code."""

    text: str
    code: int = 0


def add(command: _Adder) -> None:
    """command: add_parser of the sub-commands."""
    raw = argparse.RawDescriptionHelpFormatter
    audit = command("audit", help="what became of every sample", description=AUDIT_ABOUT, formatter_class=raw)
    audit.add_argument("--gateway", metavar="G", help="only this one: GROUP/GATEWAY")
    audit.add_argument("--from", dest="from_time", metavar="T", help="what was measured from this time on")
    audit.add_argument("--to", dest="to_time", metavar="T", help="... before this time (now)")
    audit.add_argument(
        "--refill", nargs=2, metavar=("FROM", "TO"), help="ask gateways to send again what they kept of this time"
    )
    audit.set_defaults(ask=_audit)
    letters = command("dead-letters", help="what could not be stored", description=LETTERS_ABOUT, formatter_class=raw)
    letters.add_argument("show", nargs="*", metavar="show ID", help="one letter with its content")
    letters.add_argument("--kind", choices=("sample", "conflict", "record", "message"), help="only this kind")
    letters.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many, up to 1000 (50)")
    letters.set_defaults(ask=_letters)
    nodes = command("nodes", help="which edge nodes there are", description=NODES_ABOUT, formatter_class=raw)
    nodes.set_defaults(ask=_nodes)
    for parser in (audit, letters, nodes):
        parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running host (http://127.0.0.1:8080)")
        parser.add_argument("--json", action="store_true", help="as JSON")


def call(
    url: str,
    path: str,
    params: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    timeout_s: float = 60,
) -> Any:
    """What the host answers. Raises ConfigError with what the host says is wrong."""
    given = {k: v for k, v in (params or {}).items() if v is not None}
    try:
        answer = httpx.request(
            "GET" if body is None else "POST",
            f"{url.rstrip('/')}{path}",
            params=given,
            json=body,
            timeout=timeout_s,
            trust_env=False,
        )
        found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise ConfigError(f"no host answers at {url} ({fault}); is `gaugeline cloud run` running? See --url") from fault
    except ValueError as fault:
        raise ConfigError(f"{url} is not a Gaugeline host") from fault
    if answer.is_error:
        asked_wrong = answer.status_code in (
            404,
            422,
        )  # no such gateway or letter, a time that runs back
        raise (WrongCall if asked_wrong else ConfigError)(str(found.get("detail", found)))
    return found


def _audit(arguments: argparse.Namespace) -> Answer:
    now_ms = time.time_ns() // 1_000_000
    times = [arguments.from_time, arguments.to_time]
    if arguments.refill is not None:
        if any(times):
            raise WrongCall("--refill FROM TO bears its own times: leave --from and --to out")
        return _refill(arguments, now_ms)
    if not any(times):
        balance = call(arguments.url, "/api/balance", {"gateway": arguments.gateway})
        return _told(balance, arguments.json, BALANCE, _balance_verdict)
    if times[0] is None:
        raise WrongCall("--to needs --from")
    from_ms, to_ms = (moment_ms(unshielded(t or "now"), now_ms) for t in times)
    asked = {"from_ms": from_ms, "to_ms": to_ms, "gateway": arguments.gateway}
    return _told(call(arguments.url, "/api/window", asked), arguments.json, WINDOW, _window_verdict)


def _refill(arguments: argparse.Namespace, now_ms: int) -> Answer:
    """0 when every gateway could be asked."""
    from_ms, to_ms = (moment_ms(unshielded(t), now_ms) for t in arguments.refill)
    body = {"from_ms": from_ms, "to_ms": to_ms, "gateway": arguments.gateway}
    said = call(arguments.url, "/api/refill", body=body)
    code = 0 if said["asked"] and not said["away"] else 1
    if arguments.json:
        return Answer(json.dumps(said, indent=2), code)
    lines = [f"asked to send again from {clock(from_ms)} to {clock(to_ms)}: {', '.join(said['asked']) or 'nobody'}"]
    if said["away"]:
        lines.append(f"away, ask again when they are back: {', '.join(said['away'])}")
    if said["asked"]:
        lines.append("What they kept comes beside their new samples; `gaugeline cloud audit` shows when all is there.")
    return Answer("\n".join(lines), code)


def _told(
    found: Mapping[str, Any], as_json: bool, figures: Sequence[str], verdict: Callable[[Mapping[str, Any]], str]
) -> Answer:
    code = 0 if found["ok"] else 1
    if as_json:
        return Answer(json.dumps(found, indent=2), code)
    rows = [("all", found), *found["gateways"].items(), *found["devices"].items()]
    head = ["", *(figure.replace("_", " ") for figure in figures)]
    return Answer(f"{table([head, *([n, *(r[f] for f in figures)] for n, r in rows)])}\n\n{verdict(found)}", code)


def _balance_verdict(balance: Mapping[str, Any]) -> str:
    verdict = "The balance holds: nothing is lost." if balance["ok"] else "THE BALANCE DOES NOT HOLD: see column lost."
    if balance["lost"] > 0:
        verdict += " Was the host restored? `gaugeline cloud audit --refill FROM TO` asks the gateways again."
    if balance["expired"]:
        verdict += (
            f" {balance['expired']:,} samples older than the database's own retention of"
            f" {balance['database_keeps_days']:g} days were deleted by it ({balance['expired_at_least']:,} surely; the"
            " others are in batches across that line, or were lost before: nobody can say)."
        )
    if balance["removed"]:
        verdict += f" Of the stored ones retention has removed {balance['removed']:,}."
    known = f"duplicates {balance['duplicates']:,}, gaps {balance['gaps']:,}, third-party rows {balance['strangers']:,}"
    return f"{verdict} ({known})"


def _window_verdict(window: Mapping[str, Any]) -> str:
    time_of = f"from {clock(window['from_ms'])} to {clock(window['to_ms'])}"
    if window["ok"]:
        return f"The ledger and the database agree {time_of}."
    missing = ", ".join(f"{name}: {g['missing']:,}" for name, g in window["gateways"].items() if g["missing"])
    told = f" Missing batches: {missing}. `--refill FROM TO` asks the gateways again." if missing else ""
    return f"LEDGER AND DATABASE DO NOT AGREE {time_of}: lost {window['lost']:,}.{told}"


def _letters(arguments: argparse.Namespace) -> Answer:
    words = arguments.show
    if words:
        if len(words) != 2 or words[0] != "show" or not words[1].isdecimal():
            raise WrongCall("write `gaugeline cloud dead-letters show ID` with an ID of the list")
        letter = call(arguments.url, f"/api/dead-letters/{words[1]}")
        if arguments.json:
            return Answer(json.dumps(letter, indent=2))
        letter["at_ms"] = clock(letter["at_ms"])
        said = ((name, value) for name, value in letter.items() if value not in ("", None))
        return Answer("\n".join(f"{name:>12}  {_plain(str(value))}" for name, value in said))
    asked = {"limit": arguments.limit, "kind": arguments.kind}
    letters = call(arguments.url, "/api/dead-letters", asked)["items"]
    summary = call(arguments.url, "/api/dead-letters/summary")
    if arguments.json:
        return Answer(json.dumps({"letters": letters, "summary": summary}, indent=2))
    rows = [["id", "kept", "kind", "node", "device", "tag", "samples", "why"]]
    for x in letters:
        place = [f"{x['group']}/{x['node']}", x["device"], x["tag"]]
        rows.append([str(x["id"]), clock(x["at_ms"]), x["kind"], *place, x["samples"], x["why"]])
    lines = [table(rows, left=True) if letters else "no dead letters"]
    lines += [
        f"{kind}: {n['kept']:,} kept ({n['bytes']:,} bytes), {n['left_out']:,} left out for want of room"
        for kind, n in summary.items()
        if n["kept"] or n["left_out"]
    ]
    return Answer("\n".join(lines))


def _nodes(arguments: argparse.Namespace) -> Answer:
    nodes = call(arguments.url, "/api/nodes")
    if arguments.json:
        return Answer(json.dumps(nodes, indent=2))
    rows: list[list[Any]] = [["node", "state", "since", "heard", "protocol", "id used twice", "left out"]]
    for n in nodes:
        twice = "yes" if n["duplicate_id"] else ""
        times = [clock(n["since_ms"]), clock(n["heard_ms"])]
        rows.append([n["node"], n["state"], *times, n["protocol"], twice, len(n["left_out"])])
    left_out = [
        f"  {n['node']}: {what} left out {times:,} times" for n in nodes for what, times in n["left_out"].items()
    ]
    return Answer("\n".join([table(rows, left=True), *left_out]))


def clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else "-"


def _plain(text: str) -> str:
    """What a stranger sent, so that it cannot move the cursor or colour the screen."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str) -> str:
    """One long name must not make the table unreadable; --json and `show` say all of it."""
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def table(rows: Iterable[Sequence[Any]], left: bool = False) -> str:
    """The first column to the left, figures to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else _cut(_plain(str(cell))) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = (c.ljust(w) if left or not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
