"""What of a log line leaves the house."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.console.bundle import in_source, redacted
from tests.console import recorded

SOURCE = """ log.info("turn"); log.info("session ended"); write("program " + kind); "restarted"
"answered" "left" "smart_turn" "engine failed" "tts" "engine_gone" "wrong_token" "session started"
"tool called" "done" "turn heard" "interrupted" "fallback" "hung_up" "crashed" """
CANARY = "zanzibar"


def left(*texts: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in redacted(texts, in_source(SOURCE))]


def test_what_our_own_lines_say_stays() -> None:
    ours = [text for text in recorded.TEXTS if text.startswith("{")]
    assert left(*ours) == [json.loads(text) for text in ours]


HIDDEN: dict[str, dict[str, Any]] = {
    "an unknown field": {"user_text": CANARY},
    "a sentence in a known field": {"state": f"he said {CANARY}"},
    "a sentence in a list": {"trace": [f"he said {CANARY}", "a.py:1:f"]},
    "a word where only ours may stand": {"outcome": CANARY},
    "a word in place of a number": {"tokens": CANARY},
    "the message of a library": {"message": f"LLM says {CANARY}"},
    "the text of an error": {"what": f"The file {CANARY} is missing.", "reason": "missing_weights"},
    "an advice": {"advice": CANARY},
    "something nested": {"state": {"text": CANARY}},
    "another alphabet": {"state": "занзибар-" + CANARY},
}


@pytest.mark.parametrize("what", HIDDEN)
def test_a_callers_word_goes_nowhere(what: str) -> None:
    line = json.dumps({"event": "turn", "level": "info", "turn": 1, **HIDDEN[what]})
    (kept,) = left(line)
    assert CANARY not in json.dumps(kept, ensure_ascii=False)
    assert (kept["event"], kept["turn"]) == ("turn", 1)


def test_an_event_that_is_none_of_ours_loses_its_name() -> None:
    (kept,) = left(json.dumps({"event": f"they said {CANARY}", "files": 3}))
    assert kept == {"event": "unnamed", "files": 3, "dropped_fields": 1}


def test_an_event_put_together_from_two_words_of_ours_keeps_its_name() -> None:
    (kept,) = left(json.dumps({"event": "program restarted", "program": "tts"}))
    assert kept == {"event": "program restarted", "program": "tts"}


def test_what_is_no_line_of_ours_is_counted_and_left_out() -> None:
    assert left(f"{CANARY} on stderr", "", "[1]", recorded.TEXTS[0])[-1] == {
        "event": "lines left out",
        "count": 2,
    }


def test_the_advice_of_an_error_comes_from_the_catalogue() -> None:
    (kept,) = left(json.dumps({"event": "crashed", "reason": "wrong_token", "advice": CANARY}))
    assert "Authorization" in kept["advice"]


def test_what_is_empty_may_stay() -> None:
    (kept,) = left(json.dumps({"event": "turn", "waiting_for": "", "by": ""}))
    assert kept == {"event": "turn", "waiting_for": "", "by": ""}


def test_what_was_dropped_is_counted_with_what_the_journal_dropped() -> None:
    (kept,) = left(json.dumps({"event": "turn", "dropped_fields": 2, "a": 1, "b": 2}))
    assert kept["dropped_fields"] == 4
