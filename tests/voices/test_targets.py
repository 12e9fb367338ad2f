"""The verdicts on the tables of `make voices`."""

from __future__ import annotations

import pytest

from tests.voices.targets import hearing_limit, judged
from tests.voices.words import Errors


def errors(count: int) -> Errors:
    return Errors(words=100, substituted=count, dropped=0, added=0)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("prompts 16 kHz", 8.0), ("letters", 13.0), ("one word", None), ("room, RT 0.5 s", None)],
)
def test_prompts_are_compared_with_whole_clips_and_short_speech_with_whisper(
    name: str, limit: float | None
) -> None:
    found = hearing_limit(name, errors(8), errors(10))
    assert found == (None if limit is None else pytest.approx(limit))


def test_without_whisper_short_speech_has_no_target() -> None:
    assert hearing_limit("letters", errors(8), None) is None


@pytest.mark.parametrize(
    ("value", "verdict"), [(13.0, "met"), (13.04, "met"), (13.06, "MISSED"), (0.0, "met")]
)
def test_a_verdict_has_the_precision_of_the_table(value: float, verdict: str) -> None:
    assert judged(value, 13.0) == verdict
    assert judged(value, None) == "-"
