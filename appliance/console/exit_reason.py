"""Why a container ended: its exit code, and the error that its log names. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.console.logs import LogLine
from appliance.console.terminal import printable, render_field

# Codes from the appliance (errors.py), the container engine (125 to 127) and signals (128 + n).
EXIT_CODES: Mapping[int, str] = {
    0: "stopped as requested",
    70: "a process could not be kept running, or crashed",
    71: "supervisord exited or hung",
    78: "a setting or the installation must be corrected",
    79: "the seal is broken",
    80: "a process kept exiting (restart loop)",
    81: "a process did not answer, even after restarts",
    82: "a process never became ready",
    83: "the memory of a process kept growing, even after restarts",
    84: "the GPU is lost",
    125: "the container could not be started",
    126: "the container could not be started",
    127: "the container could not be started",
    137: "killed: out of memory, or did not stop in time",
}
OUT_OF_MEMORY = "killed: the container exceeded its memory limit"
UNKNOWN = "the reason is unknown; see voicectl logs"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """What is known about why the container exited.

    exit_code   None if neither the container engine nor the log has one
    meaning     meaning of the exit code
    reason      short name of the error in the catalogue (errors.py); empty if the log has none
    message     message of the error; `what` in JSON
    advice      what the operator should do
    """

    exit_code: int | None
    meaning: str
    reason: str = ""
    message: str = ""
    advice: str = ""


def find_exit_reason(
    lines: Iterable[LogLine], exit_code: int | None = None, out_of_memory: bool = False
) -> ExitReason:
    """Find the last error in the log with this exit code, or of any code if `exit_code` is None.

    Errors with other codes belong to single processes whose exit did not stop the container.
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
    reason, message, advice = (str(error.get(name, "")) for name in ("reason", "what", "advice"))
    return ExitReason(exit_code, meaning, reason, message, advice)


def render_exit_screen(exit_reason: ExitReason) -> str:
    """Render exit code, reason and advice as labelled fields, in 80 columns."""
    code = "unknown" if exit_reason.exit_code is None else f"code {exit_reason.exit_code}"
    lines = render_field("Exit", f"{code}: {exit_reason.meaning}")
    lines += render_field("Reason", exit_reason.message) if exit_reason.message else []
    lines += render_field("Advice", exit_reason.advice) if exit_reason.advice else []
    return "\n".join(lines)


def render_exit_plain(exit_reason: ExitReason) -> str:
    """Render one line: the exit code, and the error's message or else the code's meaning."""
    code = exit_reason.exit_code
    label = "an unknown exit code" if code is None else f"exit code {code}"
    return printable(f"{label}: {exit_reason.message.removesuffix('.') or exit_reason.meaning}")


def render_exit_json(exit_reason: ExitReason) -> str:
    """Render all fields as JSON."""
    tree = {
        "exit_code": exit_reason.exit_code,
        "meaning": exit_reason.meaning,
        "reason": exit_reason.reason or None,
        "what": exit_reason.message or None,
        "advice": exit_reason.advice or None,
    }
    return json.dumps(tree, indent=2)
