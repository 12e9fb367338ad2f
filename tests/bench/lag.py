"""A gateway that records the lag of its event loop: python -m tests.bench.lag.

The lag is how much later than due a timer runs. The gateway's own metric samples it ten times a
second, in buckets; here it is sampled often enough for percentiles of a minute.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from pathlib import Path

from appliance import run_folder
from appliance.__main__ import main
from appliance.gateway import server
from appliance.processes import GATEWAY

INTERVAL_SECONDS = 0.005
FLUSH_SECONDS = 0.5
_SAMPLE = struct.Struct("dd")  # monotonic time, which all processes share, and lag; in seconds


def _file(run: Path) -> Path:
    """The gateway may write in its own folder only."""
    return run_folder.of_program(run, GATEWAY) / "lags"


def lags(run: Path, began: float, ended: float) -> list[float]:
    """Return the lags between two monotonic times, in seconds. Samples are written late."""
    content = _file(run).read_bytes()
    content = content[: len(content) // _SAMPLE.size * _SAMPLE.size]
    return [lag for at, lag in _SAMPLE.iter_unpack(content) if began <= at <= ended]


class LagRecordingServer(server.GatewayServer):
    """Appends its lags to a file, because another process cannot measure them."""

    async def run(self) -> None:
        recorder = asyncio.create_task(self._record())
        try:
            await super().run()
        finally:
            recorder.cancel()

    async def _record(self) -> None:
        waiting = bytearray()
        flushed_at = time.monotonic()
        with _file(self._settings.paths.run).open("ab", buffering=0) as output:
            while True:
                due = time.monotonic() + INTERVAL_SECONDS
                await asyncio.sleep(INTERVAL_SECONDS)
                now = time.monotonic()
                waiting += _SAMPLE.pack(now, max(0.0, now - due))
                if now - flushed_at > FLUSH_SECONDS:
                    output.write(waiting)
                    waiting.clear()
                    flushed_at = now


if __name__ == "__main__":
    server.GatewayServer = LagRecordingServer  # type: ignore[misc]
    sys.exit(main(["gateway"], os.environ))
