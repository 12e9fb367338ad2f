"""The guard's observations of real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from appliance.errors import BadRequest
from appliance.settings import load
from appliance.supervision.observe import Observer, ProcessTree, Readiness, inspect_tree
from appliance.supervision.supervisor_client import Program, SupervisorClient
from appliance.supervision.symptoms import Observation
from tests.supervision.dummies import wait_until

SLEEP = [
    sys.executable,
    "-c",
    "import time; x = b'x' * 50_000_000; print(flush=True); time.sleep(600)",
]


class Ready:
    ready = True


async def only_tts(path: Path, timeout_seconds: float) -> Readiness:
    if path.name != "tts.sock":
        raise BadRequest(engine=path.stem, what="nonsense")
    return Ready()


class Unavailable(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Observer]:
    """An observer whose supervisord lists the test process under several program names."""
    programs = [
        Program("guard", "RUNNING", os.getpid(), 1),
        Program("tts", "RUNNING", os.getpid(), 1),
        Program("llm", "STARTING", os.getpid(), 1),
        Program("gateway", "BACKOFF", 0, 1),
        Program("exporter", "RUNNING", os.getpid(), 1),
    ]
    monkeypatch.setattr(SupervisorClient, "programs", lambda self: programs)
    with HTTPServer(("127.0.0.1", 0), Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = load(
            {
                "VOICE_PATHS_RUN": str(tmp_path),
                "VOICE_EXPORTER_HOST": "0.0.0.0",
                "VOICE_EXPORTER_PORT": str(server.server_port),
            }
        )
        yield Observer(settings, only_tts)
        server.shutdown()


async def test_every_program_except_the_guard_is_checked(observer: Observer) -> None:
    observations = {observation.name: observation for observation in await observer.observe()}
    responded = {name: (seen.responded, seen.ready) for name, seen in observations.items()}
    assert responded == {
        "tts": (True, True),
        "llm": (False, False),
        "gateway": (None, False),
        "exporter": (True, True),  # 503 is an answer
    }
    assert observations["gateway"] == Observation("gateway", "BACKOFF")
    assert observations["tts"].memory_bytes > 1_000_000


async def test_exporter_that_refuses_connections_or_never_replies_is_not_answering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program("exporter", "RUNNING", os.getpid(), 1)
    monkeypatch.setattr(SupervisorClient, "programs", lambda self: [program])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            settings = load(
                {
                    "VOICE_PATHS_RUN": str(tmp_path),
                    "VOICE_EXPORTER_PORT": str(port),
                    "VOICE_SUPERVISION_SILENT_SECONDS": "0.3",
                }
            )
            (observation,) = await Observer(settings, only_tts).observe()
            assert observation.responded is False


async def test_missing_supervisord_is_a_connection_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        await Observer(load({"VOICE_PATHS_RUN": str(tmp_path)}), only_tts).observe()


def test_private_memory_is_counted_but_mapped_files_are_not(
    sleeper: subprocess.Popen[bytes],
) -> None:
    memory = psutil.Process(sleeper.pid).memory_info()
    assert 50_000_000 < inspect_tree(sleeper.pid).memory_bytes < memory.rss


def test_memory_of_children_is_included(sleeper: subprocess.Popen[bytes]) -> None:
    half = inspect_tree(sleeper.pid).memory_bytes // 2
    assert inspect_tree(os.getpid()).memory_bytes > 50_000_000 + half


def test_stopped_child_is_reported_for_its_parent(sleeper: subprocess.Popen[bytes]) -> None:
    assert not inspect_tree(sleeper.pid).stopped
    os.kill(sleeper.pid, signal.SIGSTOP)
    wait_until(lambda: inspect_tree(sleeper.pid).stopped)
    assert inspect_tree(os.getpid()).stopped


def test_exited_process_has_an_empty_tree() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert inspect_tree(ended.pid) == ProcessTree()
