"""The engine's end of the link: sockets, requests and cancellation around an `Engine`.

`host` is the whole life of an engine process. It listens before the model is loaded, so that
health can be asked at any time; sessions are refused with `not_ready` until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

from appliance import journal
from appliance.errors import EngineDied
from appliance.link import protocol as p
from appliance.link.connection import AnyEngine, Connection, Status, Work

DRAIN_SECONDS = 3.0  # what supervisord grants an engine to stop, less what freeing a model takes
log = journal.get()


@contextlib.asynccontextmanager
async def listening(
    path: Path, status: Status, engine: AnyEngine | None = None, work: Work | None = None
) -> AsyncIterator[Server]:
    """Serves the link on the unix socket `path`, mode 0600; without an engine only `health`."""
    shared = work or Work()

    async def handle(socket: ServerConnection) -> None:
        connection = Connection(socket, status, engine, shared)
        with contextlib.suppress(ConnectionClosed):  # the gateway left; run() let go of everything
            await connection.run()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await unix_serve(
        handle, str(path), compression=None, max_size=p.MAX_MESSAGE_BYTES, ping_interval=None
    )
    path.chmod(0o600)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


def host(engine: AnyEngine, path: Path) -> None:
    """Runs an engine process until SIGTERM, upon which running requests may finish.

    Raises CannotStart when the model cannot be loaded, and EngineDied or ModelSick later.
    """
    asyncio.run(_host(engine, path))


async def _host(engine: AnyEngine, path: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    work = Work()
    ready = False

    def status() -> p.Report:
        return p.Report(
            ready=ready and not work.draining,
            waiting_for="" if ready else engine.name,
            metrics=engine.metrics().decode(),
        )

    async with listening(path, status, engine, work):
        started = loop.time()
        starting = asyncio.create_task(engine.start())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            ready = True
            log.info("engine ready", engine=engine.name, seconds=round(loop.time() - started, 3))
            died = asyncio.create_task(engine.died())
            await asyncio.wait({died, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.done():
                died.result()
                raise EngineDied(engine=engine.name)
            died.cancel()
            await work.drain(DRAIN_SECONDS)
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
    await engine.stop()
    log.info("engine stopped", engine=engine.name)
