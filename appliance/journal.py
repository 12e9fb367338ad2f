"""The log: one JSON line per event on stdout, and never a word of a caller in it.

Three things keep callers' words out. Only the fields named below get through, and numbers only as
numbers; a field that is not named is dropped and counted in `dropped_fields`. Exceptions are
written as type and `file:line` frames, without values; only errors of our own catalogue keep
their text. Messages of libraries (standard logging; loguru, which Pipecat uses) are replaced by
the place they come from, unless the setting `journal.pipecat_messages` asks for them.

    log = journal.get()
    log.info("session ended", reason="idle", duration_seconds=12.5)

`session` and `turn` are bound once with `structlog.contextvars.bind_contextvars` and then stand
on every line, those of libraries too. Event names are fixed strings: a test reads them, and the
names of the fields, from the source.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import re
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import BinaryIO, cast

import loguru
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from appliance import settings
from appliance.errors import ApplianceError, BadSetting

LEVELS = ("debug", "info", "warning", "error", "critical")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TEXT_FIELDS = _names("""
    time level process event session turn request utterance phrase
    engine stage program place reason outcome by state waiting_for direction signal source
    error errno module caused_by trace setting family
    path socket host version profile model voice language backend device sha256
""")
NUMBER_FIELDS = _names("""
    port pid exit_code close_code http_status ready interrupted final first cached urgent
    count sessions max_sessions turns tokens prompt_tokens cached_tokens reply_tokens phrases
    chars frames chunks attempts restarts dropped dropped_fields queue threads files
    bytes size_bytes limit_bytes bytes_in bytes_out memory_bytes rate
    speed ratio real_time_ratio tokens_per_second
    response_seconds end_of_turn_seconds hearing_seconds first_token_seconds
    first_phrase_seconds synthesis_seconds transport_seconds
    seconds duration_seconds audio_seconds speech_seconds heard_seconds spoken_seconds
    load_seconds warm_seconds wait_seconds stop_seconds barge_in_seconds timeout_seconds
    idle_seconds total_seconds lag_seconds
""")
CATALOGUE_FIELDS = _names("what advice")  # the text of an error of the catalogue, nothing else
FIELDS = TEXT_FIELDS | NUMBER_FIELDS | CATALOGUE_FIELDS

MAX_LINE_BYTES = 4000  # supervisord passes output on in reads of 4 KiB and may cut between them
MAX_TEXT_CHARS = 500
MAX_FRAMES = 12
_EVENT = re.compile(r"[a-z][a-z0-9_ -]{0,59}")
_NUMBERED = _names("session turn request utterance phrase rate")  # names that may be numbers


class UnlistedFieldError(AssertionError):
    """In tests: something was logged under a name that is not on the list."""


def configure(
    journal: settings.Journal,
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
            _exception_fields,
            _Gate(messages=journal.pipecat_messages, strict=strict),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _Pretty(process) if pretty else _Json(process),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(file=out),
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


class _Hooks:
    def __init__(self) -> None:
        self.hooks: list[Callable[[str], None]] = []

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        level = "error" if method == "exception" else method
        for hook in self.hooks:
            hook(level)
        return event


class _CatalogueText(str):
    """Marks the text of an error of the catalogue, which alone may fill CATALOGUE_FIELDS."""


class _Gate:
    """Lets the listed fields through, with plain values, and counts the others."""

    def __init__(self, messages: bool, strict: bool) -> None:
        self._texts = TEXT_FIELDS | {"message"} if messages else TEXT_FIELDS
        self._strict = strict

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        given = {name: value for name, value in event.items() if value is not None}
        kept = {name: self._plain(name, value) for name, value in given.items()}
        unlisted = [name for name, value in kept.items() if value is None]
        if not _EVENT.fullmatch(str(kept["event"])):
            unlisted.append("event")
            kept["event"] = "unnamed"
        if unlisted and self._strict:
            raise UnlistedFieldError(f"not on the list, or of the wrong type: {unlisted}")
        if unlisted:
            kept["dropped_fields"] = len(unlisted)
        return {name: value for name, value in kept.items() if value is not None}

    def _plain(self, name: str, value: object) -> object:
        """The value as it may be written, or None."""
        if name in NUMBER_FIELDS | _NUMBERED and isinstance(value, (int, float)):
            return round(value, 4) if math.isfinite(value) else None
        if name in CATALOGUE_FIELDS and isinstance(value, _CatalogueText):
            return str(value)[:MAX_TEXT_CHARS]
        if name in self._texts and isinstance(value, (str, PurePath)):
            return str(value)[:MAX_TEXT_CHARS]
        if name in self._texts and isinstance(value, (list, tuple)):
            return [str(part)[:MAX_TEXT_CHARS] for part in value]
        return None


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


def describe(error: BaseException) -> dict[str, object]:
    """An exception as fields of a line: types, frames, and the text of catalogued errors only."""
    fields: dict[str, object] = {"error": type(error).__name__, "trace": _frames(error)}
    if isinstance(error, ApplianceError):
        fields |= {"reason": error.reason}
        fields |= {"what": _CatalogueText(error), "advice": _CatalogueText(error.advice)}
    if isinstance(error, OSError) and error.errno:
        fields["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    if isinstance(error, ImportError) and error.name:
        fields["module"] = error.name
    causes: list[str] = []
    inner = _behind(error)
    while inner is not None and len(causes) < 5:
        causes.append(type(inner).__name__)
        fields["trace"] = _frames(inner)
        inner = _behind(inner)
    if causes:
        fields["caused_by"] = causes
    return fields


def _behind(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return cast(BaseException, error.exceptions[0])
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _frames(error: BaseException) -> list[str]:
    """Innermost last, as `folder/file.py:line:function`."""
    frames: list[str] = []
    step: types.TracebackType | None = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        frames.append(f"{_short(code.co_filename)}:{step.tb_lineno}:{code.co_name}")
        step = step.tb_next
    return frames[-MAX_FRAMES:]


def _short(filename: str) -> str:
    return "/".join(Path(filename).parts[-3:]).lstrip("/")


def _exception_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exception() if info is True else info
    if isinstance(error, BaseException):
        for name, value in describe(error).items():
            event.setdefault(name, value)
    return event


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
        place = f"{_short(filename)}:{lineno}:{category.__name__}"
        _library(messages, "warning", place, str(message), None)

    sys.excepthook = lambda kind, error, trace: crashed(error)
    sys.unraisablehook = lambda unraisable: crashed(unraisable.exc_value)
    threading.excepthook = lambda arguments: crashed(arguments.exc_value)
    warnings.showwarning = warned
