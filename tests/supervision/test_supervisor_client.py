"""Failures of the supervisord client, and tracking of program changes.

test_boot.py covers the client with a real supervisord.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.supervision.supervisor_client import (
    SOCKET,
    Program,
    ProgramTracker,
    SupervisorClient,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket in place of supervisord's that accepts no connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET))
        server.listen()
        yield server


def test_missing_supervisord_is_a_connection_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"supervisor\.sock"):
        SupervisorClient(tmp_path, 1.0).programs()


def test_frozen_supervisord_is_a_connection_error(tmp_path: Path, server: socket.socket) -> None:
    with pytest.raises(ConnectionError):
        SupervisorClient(tmp_path, 0.1).programs()


def test_reply_that_is_not_xml_rpc_is_a_connection_error(
    tmp_path: Path, server: socket.socket
) -> None:
    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(ConnectionError):
        SupervisorClient(tmp_path, 0.5).programs()
    thread.join()


# Changes between two polls.


def kinds(tracker: ProgramTracker, state: str, pid: int, started: int) -> list[str]:
    return [change.kind for change in tracker.update([Program("tts", state, pid, started)])]


def test_first_start_is_not_a_restart() -> None:
    tracker = ProgramTracker(["tts"])
    assert kinds(tracker, "STARTING", 10, 100) == ["started"]
    assert kinds(tracker, "STARTING", 10, 100) == []
    assert kinds(tracker, "RUNNING", 10, 100) == ["running"]
    assert tracker.restarts == {"tts": 0}


def test_restart_between_two_polls_is_detected() -> None:
    tracker = ProgramTracker(["tts"])
    kinds(tracker, "RUNNING", 10, 100)
    assert kinds(tracker, "RUNNING", 11, 160) == ["restarted"]
    assert kinds(tracker, "RUNNING", 12, 160) == ["restarted"]  # within the same second
    assert tracker.restarts == {"tts": 2}


def test_start_that_failed_before_the_poll_is_counted() -> None:
    tracker = ProgramTracker(["tts"])
    kinds(tracker, "BACKOFF", 0, 100)
    assert kinds(tracker, "BACKOFF", 0, 103) == ["restarted"]
    assert tracker.restarts == {"tts": 1}


def test_exit_and_giving_up_are_each_reported_once() -> None:
    tracker = ProgramTracker(["tts"])
    kinds(tracker, "STARTING", 10, 100)
    assert kinds(tracker, "BACKOFF", 0, 100) == ["ended"]
    assert kinds(tracker, "BACKOFF", 0, 100) == []
    assert kinds(tracker, "FATAL", 0, 100) == ["gave_up"]
    assert kinds(tracker, "FATAL", 0, 100) == []


def test_restart_of_an_unlisted_program_is_counted() -> None:
    tracker = ProgramTracker([])
    kinds(tracker, "RUNNING", 10, 100)
    kinds(tracker, "RUNNING", 11, 101)
    assert tracker.restarts == {"tts": 1}
