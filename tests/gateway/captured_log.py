"""The log of the process, captured."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import loguru
import structlog

from appliance import journal
from appliance.settings import Settings


@contextlib.contextmanager
def captured_log() -> Iterator[io.BytesIO]:
    """Capture the process log in strict mode, then restore the logging configuration."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning
    stream = io.BytesIO()
    journal.configure(Settings().journal, "gateway", stream=stream, strict=True)
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        loguru.logger.remove()
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks
