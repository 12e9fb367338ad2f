"""The evaluation of a conversation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any

import pytest

from appliance.acceptance import conversation, script
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.conversation import evaluate
from appliance.acceptance.limits import AcceptanceLimits
from appliance.acceptance.report import CheckResult, SpokenTurn
from tests.acceptance.test_overload import LimitedGateway, context_of

LIMITS = AcceptanceLimits(2.0, 3.0, 0.4, 60.0)
ANSWERS = {
    script.KNOWLEDGE[0]: "It is Paris.",
    script.KNOWLEDGE[1]: "It is Rome.",
    script.INTRODUCTION: "Hello Peter.",
    script.RECALL: "Your name is Peter.",
}
QUESTIONS = list(ANSWERS)
GOOD = [
    SpokenTurn(question.text, question.text, answer, answer, "answered", 1.5, {}, voice)
    for (question, answer), voice in zip(ANSWERS.items(), "abab", strict=True)
]
ALOUD, UNDERSTOOD, CORRECT, INTELLIGIBLE, MEMORY, P50, P95 = range(7)


def evaluate_changed(has_texts: bool = True, **changes: Mapping[int, Any]) -> list[CheckResult]:
    """Evaluate the passing conversation with changed fields in some turns."""
    turns = list(GOOD)
    for name, values in changes.items():
        for number, value in values.items():
            turns[number] = dataclasses.replace(turns[number], **{name: value})
    return evaluate(QUESTIONS, turns, LIMITS, has_texts)


def failed(results: list[CheckResult]) -> list[int]:
    return [number for number, result in enumerate(results) if result.state == "fail"]


def test_complete_conversation_passes() -> None:
    assert failed(evaluate_changed()) == []
    assert {result.check for result in evaluate_changed()} == {"words", "memory", "latency"}


def test_unanswered_question_is_named() -> None:
    results = evaluate_changed(outcome={1: "no_answer"}, latency={1: None})
    assert failed(results) == [ALOUD]
    assert "Italy" in results[ALOUD].found


def test_misunderstood_question_is_shown() -> None:
    results = evaluate_changed(understood={0: "What is the captain of prance?"})
    assert failed(results) == [UNDERSTOOD]
    assert "captain" in results[UNDERSTOOD].found


def test_nonsense_answer_fails() -> None:
    gibberish = "Blue seven of the of."
    results = evaluate_changed(reply={0: gibberish}, sounded={0: gibberish})
    assert failed(results) == [CORRECT]


def test_audio_that_differs_from_the_text_fails() -> None:
    results = evaluate_changed(sounded=dict.fromkeys(range(4), "mumble mumble"))
    assert failed(results) == [INTELLIGIBLE]
    assert "mumble" in results[INTELLIGIBLE].found


@pytest.mark.parametrize("reply", ["I do not know.", "My name is Peter."])
def test_answer_that_does_not_tell_the_callers_name_fails(reply: str) -> None:
    assert failed(evaluate_changed(reply={3: reply}, sounded={3: reply})) == [MEMORY]


def test_memory_is_not_judged_by_a_question_that_was_misheard() -> None:
    misheard = {3: "What is the collar's name?"}
    nonsense = {3: "The collar's name is unknown."}
    results = evaluate_changed(understood=misheard, reply=nonsense, sounded=nonsense)
    assert failed(results) == []
    assert results[MEMORY].state == "skipped"
    assert "collar" in results[MEMORY].found


async def ask_with_transcripts(
    monkeypatch: pytest.MonkeyPatch, heard: Iterable[str]
) -> list[CheckResult]:
    """Run the check against a caller of whose RECALLs these transcripts are made."""
    transcripts = iter(heard)

    async def take_turn(
        context: AcceptanceContext, talk: object, text: str, voice: str, pcm: bytes
    ) -> None:
        (turn,) = (turn for turn in GOOD if turn.said == text)
        if text == script.RECALL.text:
            turn = dataclasses.replace(turn, understood=next(transcripts))
        context.turns.append(dataclasses.replace(turn, voice=voice))

    monkeypatch.setattr(conversation, "_take_turn", take_turn)
    async with LimitedGateway() as gateway:
        return await conversation.check(context_of(gateway))


async def test_misheard_question_for_the_name_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = ["What is the collar's name?"] * 2 + [script.RECALL.text]
    assert (await ask_with_transcripts(monkeypatch, heard))[MEMORY].state == "pass"


async def test_question_for_the_name_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = repeat("What is the collar's name?")
    assert (await ask_with_transcripts(monkeypatch, heard))[MEMORY].state == "skipped"


def test_recordings_of_the_site_are_judged_with_the_questions() -> None:
    text = "When does the pharmacy open on Sundays?"
    recorded = SpokenTurn(text, text, "At nine.", "at nine", "answered", 1.5, {}, "nurse")

    def evaluate_with(turn: SpokenTurn) -> list[CheckResult]:
        return evaluate(QUESTIONS, [*GOOD, turn], LIMITS, has_texts=True)

    assert failed(evaluate_with(recorded)) == []
    assert "5 turns and 3 voices" in evaluate_with(recorded)[P50].found
    assert failed(evaluate_with(dataclasses.replace(recorded, latency=9.0))) == [P95]
    misheard = evaluate_with(dataclasses.replace(recorded, understood="When does it rain?"))
    assert failed(misheard) == [UNDERSTOOD]
    assert "nurse" in misheard[UNDERSTOOD].found


def test_slow_answers_fail_the_median_and_one_slow_answer_fails_the_p95() -> None:
    assert failed(evaluate_changed(latency=dict.fromkeys(range(4), 2.5))) == [P50]
    assert failed(evaluate_changed(latency={2: 4.0})) == [P95]
    assert failed(evaluate_changed(latency=dict.fromkeys(range(4)))) == [ALOUD, P50]


def test_audio_transcript_is_evaluated_when_texts_are_missing() -> None:
    no_texts = {"understood": dict.fromkeys(range(4), ""), "reply": dict.fromkeys(range(4), "")}
    results = evaluate_changed(has_texts=False, **no_texts)
    assert failed(results) == []
    assert [results[number].state for number in (UNDERSTOOD, INTELLIGIBLE)] == ["skipped"] * 2
    results = evaluate_changed(has_texts=False, **no_texts, sounded={0: "hello"})
    assert failed(results) == [CORRECT]


def test_missing_turn_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate(QUESTIONS, GOOD[:3], LIMITS, has_texts=True)
