"""`python -m appliance llm` with the tiny checkpoint, started as supervisord does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from appliance.link.health import ask_health
from tests.torch.conftest import VLLM

START_SECONDS = 300.0


class VllmProcess:
    """The process and its socket; `lines` is its log."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="voice."))  # the path of a socket must be short
        self.socket = self.folder / "llm.sock"
        self._log = self.folder / "log"
        environ = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        settings = VLLM | {"PATHS_RUN": str(self.folder), "JOURNAL_FORMAT": "json"} | settings
        environ |= {f"VOICE_{name}": value for name, value in settings.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "appliance", "llm"], env=environ, stdout=log, stderr=log
            )
        self.psutil = psutil.Process(self._process.pid)

    async def wait_ready(self) -> None:
        """Wait until the engine is ready."""
        started = time.monotonic()
        while self._process.poll() is None and time.monotonic() - started < START_SECONDS:
            if self.socket.exists() and (await ask_health(self.socket, 5)).ready:
                return
            await asyncio.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def children(self) -> list[psutil.Process]:
        """All its child processes, and theirs."""
        return self.psutil.children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        """The process of vLLM with `name` in its name."""
        (process,) = [child for child in self.children() if name in child.name()]
        return process

    def wait(self, seconds: float) -> int:
        """Wait for its end. Returns the exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self._process.kill()
        self._process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log. Raises ValueError when one is not JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]
