"""The real gateway in a separate process, on engines that reply immediately."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in appliance/commands/processes.py

import psutil

from appliance import run_folder
from appliance.__main__ import main
from appliance.access import file
from appliance.access.store import Store, new_store
from appliance.gateway import server
from appliance.processes import GATEWAY
from client.config import Config
from tests.bench.instant import REPLY
from tests.e2e.appliance import Appliance
from tests.tls.site import make_site

SETTINGS = {"GATEWAY_MAX_SESSIONS": "64", "GATEWAY_MAX_ATTEMPTS_PER_MINUTE": "10000"}
TASK_COUNT_FILE = "tasks"  # in the gateway's own folder: number of tasks of its event loop
TASK_COUNT_SECONDS = 1.0  # interval between counts
READY_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class MeasuredGateway:
    """A ready gateway: its process, and the client settings to connect to it."""

    run_folder: Path
    config: Config
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process so far, user and system."""
        # The clock of another process, as of clock_getcpuclockid(3): /proc counts in 10 ms.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def task_count(self) -> int:
        """Return the task count of the gateway's event loop, at most TASK_COUNT_SECONDS old."""
        return int(_task_count(self.run_folder).read_text())


@contextlib.asynccontextmanager
async def gateway_on_instant_engines(
    folder: Path, reply: str = REPLY
) -> AsyncIterator[MeasuredGateway]:
    """Run the gateway and the engines in two processes, which log to a file in `folder`."""
    appliance = Appliance(folder, SETTINGS)
    config = Config(url=appliance.url, token=appliance.token)
    async with running(appliance, config, "tests.bench.gateway", reply=reply) as gateway:
        async with asyncio.timeout(READY_SECONDS):
            count = _task_count(appliance.run_folder)
            count.unlink(missing_ok=True)  # it may be older than the last task of the start
            while not count.exists():
                await asyncio.sleep(0.2)
        yield gateway


@contextlib.asynccontextmanager
async def running(
    appliance: Appliance, config: Config, *module: str, reply: str = REPLY
) -> AsyncIterator[MeasuredGateway]:
    """Run a gateway, `python -m MODULE...`, and the engines. `config` is how clients call it."""
    # A build to compare with may not have this option.
    options = ("--reply", reply) if reply != REPLY else ()
    engines = _start(appliance, "tests.bench.instant", *options, str(appliance.run_folder))
    gateway = _start(appliance, *module)
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(_answers, config):
                await asyncio.sleep(0.2)
        yield MeasuredGateway(appliance.run_folder, config, psutil.Process(gateway.pid))
    finally:
        gateway.terminate()
        engines.terminate()
        await asyncio.to_thread(gateway.wait, STOP_SECONDS)
        await asyncio.to_thread(engines.wait, STOP_SECONDS)


@contextlib.asynccontextmanager
async def as_a_site_has_it(folder: Path, *module: str) -> AsyncIterator[MeasuredGateway]:
    """Run a gateway with TLS and a named token; by default `python -m appliance gateway`."""
    site, store = make_site(folder), folder / "tokens"
    tls = {"GATEWAY_TLS_CERTIFICATE": str(site.chain), "GATEWAY_TLS_KEY": str(site.key)}
    appliance = Appliance(folder, SETTINGS | tls | {"GATEWAY_TOKEN_STORE": str(store)})
    url = appliance.url.replace("ws://", "wss://")
    config = Config(url=url, token=_create_token(store), ca=str(site.ca))
    async with running(appliance, config, *(module or ("appliance", "gateway"))) as gateway:
        yield gateway


def _create_token(path: Path) -> str:
    """Create a token in a new store. Return its text."""
    store, text = new_store(secrets.token_bytes).create(
        "bench", int(time.time()), secrets.token_bytes
    )

    def changed(_: Store | None) -> Store:
        return store

    file.change(path, changed)
    return text


def _answers(config: Config) -> bool:
    """Whether the gateway accepts calls."""
    url = config.url.replace("ws", "http", 1).replace("/ws", "/readyz")
    try:
        with urllib.request.urlopen(url, timeout=5, context=config.tls()) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _task_count(run: Path) -> Path:
    """The gateway may write in its own folder only."""
    return run_folder.of_program(run, GATEWAY) / TASK_COUNT_FILE


def _start(appliance: Appliance, *module: str) -> subprocess.Popen[bytes]:
    with appliance.log.open("ab") as log:
        return subprocess.Popen(
            [appliance.python, "-m", *module],
            cwd=appliance.root,
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
        path = _task_count(self._settings.paths.run)
        partial = path.with_suffix(".partial")
        while True:
            partial.write_text(str(len(asyncio.all_tasks())))
            partial.replace(path)
            await asyncio.sleep(TASK_COUNT_SECONDS)


if __name__ == "__main__":
    server.GatewayServer = TaskCountingServer  # type: ignore[misc]
    sys.exit(main(["gateway"], os.environ))
