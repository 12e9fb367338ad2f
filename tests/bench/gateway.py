"""The real gateway in a separate process, on engines that reply immediately."""

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
TASK_COUNT_FILE = "tasks"  # in the run folder: number of tasks of the gateway's event loop
TASK_COUNT_SECONDS = 1.0  # interval between counts
READY_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class MeasuredGateway:
    """A ready gateway: its process, and the client settings to connect to it."""

    run_folder: Path
    config: Config
    process: psutil.Process

    def task_count(self) -> int:
        """Return the task count of the gateway's event loop, at most TASK_COUNT_SECONDS old."""
        return int((self.run_folder / TASK_COUNT_FILE).read_text())


@contextlib.asynccontextmanager
async def gateway_on_instant_engines(folder: Path) -> AsyncIterator[MeasuredGateway]:
    """Run the gateway and the engines in two processes, which log to a file in `folder`."""
    appliance = Appliance(folder, SETTINGS)
    engines = _start(appliance, "tests.bench.instant", str(appliance.run_folder))
    gateway = _start(appliance, "tests.bench.gateway")
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(appliance.ready):
                await asyncio.sleep(0.2)
        config = Config(url=appliance.url, token=appliance.token)
        yield MeasuredGateway(appliance.run_folder, config, psutil.Process(gateway.pid))
    finally:
        gateway.terminate()
        engines.terminate()
        await asyncio.to_thread(gateway.wait, STOP_SECONDS)
        await asyncio.to_thread(engines.wait, STOP_SECONDS)


def _start(appliance: Appliance, *module: str) -> subprocess.Popen[bytes]:
    with appliance.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env=appliance.environment(),
            stdout=log,
            stderr=log,
        )


class TaskCountingServer(server.GatewayServer):
    """Writes the number of its tasks to a file, because another process cannot count them."""

    async def run(self) -> None:
        counter = asyncio.create_task(self._count_tasks())
        try:
            await super().run()
        finally:
            counter.cancel()

    async def _count_tasks(self) -> None:
        path = self._settings.paths.run / TASK_COUNT_FILE
        partial = path.with_suffix(".partial")
        while True:
            partial.write_text(str(len(asyncio.all_tasks())))
            partial.replace(path)
            await asyncio.sleep(TASK_COUNT_SECONDS)


if __name__ == "__main__":
    server.GatewayServer = TaskCountingServer  # type: ignore[misc]
    sys.exit(main(["gateway"], os.environ))
