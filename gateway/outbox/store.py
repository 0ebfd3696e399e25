"""The outbox as the gateway sees it: appends never block, commits come in groups, one worker thread owns the file."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

from agent.pipeline import Taken
from gateway.config.convert import OutboxSettings
from gateway.histogram import Histogram
from gateway.outbox import look
from gateway.outbox.aside import set_aside_files
from gateway.outbox.database import Damaged, damaged
from gateway.outbox.file import OutboxFile
from gateway.outbox.pending import MAX_SAMPLES, Pending
from gateway.outbox.rows import AliasRow, Batch, Committed, Confirmed, JsonObject
from gateway.time_news import Known, News
from wire.delivery import Confirmation
from wire.errors import StoreFull
from wire.ids import NodeId
from wire.tag import Tag

log = logging.getLogger(__name__)
T = TypeVar("T")

Listener = Callable[[Committed], None]

_RETRY_S = 1.0  # after a disk that refused
_FORGET_EVERY_S = 3600.0


class Outbox:
    """Group commit in front of an OutboxFile. on_commit hears of every commit, after it is durable."""

    def __init__(
        self,
        settings: OutboxSettings,
        node: NodeId,
        hosts: Sequence[str],
        clock: Callable[[], int],
        max_pending: int = MAX_SAMPLES,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._file = OutboxFile(
            settings.path, node, settings.max_bytes, frozenset(hosts), clock, settings.when_full
        )  # fmt: skip
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        # One window must not take more than a part of the space, however long the disk was away (40 bytes a sample).
        self._pending = Pending(min(max_pending, settings.max_bytes // 16 // 40))
        self._flushing = asyncio.Lock()
        self._stop = asyncio.Event()
        self._took = Histogram(recent=1000)
        self.commits = 0
        self.failures = 0
        self.renewals = 0  # times that the file was found damaged while running
        self._loop: asyncio.AbstractEventLoop | None = None
        self.trouble = ""  # why the last commit failed; '' while commits succeed
        self._waiting = 0  # rows of the file that have no time yet
        self._moving = False  # a window without a time is being committed
        self.on_commit: Listener = lambda _: None

    @property
    def epoch(self) -> str:
        return self._file.epoch

    @property
    def aliases(self) -> Mapping[str, Mapping[str, int]]:
        """device -> tag name -> alias; '' is the node."""
        return self._file.aliases

    @property
    def commit_p99_ms(self) -> float:
        """99th percentile over the last 1,000 commits, encoding included."""
        return round(1000 * self._took.quantile_s(0.99), 3)

    async def open(self, tags: Mapping[str, Sequence[Tag]], lines: Sequence[str]) -> None:
        """tags: device -> all that can be appended. Raises StoreFull, ConfigError."""
        self._loop = asyncio.get_running_loop()
        try:
            # Not _run: open sets a damaged file aside by itself.
            await self._loop.run_in_executor(self._worker, self._file.open, tags, lines)
            self._waiting = self._file.unstamped.rows
        except BaseException:
            self._worker.shutdown(wait=False)
            raise

    async def register(self, tags: Mapping[str, Sequence[Tag]]) -> None:
        """Other tags from now on; flush what the old ones gave before. Raises StoreFull."""
        await self._write(lambda: self._file.register(tags))

    async def close(self, clean: bool) -> None:
        """Commits what waits, then closes. clean: a stop on purpose."""
        try:
            await self.flush()
        except StoreFull as fault:
            log.error("samples lost at the end", extra={"samples": self._pending.samples, "error": str(fault)})
            clean = False
        try:
            await self._run(self._file.close, clean)
        finally:
            self._worker.shutdown(wait=True)

    def append(self, taken: Taken) -> None:
        """Never blocks; what finds no room in memory is refused and counted."""
        self._pending.add(taken)

    def append_unstamped(self, taken: Taken, boot_id: str) -> None:
        """Taken in ms since the boot: kept until the time is known. Never blocks."""
        self._pending.add_unstamped(taken, boot_id)

    def clock(self, news: Iterable[News], known: bool) -> None:
        """What is known of the time; it holds from the next commit on."""
        self._pending.clock(news)
        if not known:
            self._file.time_known = False

    @property
    def behind(self) -> bool:
        """True while samples wait for their stamps: newer ones must be appended unstamped too."""
        return self._waiting > 0 or self._moving or self._pending.unstamped

    def device_state(self, device: str, alive: bool) -> None:
        """Told to on_commit with the window's batches: a death after them, a return before them."""
        self._pending.state(device, alive)

    async def run(self) -> None:
        """Commits every commit_ms until stop. A disk that refuses is told once and tried again."""
        forget_at = time.monotonic() + _FORGET_EVERY_S
        while not await self._stopped(self._settings.commit_ms / 1000):
            try:
                await self.flush()
                if time.monotonic() > forget_at:
                    forget_at = time.monotonic() + _FORGET_EVERY_S
                    await self._write(self._file.forget_old)
            except StoreFull as fault:
                self._told(str(fault))
                await self._stopped(_RETRY_S)

    def stop(self) -> None:
        """Ends run between two commits: a cancelled commit would be durable and told to nobody."""
        self._stop.set()

    async def _stopped(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    async def flush(self) -> None:
        """Commits the open window. Raises StoreFull; the window then waits in memory for the next try."""
        async with self._flushing:
            queued = self._waiting > 0 and self._file.time_known
            if self._pending.empty and not queued and not await self._run(self._file.gap_due):
                return
            window = self._pending.take()
            self._moving = bool(window.unstamped or window.unstamped_refused)
            states, window.states = window.states, {}
            began = time.monotonic()
            try:
                await self._write(lambda: self._file.commit(window), states)
            except StoreFull:
                self._pending.restore(window)
                raise
            finally:
                self._waiting, self._moving = self._file.unstamped.rows, False
            self._took.observe(time.monotonic() - began)
            self.commits += 1
            self._told("")

    def _told(self, trouble: str) -> None:
        self.failures += bool(trouble)
        if trouble and not self.trouble:
            log.warning("outbox cannot commit, samples wait in memory", extra={"error": trouble})
        elif self.trouble and not trouble:
            log.warning("outbox commits again", extra={"failed": self.failures})
        self.trouble = trouble

    async def confirm(self, confirmation: Confirmation) -> Confirmed:
        """Raises StoreFull: the host will be asked to confirm again."""
        return await self._write(lambda: self._file.confirm(confirmation))

    async def delivered(self, ids: Sequence[int]) -> None:  # as if confirmed: no host will; raises StoreFull
        await self._write(lambda: self._file.delivered(ids))

    async def park(self, epoch: str, number: int, digest: str) -> int | None:
        return await self._write(lambda: self._file.park(epoch, number, digest))

    async def weed(self, ids: Sequence[int]) -> list[int]:  # drops what the disk has changed; raises StoreFull
        return await self._write(lambda: self._file.weed(ids))

    async def refill(self, from_ms: int, to_ms: int) -> list[int]:
        return await self._write(lambda: self._file.refill(from_ms, to_ms))

    async def unconfirmed(self, after: int, upto: int, limit: int, max_bytes: int) -> list[Batch]:
        """Unconfirmed batches with after < id <= upto, oldest first, at most limit and about max_bytes."""
        return await self._run(self._file.unconfirmed, after, upto, limit, max_bytes)

    async def batches(self, ids: Iterable[int]) -> list[Batch]:
        return await self._run(self._file.batches, ids)

    async def last_id(self) -> int:
        return await self._run(self._file.last_id)

    async def next_bd_seq(self) -> int:
        return await self._run(self._file.next_bd_seq)

    async def high_water(self) -> dict[str, int]:
        return await self._run(self._file.high_water)

    async def anchor(self, boot_id: str) -> tuple[int, Known | None]:  # newest stamp of all; what was known
        return await self._run(self._file.anchor, boot_id)

    async def record(self, record: JsonObject) -> None:  # of the node, delivered like data; raises StoreFull
        await self._write(lambda: self._file.record(record))

    async def retired(self) -> list[AliasRow]:
        return await self._run(self._file.retired)

    async def waiting_devices(self) -> frozenset[str]:
        return await self._run(self._file.waiting_devices)

    async def snapshot(self) -> JsonObject:  # Delivery/Counters as they hold now
        return await self._run(self._file.snapshot)

    async def pending(self) -> tuple[int, int]:  # unconfirmed batches, bytes kept
        return await self._run(self._file.pending)

    async def look(self, asked: Mapping[str, Any]) -> JsonObject:  # for `gaugeline gateway outbox`
        return await self._run(lambda: look.answer(self._file.db, self._settings.path, asked, self._clock()))

    async def status(self) -> JsonObject:  # the outbox' part of `gateway status`
        (batches, size), totals, gaps, clock = await self._run(
            lambda: (self._file.pending(), self._file.totals(), self._file.gaps(), self._file.clock())
        )
        return {
            "outbox": {
                "pending_batches": batches,
                "pending_samples": self._pending.samples,
                "bytes": size,
                "commits": self.commits,
                "failures": self.failures,
                "trouble": self.trouble,
                "when_full": self._settings.when_full,
                "set_aside": set_aside_files(self._settings.path),
                "commit_ms_p99": self.commit_p99_ms,
                "commit_took": self._took.status(),
            },
            "clock": clock,
            "devices": totals,
            "gaps": [asdict(gap) for gap in gaps],
        }

    async def _write(
        self, action: Callable[[], tuple[T, tuple[Batch, ...]]], states: Mapping[str, bool] | None = None
    ) -> T:
        told = False
        try:
            result, fresh = await self._run(action)
            if fresh or states:
                told = True
                self.on_commit(Committed(fresh, states or {}))
            return result
        finally:
            # A disk that refuses must not keep a device's death from the host.
            if states and not told:
                self.on_commit(Committed((), states))

    async def _run(self, action: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._sound, action, arguments)

    def _sound(self, action: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        """In the worker: a file that turns out to be damaged is set aside, and the action done on the new one."""
        try:
            return action(*arguments)
        except sqlite3.DatabaseError as fault:
            own = isinstance(fault, sqlite3.IntegrityError | sqlite3.ProgrammingError)
            if own and self._file.sound:
                raise
            if not own and not damaged(fault):
                raise StoreFull(f"the outbox cannot be read: {fault}") from fault
            self._renew(str(fault))
        except (Damaged, UnicodeDecodeError, TypeError, LookupError, OverflowError) as fault:
            if not isinstance(fault, Damaged | UnicodeDecodeError) and self._file.sound:
                raise
            self._renew(str(fault))
        return action(*arguments)

    def _renew(self, why: str) -> None:
        fresh = self._file.renew(why)
        self.renewals += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: self.on_commit(Committed(fresh, {})))
