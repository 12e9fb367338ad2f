"""The log: one JSON line per event on stdout, and never a word of a caller in it.

Two things keep callers' words out: what may stand in a line is listed (journal_fields.py), and
messages of libraries (standard logging; loguru, which Pipecat uses) are replaced by the place they
come from, unless the setting `journal.pipecat_messages` asks for them.

    log = journal.get()
    log.info("session ended", reason="idle", duration_seconds=12.5)

`session` and `turn` are bound once with `structlog.contextvars.bind_contextvars` and then stand
on every line, those of libraries too.
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
from appliance.errors import BadSetting
from appliance.journal_fields import Gate, exception_fields, short

LEVELS = ("debug", "info", "warning", "error", "critical")
MAX_LINE_BYTES = 4000  # supervisord passes output on in reads of 4 KiB and may cut between them


def configure(
    journal: settings.JournalConfig,
    process: str,
    *,
    stream: BinaryIO | None = None,
    strict: bool = False,
) -> None:
    """Sends every log of this process through the rules above; call once, before any room.

    `stream` takes the lines (stdout), `strict` raises UnlistedFieldError instead of dropping.
    Raises BadSetting for an unknown level or format.
    """
    if journal.level not in LEVELS[:-1]:
        raise BadSetting(name="journal.level", why=f"{journal.level!r} is none of {LEVELS[:-1]}")
    if journal.format not in ("json", "pretty", "auto"):
        raise BadSetting(name="journal.format", why=f"{journal.format!r} is not json, pretty, auto")
    out = stream or sys.stdout.buffer
    pretty = journal.format == "pretty" or (journal.format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[journal.level.upper()]
    structlog.configure(
        processors=[
            _Hooks(),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            exception_fields,
            Gate(messages=journal.pipecat_messages, strict=strict),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _Pretty(process) if pretty else _Json(process),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(file=cast(BinaryIO, _Output(out))),
        cache_logger_on_first_use=False,
    )
    _bridge_logging(journal.pipecat_messages)
    _bridge_loguru(level, journal.pipecat_messages)
    _bridge_crashes(journal.pipecat_messages)


def get() -> FilteringBoundLogger:
    """The logger; may be taken before `configure`, which it then follows."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def on_event(hook: Callable[[str], None]) -> None:
    """Calls `hook` with the level of every event from now on; meters count with it."""
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, _Hooks):
            processor.hooks.append(hook)


class _Output:
    """Where lines go. One that cannot be written is lost: a full disk must not end a call.

    Past Python's buffer, which would try the lost line again with every later one and at the end
    make an exit code of it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = getattr(stream, "raw", stream)

    def write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # there is nobody left whom to tell
            self._stream.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Hooks:
    def __init__(self) -> None:
        self.hooks: list[Callable[[str], None]] = []

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        level = "error" if method == "exception" else method
        for hook in self.hooks:
            hook(level)
        return event


class _Json:
    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        first = {name: event.pop(name, "") for name in ("time", "level")}
        line = {**first, "process": self._process, "event": event.pop("event", ""), **event}
        text = json.dumps(line, separators=(",", ":"), allow_nan=False)
        while len(text) >= MAX_LINE_BYTES:
            longest = max(event, key=lambda name: len(json.dumps(event[name])))
            del event[longest], line[longest]
            line["dropped_fields"] = event["dropped_fields"] = event.get("dropped_fields", 0) + 1
            text = json.dumps(line, separators=(",", ":"), allow_nan=False)
        return text.encode("ascii")


class _Pretty:
    def __init__(self, process: str) -> None:
        self._process = process
        self._console = structlog.dev.ConsoleRenderer(timestamp_key="time", pad_event_to=24)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        event["logger"] = self._process
        return self._console(logger, method, event).encode("utf-8", "backslashreplace")


def _library(
    messages: bool, level: str, place: str, message: str, error: BaseException | None
) -> None:
    """Writes where a library logged something; what it said only if `messages`."""
    shown = {"message": message} if messages else {}
    getattr(get(), level if level in LEVELS else "info")(
        "library", place=place, exc_info=error, **shown
    )


class _LoggingHandler(logging.Handler):
    def __init__(self, messages: bool) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        place = f"{record.name}:{record.funcName}:{record.lineno}"
        message = record.getMessage() if self._messages else ""
        _library(self._messages, record.levelname.lower(), place, message, error)


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
        _library(messages, record["level"].name.lower(), place, record["message"], error)

    loguru.logger.remove()
    # An empty format: loguru would otherwise write out exceptions with their values for the sink.
    loguru.logger.add(sink, level=max(level, logging.INFO), format=lambda record: "")


def _bridge_crashes(messages: bool) -> None:
    """What Python would print on stderr by itself, messages of exceptions included."""

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
        place = f"{short(filename)}:{lineno}:{category.__name__}"
        _library(messages, "warning", place, str(message), None)

    sys.excepthook = lambda kind, error, trace: crashed(error)
    sys.unraisablehook = lambda unraisable: crashed(unraisable.exc_value)
    threading.excepthook = lambda arguments: crashed(arguments.exc_value)
    warnings.showwarning = warned
