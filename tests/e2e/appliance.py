"""The whole appliance as a customer runs it: `boot`, supervisord, all processes, real models."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
QUESTIONS = sorted((ROOT / "client" / "questions").glob("*.wav"))
PROCESSES = ("gateway", "llm", "tts", "exporter")


@dataclass
class Appliance:
    """An appliance that runs from this folder.

    folder    for its log, its token and the audio of replies
    settings  environment variables without the prefix VOICE_
    module    the Python module that is run with the verb `boot`
    root      folder of the sources, with weights; another build also has its own `.venv` there
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    module: str = "appliance"
    root: Path = ROOT

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.metrics_port = _free_ports()
        self.log = self.folder / "appliance.log"
        self.token_file = self.folder / "token"
        self.token = secrets.token_urlsafe(32)
        self.token_file.touch(0o600)
        self.token_file.write_text(self.token)
        self.run_folder = Path(tempfile.mkdtemp(prefix="voice."))  # sockets need a short path
        weakref.finalize(self, shutil.rmtree, self.run_folder, ignore_errors=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def python(self) -> str:
        """The interpreter of the build."""
        return sys.executable if self.root == ROOT else str(self.root / ".venv/bin/python")

    def environment(self) -> dict[str, str]:
        return (
            os.environ
            | {
                "VOICE_PATHS_RUN": str(self.run_folder),
                "VOICE_PATHS_WEIGHTS": str(self.root / "weights"),
                "VOICE_PATHS_LOCK": str(self.root / "image-manifest.lock"),
                "VOICE_GATEWAY_PORT": str(self.port),
                "VOICE_EXPORTER_PORT": str(self.metrics_port),
                "VOICE_GATEWAY_TOKEN_FILE": str(self.token_file),
                "VOICE_JOURNAL_FORMAT": "json",
            }
            | {f"VOICE_{name}": value for name, value in self.settings.items()}
        )

    def start(self, seconds: float = 180) -> Appliance:
        self.launch()
        try:
            self.wait_ready(seconds)
        except AssertionError:
            self.stop()
            raise
        return self

    def launch(self) -> None:
        """Start it without waiting until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", self.module, "boot"],
                cwd=self.root,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def ended(self, seconds: float = 120) -> int:
        """Wait until it ends by itself; return the exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> int:
        """Stop it as an operator would; return the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def wait_ready(self, seconds: float = 120) -> None:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.tail()
            if self.ready():
                return
            time.sleep(0.25)
        raise AssertionError(f"not ready in {seconds} s\n{self.tail()}")

    def ready(self) -> bool:
        scheme = "https" if "GATEWAY_TLS_CERTIFICATE" in self.settings else "http"
        url, trust = f"{scheme}://127.0.0.1:{self.port}/readyz", ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # like a probe
        try:
            with urllib.request.urlopen(url, timeout=5, context=trust) as page:
                return bool(page.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as page:
            return str(page.read().decode())

    def metric(self, name: str) -> float:
        """The value of one sample, named as in the exposition."""
        for line in self.metrics().splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def process(self, name: str) -> psutil.Process:
        """The process of one program, such as `gateway`."""
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children(recursive=True):
            # A process that has just ended has no command line.
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline()[-1:] == [name] and child.cmdline()[1:2] == ["-m"]:
                    return child
        raise AssertionError(f"no process {name}\n{self.tail()}")

    def client(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real client program with this verb and its arguments."""
        verb, *rest = arguments
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "client", verb, *rest),
                *("--url", self.url, "--token-file", str(self.token_file)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def say(
        self, *files: Path | str, out: Path | None = None, flags: tuple[str, ...] = ()
    ) -> SayResult:
        """Speak the files in one call, with the real client."""
        folder = out or Path(tempfile.mkdtemp(prefix="replies-", dir=self.folder))
        client = self.client("say", "--json", "--out", str(folder), *flags, *map(str, files))
        stdout, stderr = client.communicate(timeout=240)
        turns = [json.loads(line) for line in stdout.splitlines()]
        return SayResult(turns, client.returncode, stderr)

    def lines(self) -> list[dict[str, Any]]:
        """The parsed log lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def tail(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-20:]) if self.log.exists() else ""


@dataclass
class SayResult:
    """The output of `client say --json`: a dict per turn."""

    turns: list[dict[str, Any]]
    exit_code: int
    stderr: str

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.turns[number]

    def __len__(self) -> int:
        return len(self.turns)


def _free_ports() -> tuple[int, int]:
    # Both sockets are open at the same time, so that the ports differ.
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    first, second = (listener.getsockname()[1] for listener in sockets)
    for listener in sockets:
        listener.close()
    return first, second
