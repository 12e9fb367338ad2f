"""How a process behind the link is: asked without opening a session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from appliance.errors import EngineGone
from appliance.link import protocol as p

URI = "ws://engine/"  # websockets wants one; only the unix socket counts


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How a process is; `metrics` is its Prometheus text."""

    ready: bool
    waiting_for: str
    metrics: bytes


async def ask_health(path: Path, timeout_seconds: float) -> HealthReport:
    """Asks the process behind the unix socket `path`. Raises EngineGone when it does not answer."""
    try:
        async with asyncio.timeout(timeout_seconds):
            async with unix_connect(
                str(path), URI, compression=None, max_size=None, ping_interval=None
            ) as socket:
                await socket.send(p.encode(p.Health()))
                message = p.decode_to_gateway(str(await socket.recv(decode=True)), path.stem)
    except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as gone:
        raise EngineGone(engine=path.stem) from gone
    if not isinstance(message, p.Report):
        raise EngineGone(engine=path.stem)
    return HealthReport(message.ready, message.waiting_for, message.metrics.encode())
