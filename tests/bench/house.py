"""The real gateway as a process of its own, on engines that answer at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.__main__ import main
from appliance.gateway import server
from client.config import Config
from tests.e2e.appliance import ROOT, Appliance

SETTINGS = {"GATEWAY_MAX_SESSIONS": "64", "GATEWAY_MAX_ATTEMPTS_PER_MINUTE": "10000"}
TASKS = "tasks"  # file in the run folder: how many tasks the gateway's event loop has
COUNT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class House:
    """A ready gateway, and how to call it."""

    run_folder: Path
    config: Config
    gateway: psutil.Process

    def tasks(self) -> int:
        """Tasks of the gateway's event loop, not older than COUNT_SECONDS."""
        return int((self.run_folder / TASKS).read_text())


@contextlib.asynccontextmanager
async def on_instant_engines(folder: Path) -> AsyncIterator[House]:
    """Gateway and engines as two processes; their log is in the folder."""
    place = Appliance(folder, SETTINGS)
    engines = _start(place, "tests.bench.instant", str(place.run_folder))
    gateway = _start(place, "tests.bench.house")
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(place.ready):
                await asyncio.sleep(0.2)
        config = Config(url=place.url, token=place.token)
        yield House(place.run_folder, config, psutil.Process(gateway.pid))
    finally:
        gateway.terminate()
        engines.terminate()
        await asyncio.to_thread(gateway.wait, 30)
        await asyncio.to_thread(engines.wait, 30)


def _start(place: Appliance, *module: str) -> subprocess.Popen[bytes]:
    with place.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env=place.environment(),
            stdout=log,
            stderr=log,
        )


class Counted(server.GatewayServer):
    """The gateway, and beside it who counts its tasks: nobody can do that from outside."""

    async def run(self) -> None:
        counting = asyncio.create_task(self._count())
        try:
            await super().run()
        finally:
            counting.cancel()

    async def _count(self) -> None:
        path, fresh = (self._settings.paths.run / name for name in (TASKS, f"{TASKS}.fresh"))
        while True:
            fresh.write_text(str(len(asyncio.all_tasks())))
            fresh.replace(path)
            await asyncio.sleep(COUNT_SECONDS)


if __name__ == "__main__":
    server.GatewayServer = Counted  # type: ignore[misc]
    sys.exit(main(["gateway"], os.environ))
