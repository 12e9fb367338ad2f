"""What the guard sees of real processes."""

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
from appliance.settings import ExporterConfig, PathsConfig, Settings, SupervisionConfig
from appliance.supervision.observe import Body, Health, Observer, body_of
from appliance.supervision.supervisor_client import Program, SupervisorClient
from appliance.supervision.symptoms import Sight
from tests.supervision.dummies import until

SLEEP = [
    sys.executable,
    "-c",
    "import time; x = b'x' * 50_000_000; print(flush=True); time.sleep(600)",
]


class Report:
    ready = True


async def only_tts(path: Path, timeout_seconds: float) -> Health:
    if path.name != "tts.sock":
        raise BadRequest(engine=path.stem, what="nonsense")
    return Report()


class Page(BaseHTTPRequestHandler):
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
    """Sees what supervisord would say of this process under several names."""
    programs = [
        Program("guard", "RUNNING", os.getpid(), 1),
        Program("tts", "RUNNING", os.getpid(), 1),
        Program("llm", "STARTING", os.getpid(), 1),
        Program("gateway", "BACKOFF", 0, 1),
        Program("exporter", "RUNNING", os.getpid(), 1),
    ]
    monkeypatch.setattr(SupervisorClient, "programs", lambda self: programs)
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        exporter = ExporterConfig(host="0.0.0.0", port=server.server_port)
        yield Observer(Settings(paths=PathsConfig(run=tmp_path), exporter=exporter), only_tts)
        server.shutdown()


async def test_each_program_but_the_guard_is_asked_how_it_is(observer: Observer) -> None:
    seen = {sight.name: sight for sight in await observer.sights()}
    told = {name: (sight.answers, sight.ready) for name, sight in seen.items()}
    assert told == {
        "tts": (True, True),
        "llm": (False, False),
        "gateway": (None, False),
        "exporter": (True, True),  # 503 is an answer
    }
    assert seen["gateway"] == Sight("gateway", "BACKOFF")
    assert seen["tts"].memory_bytes > 1_000_000


async def test_an_exporter_that_takes_no_connection_or_says_nothing_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program("exporter", "RUNNING", os.getpid(), 1)
    monkeypatch.setattr(SupervisorClient, "programs", lambda self: [program])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            given = Settings(
                paths=PathsConfig(run=tmp_path),
                exporter=ExporterConfig(port=port),
                supervision=SupervisionConfig(silent_seconds=0.3),
            )
            assert [it.answers for it in await Observer(given, only_tts).sights()] == [False]


async def test_without_supervisord_nothing_is_seen(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        await Observer(Settings(paths=PathsConfig(run=tmp_path)), only_tts).sights()


def test_memory_of_its_own_is_counted_and_mapped_files_are_not(
    sleeper: subprocess.Popen[bytes],
) -> None:
    held = psutil.Process(sleeper.pid).memory_info()
    assert 50_000_000 < body_of(sleeper.pid).memory_bytes < held.rss


def test_children_are_counted_in(sleeper: subprocess.Popen[bytes]) -> None:
    assert body_of(os.getpid()).memory_bytes > 50_000_000 + body_of(sleeper.pid).memory_bytes // 2


def test_a_process_halted_by_a_signal_is_seen_through_its_parent(
    sleeper: subprocess.Popen[bytes],
) -> None:
    assert not body_of(sleeper.pid).halted
    os.kill(sleeper.pid, signal.SIGSTOP)
    until(lambda: body_of(sleeper.pid).halted)
    assert body_of(os.getpid()).halted


def test_a_process_that_has_gone_holds_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert body_of(gone.pid) == Body()
