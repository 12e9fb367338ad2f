"""The fields that a log line may contain, and how exceptions become fields.

Fields that are not listed below are dropped and counted in `dropped_fields`. Number fields accept
numbers only. Exceptions are written as type and `file:line` frames. Their messages are dropped,
except those of our own catalogue of errors. Event names are fixed strings. A test reads the event
and field names from the source.
"""

from __future__ import annotations

import errno
import math
import re
import sys
import types
from pathlib import PurePath
from typing import cast

from structlog.typing import EventDict, WrappedLogger

from appliance.errors import ApplianceError

LEVELS = ("debug", "info", "warning", "error", "critical")
# The stages of a turn's response latency, in order. The line of a turn has a field
# `{stage}_seconds` for each; the metrics have a label value for each.
STAGES = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TEXT_FIELDS = _names("""
    time level process event session turn
    engine stage program task place reason outcome by state waiting_for signal source
    error errno module caused_by trace
    path host model voice backend device sha256
""")
NUMBER_FIELDS = _names("""
    port pid exit_code http_status refusals ready interrupted pauses final sessions restarts
    dropped_fields files tokens prompt_tokens cached_tokens reply_tokens bytes memory_bytes
    seconds duration_seconds speech_seconds response_seconds heard_seconds total_seconds
    speculation_seconds load_seconds warm_seconds
""") | {f"{stage}_seconds" for stage in STAGES}
CATALOGUE_FIELDS = _names("what advice")  # message and advice of an error of the catalogue
FIELDS = TEXT_FIELDS | NUMBER_FIELDS | CATALOGUE_FIELDS

MAX_TEXT_CHARS = 500
MAX_FRAMES = 12  # the innermost ones are kept
MAX_CAUSES = 5
EVENT = re.compile(r"[a-z][a-z0-9_ -]{0,59}")
_TEXT_OR_NUMBER = _names("session turn")


class UnlistedFieldError(AssertionError):
    """Raised in strict mode, which tests use: a field is not listed or has the wrong type."""


class _CatalogueText(str):
    """Text of an error of the catalogue: the only values that CATALOGUE_FIELDS accept."""


class FieldFilter:
    """structlog processor: keep listed fields with plain values, drop and count the others.

    messages  whether `message`, the text that a library logged, is kept
    strict    raise UnlistedFieldError instead of dropping
    """

    def __init__(self, messages: bool, strict: bool) -> None:
        self._texts = TEXT_FIELDS | {"message"} if messages else TEXT_FIELDS
        self._strict = strict

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        present = {name: value for name, value in event.items() if value is not None}
        kept = {name: self._plain(name, value) for name, value in present.items()}
        unlisted = [name for name, value in kept.items() if value is None]
        if not EVENT.fullmatch(str(kept["event"])):
            unlisted.append("event")
            kept["event"] = "unnamed"
        if unlisted and self._strict:
            raise UnlistedFieldError(f"not listed, or of the wrong type: {unlisted}")
        if unlisted:
            kept["dropped_fields"] = len(unlisted)
        return {name: value for name, value in kept.items() if value is not None}

    def _plain(self, name: str, value: object) -> object:
        """Return the value to write, or None if it must not be logged."""
        if name in NUMBER_FIELDS | _TEXT_OR_NUMBER and isinstance(value, (int, float)):
            return round(value, 4) if math.isfinite(value) else None
        if name in CATALOGUE_FIELDS and isinstance(value, _CatalogueText):
            return str(value)[:MAX_TEXT_CHARS]
        if name in self._texts and isinstance(value, (str, PurePath)):
            return str(value)[:MAX_TEXT_CHARS]
        if name in self._texts and isinstance(value, (list, tuple)):
            return [str(part)[:MAX_TEXT_CHARS] for part in value]
        return None


def describe(error: BaseException) -> dict[str, object]:
    """Return an exception as log fields: types, frames, and the text of catalogued errors only.

    The field `trace` holds the frames of the innermost cause.
    """
    fields: dict[str, object] = {"error": type(error).__name__, "trace": _frames(error)}
    if isinstance(error, ApplianceError):
        fields |= {"reason": error.reason}
        fields |= {"what": _CatalogueText(error), "advice": _CatalogueText(error.advice)}
    if isinstance(error, OSError) and error.errno:
        fields["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    if isinstance(error, ImportError) and error.name:
        fields["module"] = error.name
    causes: list[str] = []
    cause = _cause(error)
    while cause is not None and len(causes) < MAX_CAUSES:
        causes.append(type(cause).__name__)
        fields["trace"] = _frames(cause)
        cause = _cause(cause)
    if causes:
        fields["caused_by"] = causes
    return fields


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return cast(BaseException, error.exceptions[0])
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _frames(error: BaseException) -> list[str]:
    """Return the frames as `folder/file.py:line:function`, with the innermost frame last."""
    frames: list[str] = []
    entry: types.TracebackType | None = error.__traceback__
    while entry is not None:
        code = entry.tb_frame.f_code
        frames.append(f"{short_path(code.co_filename)}:{entry.tb_lineno}:{code.co_name}")
        entry = entry.tb_next
    return frames[-MAX_FRAMES:]


def short_path(filename: str) -> str:
    """Return the last three parts of a path, which identify the file but not the host."""
    return "/".join(PurePath(filename).parts[-3:]).lstrip("/")


def exception_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """structlog processor: replace `exc_info` with the fields of `describe`."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exception() if info is True else info
    if isinstance(error, BaseException):
        for name, value in describe(error).items():
            event.setdefault(name, value)
    return event
