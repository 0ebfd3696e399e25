"""A large site.yaml read by a process of its own, so that the gateway never holds what reading it takes.

Reading 10,000 tags takes 60 MB and two seconds for 4 MB of specifications. Python does not give such memory back, and
at a reload the lines would wait meanwhile.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from gateway.config import load_site
from gateway.config.convert import Site
from wire.errors import ConfigError

LARGE_BYTES = 100_000
"""Some 1,000 tags: below that another process costs more than it saves."""


def load_apart(path: Path, large_bytes: int = LARGE_BYTES) -> Site:
    """As load_site. Raises ConfigError."""
    try:
        large = path.stat().st_size > large_bytes
    except OSError:
        large = False  # load_site says what is wrong
    if not large:
        return load_site(path)
    command = [sys.executable, "-P", "-m", "gateway.config.apart", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        found = pickle.loads(done.stdout)  # noqa: S301  # our own child's
    except (pickle.UnpicklingError, EOFError) as fault:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ConfigError(f"{path}: the process that reads it ended with {done.returncode}: {''.join(last)}") from fault
    if isinstance(found, Site):
        return found
    raise ConfigError(found)


def main() -> None:
    """Writes the Site, or the list of its problems, to standard output."""
    result: Site | list[str]
    try:
        result = load_site(Path(sys.argv[1]))
    except ConfigError as fault:
        result = list(fault.problems)
    pickle.dump(result, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
