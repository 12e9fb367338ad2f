"""Diagnostics of C libraries do not reach the terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys

PROGRAM = """
import os, sys
from client.native_stderr import libraries_muted
os.write(2, b"before|")
with libraries_muted():
    os.write(2, b"ALSA lib pcm.c: underrun occurred|")
    print("python|", end="", file=sys.stderr)
os.write(2, b"after|")
"""


def test_libraries_are_muted_on_a_terminal_and_python_is_not() -> None:
    master, slave = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=slave, check=True)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # EIO is the end of a terminal that nobody holds open
        while True:
            shown += os.read(master, 1000)
    os.close(master)
    assert shown == b"before|python|after|"


def test_diagnostics_are_kept_in_a_file() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert b"ALSA lib" in done.stderr
