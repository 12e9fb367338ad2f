"""What may stand in a line of the log: the listed fields, and of an exception no value.

Only the fields named below get through, and numbers only as numbers; a field that is not named is
dropped and counted in `dropped_fields`. Exceptions are written as type and `file:line` frames,
without values; only errors of our own catalogue keep their text. Event names are fixed strings: a
test reads them, and the names of the fields, from the source.
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


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TEXT_FIELDS = _names("""
    time level process event session turn
    engine stage program place reason outcome by state waiting_for signal source
    error errno module caused_by trace
    path host model voice backend device sha256
""")
NUMBER_FIELDS = _names("""
    port pid exit_code http_status ready interrupted final sessions restarts dropped_fields files
    tokens prompt_tokens cached_tokens reply_tokens bytes memory_bytes
    response_seconds end_of_turn_seconds hearing_seconds first_token_seconds
    first_phrase_seconds synthesis_seconds transport_seconds
    seconds duration_seconds speech_seconds heard_seconds load_seconds warm_seconds total_seconds
""")
CATALOGUE_FIELDS = _names("what advice")  # the text of an error of the catalogue, nothing else
FIELDS = TEXT_FIELDS | NUMBER_FIELDS | CATALOGUE_FIELDS

MAX_TEXT_CHARS = 500
MAX_FRAMES = 12
EVENT = re.compile(r"[a-z][a-z0-9_ -]{0,59}")
_NUMBERED = _names("session turn")  # names that may be numbers


class UnlistedFieldError(AssertionError):
    """In tests: something was logged under a name that is not on the list."""


class _CatalogueText(str):
    """Marks the text of an error of the catalogue, which alone may fill CATALOGUE_FIELDS."""


class Gate:
    """For structlog: lets the listed fields through, with plain values, and counts the others."""

    def __init__(self, messages: bool, strict: bool) -> None:
        self._texts = TEXT_FIELDS | {"message"} if messages else TEXT_FIELDS
        self._strict = strict

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        given = {name: value for name, value in event.items() if value is not None}
        kept = {name: self._plain(name, value) for name, value in given.items()}
        unlisted = [name for name, value in kept.items() if value is None]
        if not EVENT.fullmatch(str(kept["event"])):
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
        frames.append(f"{short(code.co_filename)}:{step.tb_lineno}:{code.co_name}")
        step = step.tb_next
    return frames[-MAX_FRAMES:]


def short(filename: str) -> str:
    """The end of a path: enough to find the file, and nothing of the machine."""
    return "/".join(PurePath(filename).parts[-3:]).lstrip("/")


def exception_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """For structlog: puts what `describe` tells in the place of `exc_info`."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exception() if info is True else info
    if isinstance(error, BaseException):
        for name, value in describe(error).items():
            event.setdefault(name, value)
    return event
