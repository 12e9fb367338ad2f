"""A reply that speaks as if it were the caller is found."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.swapped_persons import asks_for_own_fact, swapped_pronoun


@pytest.mark.parametrize(
    "question",
    ["What do I teach?", "And where did we live?", "What is my name?", "Tell me how old I am."],
)
def test_question_for_the_callers_own_fact(question: str) -> None:
    assert asks_for_own_fact(question)


@pytest.mark.parametrize("question", ["What is your name?", "I teach.", "Do I look good?", ""])
def test_other_questions(question: str) -> None:
    assert not asks_for_own_fact(question)


@pytest.mark.parametrize(
    ("reply", "pronoun"),
    [
        ("I teach chemistry.", "I"),
        ("My cat is Fig.", "My"),
        ("I am a nurse in", "I"),
        ("We have four sons.", "We"),
        ("You teach chemistry.", ""),
        ("In Oslo.", ""),
        ("I do not know.", ""),
        ("I am sorry, I", ""),
        ("I am a computer program", ""),
        ("I have no information", ""),
        ("It's my pleasure", ""),
        ("", ""),
    ],
)
def test_pronoun_of_a_swapped_reply(reply: str, pronoun: str) -> None:
    assert swapped_pronoun(reply) == pronoun
