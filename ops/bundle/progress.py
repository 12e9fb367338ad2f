"""Show the progress of a long step: one updated line on a terminal, otherwise a few log lines."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_BAR_WIDTH = 28
_LOG_INTERVAL_SECONDS = 10.0
_REWRITE_INTERVAL_SECONDS = 0.1


def megabytes(size_bytes: float) -> str:
    """Format a size in MB of 10^6 bytes."""
    return f"{size_bytes / 1e6:,.0f} MB" if size_bytes >= 1e7 else f"{size_bytes / 1e6:,.1f} MB"


class Progress:
    """A step of known size. `update` may be called at any rate; `finish` ends the line."""

    def __init__(self, name: str, total_bytes: int, out: TextIO | None = None) -> None:
        self._name = name
        self._total = max(total_bytes, 1)
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._started_at = time.monotonic()
        self._shown_at = self._started_at

    def update(self, done_bytes: int) -> None:
        interval = _REWRITE_INTERVAL_SECONDS if self._live else _LOG_INTERVAL_SECONDS
        if time.monotonic() - self._shown_at < interval:
            return
        self._shown_at = time.monotonic()
        share = min(done_bytes / self._total, 1.0)
        if self._live:
            bar = ("#" * int(share * _BAR_WIDTH)).ljust(_BAR_WIDTH, ".")
            self._out.write(f"\r  {self._name}  [{bar}] {self._state(done_bytes)}  \x1b[K")
        else:
            self._out.write(f"  {self._name}  {share:4.0%}  {self._state(done_bytes)}\n")
        self._out.flush()

    def finish(self, done_bytes: int) -> None:
        seconds = time.monotonic() - self._started_at
        start = "\r\x1b[K" if self._live else ""
        self._out.write(f"{start}  {self._name}: {megabytes(done_bytes)} in {seconds:.1f} s\n")
        self._out.flush()

    def _state(self, done_bytes: int) -> str:
        seconds = max(time.monotonic() - self._started_at, 0.001)
        speed = f"{done_bytes / seconds / 1e6:.1f} MB/s"
        return f"{megabytes(done_bytes)} of {megabytes(self._total)}, {speed}"
