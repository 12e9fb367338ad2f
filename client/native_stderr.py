"""Keeps what sound libraries print out of the display.

ALSA and PortAudio write diagnostics ("ALSA lib pcm.c: underrun occurred") straight to file
descriptor 2, over the status line of `talk`. What matters of them is on the status line.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

STDERR = 2


@contextlib.contextmanager
def libraries_muted() -> Iterator[None]:
    """Discard what C libraries write to a terminal's stderr. Python's own stderr goes on.

    A stderr that is a file or a pipe is left alone: there, diagnostics are wanted.
    """
    if not os.isatty(STDERR):
        yield
        return
    terminal = os.dup(STDERR)
    own = sys.stderr
    discard = os.open(os.devnull, os.O_WRONLY)
    own.flush()
    os.dup2(discard, STDERR)
    os.close(discard)
    try:
        with os.fdopen(os.dup(terminal), "w", buffering=1, errors="replace") as sys.stderr:
            yield
    finally:
        sys.stderr = own
        os.dup2(terminal, STDERR)
        os.close(terminal)
