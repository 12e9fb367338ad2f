"""Query the health of a process over the link, without opening a session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from appliance.errors import EngineGone
from appliance.link import protocol

MAX_ANSWER_BYTES = 4 << 20  # the metrics of a gateway begin at 20 KB
URI = "ws://engine/"  # required by websockets; only the unix socket's path matters


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """The health of a process.

    waiting_for  the processes or models that it is waiting for; empty if ready
    metrics      in Prometheus text format
    """

    ready: bool
    waiting_for: str
    metrics: bytes


async def ask_health(path: Path, timeout_seconds: float) -> ProcessHealth:
    """Query the process at the unix socket `path`. Raises EngineGone if there is no valid reply."""
    try:
        async with asyncio.timeout(timeout_seconds):
            async with unix_connect(
                str(path), URI, compression=None, max_size=MAX_ANSWER_BYTES, ping_interval=None
            ) as socket:
                await socket.send(protocol.encode(protocol.HealthRequest()))
                answer = str(await socket.recv(decode=True))
                report = protocol.decode_to_gateway(answer, path.stem)
    except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as gone:
        raise EngineGone(engine=path.stem) from gone
    if not isinstance(report, protocol.HealthReport):
        raise EngineGone(engine=path.stem)
    return ProcessHealth(report.ready, report.waiting_for, report.metrics.encode())
