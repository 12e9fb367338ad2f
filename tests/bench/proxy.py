"""Latency that the proxy of a pool adds: pings of two calls, one direct and one by HAProxy."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from pathlib import Path

from websockets.asyncio.client import ClientConnection

from appliance.gpu_proof.record import percentile
from tests.bench.figures import row, verdict
from tests.pool.callers import calling
from tests.pool.site import PoolSite

PINGS = 1000  # of each call, in turn, so that a change in the machine's speed affects both
PAUSE_SECONDS = 0.01


async def measure(folder: Path) -> list[str]:
    """Measure a pool in network namespaces, with TLS on both sides. Return the lines to print."""
    if os.geteuid() != 0 or shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None:
        return ["The proxy of a pool: not measured; it needs root and the package haproxy"]
    folder.mkdir()
    site = PoolSite(folder, 4, secrets.token_urlsafe(32))
    try:
        await asyncio.to_thread(site.start)
        async with calling(site, 0, site.hosts[0]) as direct, calling(site, 1) as proxied:
            seconds: dict[str, list[float]] = {"direct": [], "proxied": []}
            for _ in range(PINGS):
                seconds["direct"].append(await _ping(direct.socket))
                seconds["proxied"].append(await _ping(proxied.socket))
    finally:
        await asyncio.to_thread(site.stop)
    added = percentile(seconds["proxied"], 0.99) - percentile(seconds["direct"], 0.99)
    return [
        "The proxy of a pool: a ping of a call, from a caller to the gateway and back, over TLS",
        row("direct", seconds["direct"], "ms", 1000),
        row("by HAProxy", seconds["proxied"], "ms", 1000),
        verdict("added by the proxy, difference of p99", added * 1000, 2, "ms"),
    ]


async def _ping(socket: ClientConnection) -> float:
    await asyncio.sleep(PAUSE_SECONDS)
    began = time.perf_counter()
    await (await socket.ping())
    return time.perf_counter() - began
