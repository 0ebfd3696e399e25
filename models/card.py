"""The model card: what a person must know before trusting the file, as Markdown beside it."""

from __future__ import annotations

from collections.abc import Mapping

from models import inspection
from models.manifest import Manifest, duration


def card(manifest: Manifest, file_name: str, pictures: Mapping[str, str] | None = None) -> str:
    """The same text for the same manifest: no date, no machine. pictures: what one shows -> its file beside it."""
    alarms, rule, training = manifest.false_alarms, manifest.alarm, manifest.training
    inputs = "\n".join(
        f"| `{each.name}` | {f'`{each.unit}`' if each.unit else ''} | {each.centre:.6g} | {each.spread:.6g} | "
        f"{', '.join(f'`{name}`' for name in each.follows)} |"
        for each in manifest.inputs
    )
    due = alarms.held_out_rows / alarms.rows
    curve = "\n".join(
        f"| one in {duration(each.rows * manifest.period_s)} | {each.threshold:g} | "
        f"{alarms.held_out_rows / each.rows:.3g} | {each.held_out_alarms} |"
        for each in alarms.curve
    )
    shown = "".join(f"\n![{about}]({file})\n" for about, file in (pictures or {}).items())
    missing = "\n".join(f"- a missing tag: {part}" for part in inspection.missing(manifest))
    _begin_and_end, *others = inspection.alarm(rule)
    if manifest.baseline is not None:
        others += [f"baseline: {part}" for part in inspection.baseline(manifest.baseline)]
    more = "".join(f"- {part}\n" for part in others)
    signed = "signed" if manifest.signature else "not signed"
    return f"""# {manifest.name}, version {manifest.version}

`{file_name}` scores one row of {len(manifest.inputs)} inputs every {manifest.period_s:g} s with the detector
`{manifest.detector}`. 0 is the middle of normal operation; the first {manifest.warm_up_rows} rows only warm it up.
The file is {signed}. `gaugeline models inspect {file_name}` shows what it says of itself.

| input | unit (UCUM) | usual value | usual spread (robust standard deviation) | follows |
| --- | --- | --- | --- | --- |
{inputs}

## Threshold and false alarms

- threshold: {manifest.threshold:g}, set for {alarms.statement} ({duration(alarms.rows * manifest.period_s)})
- how: {alarms.method}
- held out, each fifth of the normal rows judged by a model of the other four: {alarms.held_out_alarms} false alarms in
  {alarms.held_out_rows} rows, where {due:.1f} were due
- an alarm is raised by {rule.raise_rows} rows in a row at or above the threshold, stays for at least {rule.hold_rows}
  rows, and ends after {rule.release_rows} rows in a row below {rule.clear_ratio:g} of the threshold
{more}
An operator may ask for another rate (`false_alarms` in site.yaml), between the first and the last of these:

| false alarms | threshold | due in the held-out rows | came |
| --- | --- | --- | --- |
{curve}
{shown}
## Training

- data: {training.source}
- window: {training.window} ({training.rows} rows)
- SHA-256 of the data: `{training.sha256}`

## Limits

{missing}

The rate holds while the machine runs as it did in the training window: another operating point, season or sensor needs
another model. Normal rows follow one another slowly, so that few of them are independent; the rate is an estimate, and
the held-out figure above is its only check. A low score says "as in the training window", not "healthy".
"""
