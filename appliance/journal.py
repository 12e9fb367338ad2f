"""The log: one JSON line per event on stdout, without the content of conversations.

Two rules keep callers' words out. A line contains listed fields only (journal_fields.py). Messages
of libraries (standard logging, and loguru, which Pipecat uses) are replaced by the source location
that logged them, unless the setting `journal.pipecat_messages` is on.

    log = journal.get()
    log.info("session ended", reason="idle", duration_seconds=12.5)

Fields bound with `structlog.contextvars.bind_contextvars`, such as `session`, are on every line of
that context, including the lines of libraries.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import BinaryIO, cast

import loguru
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from appliance import settings
from appliance.journal_fields import LEVELS, FieldFilter, exception_fields, short_path

# supervisord reads the output of processes in blocks of 4 KiB; a longer line might be cut in two.
MAX_LINE_BYTES = 4000


def configure(
    journal: settings.JournalConfig,
    process: str,
    *,
    stream: BinaryIO | None = None,
    strict: bool = False,
) -> None:
    """Route all logging of this process through the rules above. Call it before the first log line.

    Lines go to `stream`, by default stdout. `strict` raises UnlistedFieldError for a field that
    would be dropped.
    """
    out = stream or sys.stdout.buffer
    pretty = journal.format == "pretty" or (journal.format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[journal.level.upper()]
    structlog.configure(
        processors=[
            _EventHooks(),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            exception_fields,
            FieldFilter(messages=journal.pipecat_messages, strict=strict),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _PrettyRenderer(process) if pretty else _JsonRenderer(process),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(file=cast(BinaryIO, _LineWriter(out))),
        cache_logger_on_first_use=False,
    )
    _bridge_logging(journal.pipecat_messages)
    _bridge_loguru(level, journal.pipecat_messages)
    _bridge_crashes(journal.pipecat_messages)


def get() -> FilteringBoundLogger:
    """Return the logger. `configure` also applies to loggers that were returned earlier."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def write_line(line: bytes) -> None:
    """Write the line of an audit log, unchanged, where the lines of the log go.

    The rules above do not apply to it. Its bytes are hashed, so it is JSON in every format.
    """
    structlog.get_config()["logger_factory"]().msg(line)


def on_event(hook: Callable[[str], None]) -> None:
    """Call `hook` with the level of every later event. The metrics count events this way."""
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, _EventHooks):
            processor.hooks.append(hook)


class _LineWriter:
    """Writes lines and ignores write errors: a full disk must not end a session.

    It bypasses Python's buffer. The buffer would keep a line that could not be written, retry it
    with every later line, and make the process exit with an error.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = getattr(stream, "raw", stream)

    def write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the log is broken, so log nothing
            self._stream.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _EventHooks:
    def __init__(self) -> None:
        self.hooks: list[Callable[[str], None]] = []

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        level = "error" if method == "exception" else method
        for hook in self.hooks:
            hook(level)
        return event


class _JsonRenderer:
    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        head = {name: event.pop(name, "") for name in ("time", "level")}
        line = {**head, "process": self._process, "event": event.pop("event", ""), **event}
        text = json.dumps(line, separators=(",", ":"), allow_nan=False)
        while len(text) >= MAX_LINE_BYTES:
            longest = max(event, key=lambda name: len(json.dumps(event[name])))
            del event[longest], line[longest]
            line["dropped_fields"] = event["dropped_fields"] = event.get("dropped_fields", 0) + 1
            text = json.dumps(line, separators=(",", ":"), allow_nan=False)
        return text.encode("ascii")


class _PrettyRenderer:
    def __init__(self, process: str) -> None:
        self._process = process
        self._console = structlog.dev.ConsoleRenderer(timestamp_key="time", pad_event_to=24)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        event["logger"] = self._process
        return self._console(logger, method, event).encode("utf-8", "backslashreplace")


def _log_library(
    messages: bool, level: str, place: str, message: str, error: BaseException | None
) -> None:
    """Log the source location of a library's log message, and its text only if `messages`."""
    fields = {"message": message} if messages else {}
    getattr(get(), level if level in LEVELS else "info")(
        "library", place=place, exc_info=error, **fields
    )


class _LoggingHandler(logging.Handler):
    def __init__(self, messages: bool) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        place = f"{record.name}:{record.funcName}:{record.lineno}"
        message = record.getMessage() if self._messages else ""
        _log_library(self._messages, record.levelname.lower(), place, message, error)


def _bridge_logging(messages: bool) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_LoggingHandler(messages)]
    root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True


def _bridge_loguru(level: int, messages: bool) -> None:
    def sink(message: loguru.Message) -> None:
        record = message.record
        error = record["exception"].value if record["exception"] else None
        place = f"{record['name']}:{record['function']}:{record['line']}"
        _log_library(messages, record["level"].name.lower(), place, record["message"], error)

    loguru.logger.remove()
    # With the default format loguru would render exceptions, including the values of variables.
    loguru.logger.add(sink, level=max(level, logging.INFO), format=lambda record: "")


def _bridge_crashes(messages: bool) -> None:
    """Log what Python would otherwise print on stderr, including the text of exceptions."""

    def crashed(error: BaseException | None) -> None:
        get().critical("crashed", exc_info=error)

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        place = f"{short_path(filename)}:{lineno}:{category.__name__}"
        _log_library(messages, "warning", place, str(message), None)

    sys.excepthook = lambda kind, error, trace: crashed(error)
    sys.unraisablehook = lambda unraisable: crashed(unraisable.exc_value)
    threading.excepthook = lambda arguments: crashed(arguments.exc_value)
    warnings.showwarning = warned
