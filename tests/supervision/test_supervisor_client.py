"""Asking supervisord; that it answers is shown in test_boot."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.supervision.supervisor_client import SOCKET, SupervisorClient


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET))
        server.listen()
        yield server


def test_no_supervisord_is_a_connection_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"supervisor\.sock"):
        SupervisorClient(tmp_path, 1.0).programs()


def test_a_frozen_supervisord_is_a_connection_error(
    tmp_path: Path, listening: socket.socket
) -> None:
    with pytest.raises(ConnectionError):
        SupervisorClient(tmp_path, 0.1).programs()


def test_an_answer_that_is_no_xml_rpc_is_a_connection_error(
    tmp_path: Path, listening: socket.socket
) -> None:
    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(ConnectionError):
        SupervisorClient(tmp_path, 0.5).programs()
    thread.join()
