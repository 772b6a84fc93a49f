"""One line on a terminal for what takes more than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Progress", "progress"]

_PATIENCE = 1.0  # seconds before anything is shown
_WIDTH = 30


class Progress:
    """Counts what is done; says so on stderr if that is a terminal and the wait is long."""

    def __init__(self, what: str, total: int, *, wanted: bool) -> None:
        self.what, self.total, self.done = what, total, 0
        self._begun = self._last = time.perf_counter()
        self._visible = wanted and bool(getattr(sys.stderr, "isatty", bool)())
        self._shown = False

    def advance(self, count: int) -> None:
        """Add what has just been done."""
        self.done += count
        now = time.perf_counter()
        if not self._visible or now - self._begun < _PATIENCE or now - self._last < 0.1:
            return
        self._last, self._shown = now, True
        share = self.done / self.total
        left = (now - self._begun) * (1 / share - 1) if share else 0.0
        bar = ("#" * round(_WIDTH * share)).ljust(_WIDTH, ".")
        sys.stderr.write(f"\r{self.what} [{bar}] {self.done}/{self.total}, {left:.0f} s left ")
        sys.stderr.flush()

    def close(self) -> None:
        """Remove the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def progress(what: str, total: int, *, wanted: bool) -> Iterator[Progress]:
    """Show progress while the block runs, however it ends."""
    line = Progress(what, total, wanted=wanted)
    try:
        yield line
    finally:
        line.close()
