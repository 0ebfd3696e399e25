"""Checks what no linter knows: modules that grew too long, addresses of package hosts, forgotten marks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LONGEST = 300
GENERATED = {"wire/sparkplug_pb2.py"}
HOSTS = re.compile(r"https?://[a-z0-9.-]*(?:py" + r"pi|pythonhosted|np" + r"mjs|deb" + r"ian)\.(?:org|com)")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
PACKAGES = ("wire", "agent", "gateway", "models", "cloud", "firmware_sim")


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, text=True).stdout
    return [Path(name) for name in listing.split("\0") if name and Path(name).is_file()]


def problems(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return []
    found = []
    if path.suffix == ".py" and str(path) not in GENERATED:
        lines = text.count("\n")
        if path.parts[0] in PACKAGES and lines > LONGEST:
            found.append(f"{path}: {lines} lines; a module holds at most {LONGEST}: split it by nouns")
        if path.parts[0] in PACKAGES and not text.lstrip().startswith('"""') and text.strip():
            found.append(f"{path}: the first line must say what the module is for")
    for number, line in enumerate(text.splitlines(), 1):
        if path.suffix != ".md" and HOSTS.search(line):
            found.append(f"{path}:{number}: names a package host; lock files carry no addresses")
        if path.suffix in (".py", ".ts", ".sh") and UNFINISHED.search(line):
            found.append(f"{path}:{number}: an unfinished mark; do it or say it in the docs")
    return found


def main() -> int:
    found = [problem for path in tracked() for problem in problems(path)]
    print("\n".join(found) if found else "sources: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
