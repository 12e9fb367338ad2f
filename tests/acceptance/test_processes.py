"""Which processes are the appliance's."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance.acceptance import sockets


def test_the_sockets_of_a_process_are_found_as_the_kernel_lists_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert os.fstat(server.fileno()).st_ino in sockets.sockets([os.getpid(), 4194305])


def test_where_no_supervisord_answers_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        sockets.family(tmp_path)
