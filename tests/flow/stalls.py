"""How long this machine stood still meanwhile: what a bound on a time has to leave out."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

EVERY_S = 0.02


class Stalls:
    """Writes, syncs and sleeps for EVERY_S, again and again. longest_ms: the longest that it took beyond the sleep."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "stalls"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls")
        self.longest_ms = 0.0

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with self._file.open("wb") as file:
            stopped = False
            while not stopped:
                began_s = time.monotonic()
                file.write(b".")
                file.flush()
                os.fsync(file.fileno())
                stopped = self._stop.wait(EVERY_S)
                if not stopped:
                    self.longest_ms = max(self.longest_ms, (time.monotonic() - began_s - EVERY_S) * 1000)
