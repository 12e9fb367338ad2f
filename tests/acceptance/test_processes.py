"""The processes of the appliance and their sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance.acceptance import processes


def test_sockets_of_a_process_are_found_by_inode() -> None:
    exited_pid = 4194305  # above the kernel's limit
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        assert inode in processes.socket_inodes([os.getpid(), exited_pid])


def test_missing_supervisord_is_a_connection_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        processes.process_ids(tmp_path)
