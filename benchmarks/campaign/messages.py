"""Messages that come twice, in another order or from yesterday; and confirmations that nobody gave."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.campaign.family import Family, pause
from benchmarks.campaign.plant import GATEWAY, GROUP, HOST, Plant, kill, now_ms
from benchmarks.campaign.rough_link import Weather
from wire.delivery import CONFIRMED, Confirmation, ConfirmedRange, confirmation_json, confirmed_ranges
from wire.payload import Metric, Payload, encode
from wire.tag import Datatype

_TAG = re.compile(rb"([0-9a-f]{16}):(\d+):\d+:([0-9a-f]{32})")


def _meddled(plant: Plant, dice: random.Random) -> None:
    """A man in the middle between broker and host: three of ten data messages."""
    before = plant.host_link.meddled
    plant.host_link.weather = Weather(meddle=0.3)
    until = time.monotonic() + 20.0
    pause(dice, 2.0, 4.0)
    while plant.host_link.meddled < before + 3 and time.monotonic() < until:
        time.sleep(0.1)
    plant.host_link.calm()
    if plant.host_link.meddled < before + 3:
        raise RuntimeError("no message was meddled with: the campaign itself is at fault")


class Intruder:
    """Listens to what the gateway publishes, and speaks to it as if it were a host."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, dict[int, str]] = {}
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="intruder")
        self._client.on_message = self._listen
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(f"spBv1.0/{GROUP}/+/{GATEWAY}/#")
        self._client.loop_start()

    def _listen(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        for epoch, number, digest in _TAG.findall(message.payload):
            with self._lock:
                self.heard.setdefault(epoch.decode(), {})[int(number)] = digest.decode()

    def published(self) -> tuple[str, dict[int, str]]:
        """Of the epoch that was heard last: number -> digest."""
        with self._lock:
            epoch = list(self.heard)[-1]
            return epoch, dict(self.heard[epoch])

    def say(self, name: str, text: str) -> None:
        metric = Metric(name=name, ts_ms=now_ms(), datatype=Datatype.STRING, value=text)
        body = encode(Payload(ts_ms=now_ms(), metrics=(metric,)))
        self._client.publish(f"spBv1.0/{GROUP}/NCMD/{GATEWAY}", body).wait_for_publish(5)

    def confirm(self, host: str, epoch: str, ranges: tuple[ConfirmedRange, ...]) -> None:
        self.say(CONFIRMED, confirmation_json(Confirmation(host, epoch, ranges)))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def deaf_host(plant: Plant, seconds: float) -> Iterator[Intruder]:
    """The host is frozen, hears nothing and is killed in the end: only what is sent again to the next one is stored.

    So a forged confirmation that is believed is a loss that the witness sees.
    """
    host, intruder = plant.the_host, Intruder(plant.broker.port)
    try:
        plant.host_link.go_silent()
        time.sleep(seconds)
        yield intruder
        time.sleep(0.5)
    finally:
        intruder.close()
        kill(host)
        plant.host_link.calm()
        plant.start_host()


def _forged(plant: Plant, dice: random.Random) -> None:
    with deaf_host(plant, dice.uniform(1.5, 2.5)) as intruder:
        epoch, known = intruder.published()
        if not known:
            raise RuntimeError("the gateway published nothing: the campaign itself is at fault")
        right = confirmed_ranges(known)
        first, last = min(known), max(known)
        wrong = f"{dice.getrandbits(128):032x}"
        for host, of, ranges in (
            (HOST, epoch, tuple(r._replace(digest=wrong) for r in right)),  # wrong digest
            (HOST, epoch, (ConfirmedRange(first, last + 50, wrong),)),  # numbers that were not published
            (HOST, epoch, (ConfirmedRange(0, 2**40, wrong),)),
            (HOST, epoch, confirmed_ranges({n + 1: digest for n, digest in known.items()})),  # moved by one
            ("another-host", epoch, right),  # right digests from a host that is not required
            (HOST, "0" * 16, right),  # an epoch that never was
        ):
            intruder.confirm(host, of, ranges)


FAMILIES = (
    Family("meddled", 30, 1, "messages doubled, swapped and replayed between broker and host", _meddled),
    Family("forged", 30, 1, "confirmations with a wrong digest, number, host or epoch", _forged),
)
