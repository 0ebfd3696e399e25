"""docs/sparkplug.md from the table of requirements: `python -m tests.sparkplug.page` writes it anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.sparkplug.table import Requirement, requirements

PAGE = Path(__file__).parents[2] / "docs" / "sparkplug.md"
_STATES = {"met": "met", "partly": "in part", "not": "**not met**", "none": "does not concern us"}
_HEAD = """# Sparkplug B: requirement by requirement

The tests follow the requirement ids of the Sparkplug 3.0.0 specification. `tests/sparkplug/` plays one scenario over a
real mosquitto with a whole gateway and a whole collector: a host that is away, births, data, rebirths, a device that
dies and returns, STATE messages that are old, forged or late, cut cables, a foreign edge node with gaps in its
sequence, and both leaving. A tap on each connection writes down every MQTT packet (also CONNECT with its will,
SUBSCRIBE and DISCONNECT); a foreign subscriber writes down what the broker hands on. Payloads are read by npm's
`sparkplug-payload`, and the foreign edge node speaks through its encoder; our own codec judges nothing. Then every
check is shown a spoilt recording, and must find it out.

```sh
make servers
.venv/bin/python -m pytest tests/sparkplug
```

This page is made from `tests/sparkplug/requirements.yaml` (`python -m tests.sparkplug.page`); the words are ours, the
specification's count. {figures}

## What differs from others

- **UInt32** stands in `int_value`, as the specification's table of data types says. Eclipse Tahu's JavaScript library,
  `sparkplug-payload`, writes and reads `long_value`. We read both; a host made with that library reads our UInt32 tags
  as 0.
- Births on command are said every 2 s at most. A request that comes sooner stops the data at once, and is answered when
  the 2 s are over; what was held back goes out right behind those births, also when the next request is there already:
  a host that asks without end slows a gateway down and never silences it.
- A message waits for the ones before it for 2 s, or what `reorder_s` in cloud.yaml says; then a rebirth is asked for.
- A STATE that says online with a time before that of the STATE before it is not believed in that connection. The
  gateway connects anew, and then believes what the broker has retained: a host whose clock was set back is not locked
  out.

## What is met in part

{partly}

## All requirements

| id | whose | asks for | here |
| --- | --- | --- | --- |
{rows}
"""


def _row(r: Requirement) -> str:
    here = _STATES[r.state] if r.state != "none" else f"{_STATES['none']}: {r.why}"
    return f"| `{r.id}` | {'' if r.who == 'none' else r.who} | {r.says} | {here} |"


def page() -> str:
    table = list(requirements().values())
    count = Counter(r.state for r in table)
    figures = (
        f"Of {len(table)} requirements {len(table) - count['none']} concern an edge node or a host as ours are; "
        f"{count['met']} of them are met, {count['partly']} in part, {count['not']} not. Each has a test of its name, "
        "`test_requirement[ID]`; of those met in part it shows how far."
    )
    partly = "\n".join(f"- `{r.id}`: {r.why}." for r in table if r.state in ("partly", "not"))
    return _HEAD.format(figures=figures, partly=partly, rows="\n".join(map(_row, table)))


if __name__ == "__main__":
    PAGE.write_text(page())
