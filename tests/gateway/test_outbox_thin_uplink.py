"""Thinning during a session of a real gateway's uplink: what is left goes out as history and is confirmed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.births import BirthBook, Latest
from gateway.config.convert import Broker, OutboxSettings
from gateway.outbox.store import Outbox
from gateway.resend import ResendWindow
from gateway.uplink import Uplink
from tests.gateway.field import LINES, TAGS, block, taken
from tests.gateway.host import host
from tests.gateway.outboxes import NODE, T0
from tests.servers import Mosquitto
from wire.thinned import REPLACES


async def test_thinned_batches_go_out_as_history_are_understood_and_confirmed(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    outbox = Outbox(OutboxSettings(tmp_path / "o.db", 20, 1_000_000, "thin_oldest"), NODE, ["gaugeline"], lambda: T0)
    await outbox.open(TAGS, LINES)
    book = BirthBook(TAGS, {}, outbox.aliases, Latest())
    broker = Broker("127.0.0.1", mosquitto.port, keepalive_s=5)
    uplink = Uplink([broker], NODE, ("gaugeline",), outbox, book, ResendWindow(min_s=0.2, first_s=0.5), lambda: T0)
    running = asyncio.create_task(uplink.run())
    try:
        # The host listens and does not confirm while the outbox fills up and is thinned.
        async with host(mosquitto.port, confirm=False) as h:
            await h.until(lambda: uplink.state == "online")
            for i in range(100):
                outbox.append(taken(*[block(T0 + i * 1000 + k) for k in range(250)]))
                await outbox.flush()
                await asyncio.sleep(0)
            await h.until(lambda: any(REPLACES in x.names for x in h.of("DDATA", "pump")), 90)
            h.confirm = True
            # What was heard before: a host that holds the first version confirms its thinned one, so do we here.
            async with asyncio.timeout(120):
                while (await outbox.pending())[0]:
                    await asyncio.sleep(0.05)
            pump = (await outbox.status())["devices"]["pump"]
            thinned = [x for x in h.of("DDATA", "pump") if REPLACES in x.names]
            assert thinned and all(x.historical for x in thinned), "old values are never the current ones"
            assert pump["dropped"] > 0
            assert pump["produced"] == 100 * 500 == pump["confirmed"] + pump["dropped"]
            samples = {key for key in h.rows if key[1] != REPLACES}
            assert len(samples) >= pump["confirmed"]
            assert uplink.counters["rebirths"] == 0, "the birth had the alias of the marker"
    finally:
        running.cancel()
        await asyncio.wait([running])
        await outbox.close(clean=True)
