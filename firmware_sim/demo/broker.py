"""The demo's broker: mosquitto where it is installed, else the embedded amqtt (for demonstrations only)."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from firmware_sim.demo.processes import Child, mosquitto_program


def broker_child(folder: Path, port: int, *, embedded: bool = False) -> tuple[Child, str]:
    """The broker's process, not yet started, and what to call it on the screen."""
    program = None if embedded else mosquitto_program()
    if program is None:
        command = [sys.executable, "-m", "firmware_sim.demo.broker", "--port", str(port)]
        return Child("broker", command, folder), "amqtt (embedded, for demonstrations)"
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 100000\n"
    )
    return Child("broker", [program, "-c", str(config)], folder), "mosquitto"


async def serve(port: int) -> None:
    """Runs amqtt on 127.0.0.1 until SIGTERM or SIGINT."""
    from amqtt.broker import Broker

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await broker.start()
    try:
        await ended.wait()
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The embedded MQTT broker of the demo.")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
