"""The questions that there are. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from cloud.analytics.question import Question
from cloud.analytics.questions import data_quality, energy, good_hours, hourly, operating_hours
from wire.errors import ConfigError

QUESTIONS: Mapping[str, Question] = {
    "data-quality": data_quality.QUESTION,
    "energy": energy.QUESTION,
    "good-hours": good_hours.QUESTION,
    "hourly": hourly.QUESTION,
    "operating-hours": operating_hours.QUESTION,
}


def question(name: str) -> Question:
    """Raises ConfigError that names what was probably meant."""
    found = QUESTIONS.get(name)
    if found is None:
        near = get_close_matches(name, QUESTIONS, n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(QUESTIONS)}"
        raise ConfigError(f"no query {name!r}; {meant}")
    return found
