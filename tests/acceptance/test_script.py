"""The script's questions, and the comparison of transcripts with texts."""

from __future__ import annotations

import pytest

from appliance.acceptance import script
from appliance.acceptance.script import agreement, missing, names_caller, normalize


@pytest.mark.parametrize("turns", [0, 4, 5, 12])
def test_every_conversation_has_the_knowledge_and_memory_questions(turns: int) -> None:
    questions = script.conversation(turns)
    assert len(questions) == max(turns, 4)
    assert questions[:4] == [*script.KNOWLEDGE, *script.MEMORY]
    assert questions.index(script.INTRODUCTION) < questions.index(script.RECALL)


def test_every_question_contains_its_required_words() -> None:
    for question in (*script.KNOWLEDGE, *script.MEMORY, script.STORY):
        assert missing(question.understood, question.text) == []


def test_no_question_contains_its_answer() -> None:
    assert not script.names_caller(script.RECALL.text)
    for question in script.KNOWLEDGE:
        assert missing(question.answered, question.text) == list(question.answered)


def test_case_punctuation_and_number_format_are_ignored() -> None:
    assert normalize("It’s 20%, really!") == ["it's", "twenty", "percent", "really"]
    assert agreement("It opened in 1889.", "it opened in eighteen eighty nine") == 1
    assert normalize("call 0123456789") == ["call", "0123456789"]


def test_equal_sentences_agree_and_different_sentences_do_not() -> None:
    text = "The capital of France is Paris."
    assert agreement(text, "the capital of france is paris") == 1
    assert agreement(text, "the capitol of france is paris") > 0.8
    assert agreement(text, "mm hm well goodbye then") == 0
    assert agreement(text, "") == 0
    assert agreement("", "anything") == 0


def test_words_in_a_different_order_do_not_agree() -> None:
    assert agreement("one two three four", "four three two one") <= 0.25


@pytest.mark.parametrize(
    "reply",
    [
        "Your name is Peter.",
        "You are Peter.",
        "You’re Peter!",
        "Peter.",
        "peter",
        "It's Peter.",
        "Hello Peter!",
        "Your name's Peter",
        "You are called Peter.",
        "Your name is, of course, Peter.",
        "Peter, as you told me.",
        "You told me your name is Peter.",
        "I am a bot. Your name is Peter.",
        "Peter is your name.",
        "The caller's name is Peter.",
        "The caller is called Peter.",
    ],
)
def test_reply_that_tells_the_caller_the_callers_name(reply: str) -> None:
    assert names_caller(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "My name is Peter.",
        "I am Peter.",
        "I'm Peter, your assistant.",
        "Hello, my name is Peter.",
        "Hi, I'm Peter",
        "Peter is my name.",
        "Peter is a name.",
        "His name is Peter.",
        "You're asking about Peter's name.",
        "You are talking to Peter.",
        "You are not Peter.",
        "Your name is not Peter.",
        "Your name is Peterson.",
        "The caller's name is not Peter.",
        "What is your name, Peter Pan or Peter?",
        "I do not know.",
        "",
    ],
)
def test_reply_that_does_not_tell_the_caller_the_callers_name(reply: str) -> None:
    assert not names_caller(reply)


def test_missing_words_are_named() -> None:
    assert missing(("capital", "france"), "What is the CAPITAL of Frans?") == ["france"]
    assert missing(("museum|gallery",), "a famous gallery") == []
    assert missing(("peter",), "Peterborough") == ["peter"]
