"""Targets of hearing and turn taking, and whether a measurement meets them. No I/O."""

from __future__ import annotations

from tests.voices.words import Errors, error_percent

# Sets of short speech: at most this many times the errors of whisper-base on the same clips.
TIMES_REFERENCE = 1.3
SHORT_SPEECH = (
    "digits",
    "digit strings",
    "letters",
    "letters, others",
    "spelled words",
    "ordinals",
    "short phrases",
)
HELD_PERCENT = 8.0  # of the complete utterances wait over 1 s
DELAY_P95_SECONDS = 0.95
PHONE_PERCENT = 5.0  # of the pauses in dictated phone numbers end the turn
LETTERS_PERCENT = 6.0  # the same, spelled letters


def hearing_limit(name: str, whole: Errors, reference: Errors | None) -> float | None:
    """Return the most word errors of a set in percent; None if it has no target.

    Prompts may not lose by being cut while they arrive.
    """
    if name.startswith("prompts"):
        return error_percent(whole)
    if name in SHORT_SPEECH and reference is not None:
        return TIMES_REFERENCE * error_percent(reference)
    return None


def judged(value: float, limit: float | None, digits: int = 1) -> str:
    """Return "met", "MISSED", or "-" without a limit, at the `digits` that the table shows."""
    if limit is None:
        return "-"
    return "met" if round(value, digits) <= round(limit, digits) else "MISSED"
