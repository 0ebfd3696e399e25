"""The one command. Mounts a sub-command of each package; a package is imported only when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

VERSION = "0.1.0"

# sub-command -> module with main(argv) -> exit code, and the line that --help shows
COMMANDS = {
    "gateway": ("gateway.cli", "read devices, judge, buffer, publish (runs on the gateway)"),
    "cloud": ("cloud.cli", "collect, store, confirm, show (runs on the host)"),
    "models": ("models.cli", "train and inspect the models that score assets"),
    "sim": ("firmware_sim.cli", "devices to test against, and all their faults: Modbus and serial"),
    "demo": ("firmware_sim.demo.cli", "the whole chain on this machine, no server to install"),
}


def usage() -> str:
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    return (
        "usage: gaugeline COMMAND ...\n\n"
        "Gaugeline reads devices at the edge and proves what became of every sample.\n\n"
        + "\n".join(lines)
        + "\n\n`gaugeline COMMAND --help` says what each can do.\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command; 0 is success, 1 a problem that was told, 2 a wrong call."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"gaugeline {VERSION}\n")
        return 0
    if arguments[0] not in COMMANDS:
        sys.stderr.write(f"gaugeline: no command {arguments[0]!r}; there are: {', '.join(COMMANDS)}\n")
        return 2
    module, _ = COMMANDS[arguments[0]]
    try:
        commands = import_module(module)
    except ModuleNotFoundError as fault:
        if fault.name is not None and fault.name.split(".")[0] == module.split(".")[0]:
            raise
        sys.stderr.write(
            f"gaugeline {arguments[0]} needs the package {fault.name!r}, which is not installed here.\n"
            "Install the part that needs it, for example: pip install 'gaugeline[cloud]'\n"
        )
        return 1
    try:
        code: int = commands.main(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # `gaugeline ... | head` closed the pipe: nobody reads on, and nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
