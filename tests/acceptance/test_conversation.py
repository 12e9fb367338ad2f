"""What is made of a conversation."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.acceptance import script
from appliance.acceptance.conversation import judge
from appliance.acceptance.report import Limits, Result, Sample

LIMITS = Limits(2.0, 3.0, 0.4, 60.0)
ANSWERS = {
    script.KNOWN[0]: "It is Paris.",
    script.KNOWN[1]: "It is Rome.",
    script.TOLD: "Hello Peter.",
    script.ASKED_BACK: "Your name is Peter.",
}
ASKED = list(ANSWERS)
GOOD = [Sample(q.text, q.text, a, a, "answered", 1.5) for q, a in ANSWERS.items()]
ALOUD, UNDERSTOOD, ANSWERED, SOUNDS, MEMORY, P50, P95 = range(7)


def judged(shown: bool = True, **changes: dict[int, object]) -> list[Result]:
    """The good conversation with some fields of some turns changed."""
    turns = list(GOOD)
    for name, of in changes.items():
        for number, value in of.items():
            turns[number] = dataclasses.replace(turns[number], **{name: value})
    return judge(ASKED, turns, LIMITS, shown)


def failed(results: list[Result]) -> list[int]:
    return [number for number, result in enumerate(results) if result.state == "fail"]


def test_a_good_conversation_passes() -> None:
    assert failed(judged()) == []
    assert {result.check for result in judged()} == {"words", "memory", "latency"}


def test_a_question_without_an_answer_is_named() -> None:
    results = judged(outcome={1: "no_answer"}, latency={1: None})
    assert failed(results) == [ALOUD]
    assert "Italy" in results[ALOUD].found


def test_words_that_were_not_understood_are_shown() -> None:
    results = judged(understood={0: "What is the captain of prance?"})
    assert failed(results) == [UNDERSTOOD]
    assert "captain" in results[UNDERSTOOD].found


def test_nonsense_in_place_of_an_answer_is_noticed() -> None:
    gibberish = "Blue seven of the of."
    results = judged(reply={0: gibberish}, sounded={0: gibberish})
    assert failed(results) == [ANSWERED]


def test_a_voice_that_says_something_else_than_the_text_is_noticed() -> None:
    results = judged(sounded=dict.fromkeys(range(4), "mumble mumble"))
    assert failed(results) == [SOUNDS]
    assert "mumble" in results[SOUNDS].found


def test_a_name_that_was_forgotten_is_noticed() -> None:
    assert failed(judged(reply={3: "I do not know."}, sounded={3: "I do not know"})) == [MEMORY]


def test_slow_answers_fail_by_the_median_and_one_slow_answer_by_the_p95() -> None:
    assert failed(judged(latency=dict.fromkeys(range(4), 2.5))) == [P50]
    assert failed(judged(latency={2: 4.0})) == [P95]
    assert failed(judged(latency=dict.fromkeys(range(4)))) == [ALOUD, P50]


def test_where_callers_are_told_no_texts_the_sound_is_judged_by_the_answers() -> None:
    silent = {"understood": dict.fromkeys(range(4), ""), "reply": dict.fromkeys(range(4), "")}
    results = judged(shown=False, **silent)
    assert failed(results) == []
    assert [results[n].state for n in (UNDERSTOOD, SOUNDS)] == ["skipped"] * 2
    assert failed(judged(shown=False, **silent, sounded={0: "hello"})) == [ANSWERED]


def test_every_turn_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="zip"):
        judge(ASKED, GOOD[:3], LIMITS, shown=True)
