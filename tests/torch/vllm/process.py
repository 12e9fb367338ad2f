"""`python -m appliance llm` with the tiny checkpoint, as supervisord runs it."""

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

PATIENCE_SECONDS = 300.0


class EngineProcess:
    """The process and its socket; what it wrote is in `lines`."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="voice."))  # sockets need a short path
        self.socket = self.folder / "llm.sock"
        self._log = self.folder / "log"
        environ = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        given = VLLM | {"PATHS_RUN": str(self.folder), "JOURNAL_FORMAT": "json"} | settings
        environ |= {f"VOICE_{name}": value for name, value in given.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "appliance", "llm"], env=environ, stdout=log, stderr=log
            )
        self.psutil = psutil.Process(self._process.pid)

    async def ready(self) -> None:
        """Waits until it is."""
        began = time.monotonic()
        while self._process.poll() is None and time.monotonic() - began < PATIENCE_SECONDS:
            if self.socket.exists() and (await ask_health(self.socket, 5)).ready:
                return
            await asyncio.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def children(self) -> list[psutil.Process]:
        """All processes below it."""
        return self.psutil.children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        """The one of vLLM's processes with this name."""
        (found,) = [child for child in self.children() if name in child.name()]
        return found

    def wait(self, seconds: float) -> int:
        """Its exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Without a warning."""
        self._process.kill()
        self._process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """The log; fails when a line of it is no JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]
