"""The foreign witness of payloads: npm's sparkplug-payload (Eclipse Tahu's code), run by the pinned node.

`python -m tests.sparkplug.foreign` installs it from its lock file (`make servers` does); nothing of it is committed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cloud.web.build import find_node
from wire.errors import ConfigError

WITNESS = Path(__file__).parent / "witness"
_STAMP = WITNESS / "node_modules" / ".inputs"
_INPUTS = ("package.json", "package-lock.json", ".npmrc")


def _wanted() -> str:
    return hashlib.sha256(b"\0".join((WITNESS / name).read_bytes() for name in _INPUTS)).hexdigest()


def installed() -> bool:
    return _STAMP.is_file() and _STAMP.read_text() == _wanted()


def install() -> bool:
    """True when something was installed. Raises ConfigError with npm's own words when it failed."""
    if installed():
        return False
    node, npm = find_node()
    path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path}
    command = [str(node), str(npm), "ci", "--ignore-scripts"]
    done = subprocess.run(command, cwd=WITNESS, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(f"npm ci in {WITNESS} failed; it said:\n{(done.stdout + done.stderr).strip()}")
    _STAMP.write_text(_wanted())
    return True


def _asked(questions: Sequence[dict[str, Any]]) -> list[Any]:
    if not installed():
        raise ConfigError("the foreign witness is not installed: make servers")
    node, _ = find_node()
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(
        [node, WITNESS / "witness.mjs"], input=lines, capture_output=True, text=True, check=False, timeout=60
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(questions):
        raise RuntimeError(f"the witness failed: {done.stderr[-2000:]}")
    return answers


def decoded(payloads: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the witness reads: the fields that are there, by their protobuf names in camel case.

    64-bit fields are text. A metric's `understood` is the witness's {type, value}. `fault`: it could not read it.
    """
    return list(_asked([{"decode": base64.b64encode(payload).decode()} for payload in payloads]))


def encoded(payloads: Iterable[dict[str, Any]]) -> list[bytes]:
    """Payloads as a foreign edge node or host would say them. {'raw': fields}: nothing is added by the encoder."""
    answers = _asked([payload if "raw" in payload else {"encode": payload} for payload in payloads])
    for answer in answers:
        if not isinstance(answer, str):
            raise TypeError(f"the witness cannot say this: {answer}")
    return [base64.b64decode(answer) for answer in answers]


def main() -> int:
    try:
        if install():
            print("foreign witness of Sparkplug payloads installed")
    except ConfigError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
