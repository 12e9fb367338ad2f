"""Why a container ended: its exit code, and the error that its log names. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.console.logs import LogLine
from appliance.console.terminal import printable, render_field

# Of the appliance (errors.py), of the container engine (125 to 127) and of signals (128 + number).
EXIT_CODES: Mapping[int, str] = {
    0: "stopped as requested",
    70: "a process could not be kept running, or crashed",
    71: "supervisord ended, or hung",
    78: "the operator has to change something",
    79: "the seal is broken",
    80: "a process ended again and again",
    81: "a process did not answer, even after restarts",
    82: "a process never became ready",
    83: "the memory of a process kept growing, even after restarts",
    84: "the GPU is lost",
    125: "the container could not be started",
    126: "the container could not be started",
    127: "the container could not be started",
    137: "killed: out of memory, or not stopped in time",
}
OUT_OF_MEMORY = "killed: the container exceeded its memory limit"
UNKNOWN = "no reason known; see voicectl logs"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """What is known of an end.

    exit_code   None if neither the engine nor the log has one
    meaning     what the exit code stands for
    reason      short name of the error in the catalogue (errors.py); empty if the log has none
    what        the error's message
    advice      what the operator should do
    """

    exit_code: int | None
    meaning: str
    reason: str = ""
    what: str = ""
    advice: str = ""


def find_exit_reason(
    lines: Iterable[LogLine], exit_code: int | None = None, out_of_memory: bool = False
) -> ExitReason:
    """Find the last error with this exit code in the log, or with any if the code is unknown.

    Other codes in the log belong to single processes, whose end did not end the container.
    """
    error: Mapping[str, object] = {}
    for line in lines:
        code = (line.fields or {}).get("exit_code")
        if line.fields and isinstance(code, int) and exit_code in (None, code):
            error = line.fields
    if exit_code is None and error:
        exit_code = int(str(error["exit_code"]))
    if out_of_memory:
        meaning = OUT_OF_MEMORY
    else:
        meaning = UNKNOWN if exit_code is None else EXIT_CODES.get(exit_code, UNKNOWN)
    reason, what, advice = (str(error.get(name, "")) for name in ("reason", "what", "advice"))
    return ExitReason(exit_code, meaning, reason, what, advice)


def render_exit_screen(end: ExitReason) -> str:
    """Render exit code, reason and advice, a field each, in 80 columns."""
    code = "unknown" if end.exit_code is None else f"code {end.exit_code}"
    lines = render_field("Exit", f"{code}: {end.meaning}")
    lines += render_field("Reason", end.what) if end.what else []
    lines += render_field("Advice", end.advice) if end.advice else []
    return "\n".join(lines)


def render_exit_plain(end: ExitReason) -> str:
    """Render one line: the exit code, and the error's message or else the code's meaning."""
    code = "an unknown exit code" if end.exit_code is None else f"exit code {end.exit_code}"
    return printable(f"{code}: {end.what.removesuffix('.') or end.meaning}")


def render_exit_json(end: ExitReason) -> str:
    """Render all fields for a program."""
    tree = {name: getattr(end, name) or None for name in ("reason", "what", "advice")}
    return json.dumps({"exit_code": end.exit_code, "meaning": end.meaning, **tree}, indent=2)
