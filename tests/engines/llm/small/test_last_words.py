"""The caller's previous text follows a question for it, and only that."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.last_words import quote_last_words
from appliance.link.engine import Turn

CATS = Turn("user", "What are my cats called?")
ANSWER = Turn("assistant", "Your cats are called Fig and Olive.")


@pytest.mark.parametrize(
    "question",
    [
        "What did I just say?",
        "What did I say a moment ago?",
        "Sorry, what did I ask you?",
        "What was my last question?",
        "Can you repeat what I said",
        "What did I say before that?",
    ],
)
def test_question_for_the_last_words_has_them(question: str) -> None:
    [*before, last] = quote_last_words([CATS, ANSWER, Turn("user", question)])
    assert before == [CATS, ANSWER]
    assert last == Turn("user", f'{question} (Before this, I said: "{CATS.text}")')


@pytest.mark.parametrize(
    "question",
    [
        "What did I say about my cats?",
        "What did you just say?",
        "What do I say to my boss?",
        "What was my last job?",
        "I said stop.",
    ],
)
def test_other_questions_are_unchanged(question: str) -> None:
    dialogue = [CATS, ANSWER, Turn("user", question)]
    assert quote_last_words(dialogue) == dialogue


def test_first_question_of_a_call_has_nothing_to_quote() -> None:
    dialogue = [Turn("user", "What did I just say?")]
    assert quote_last_words(dialogue) == dialogue


def test_later_turns_do_not_change_an_earlier_one() -> None:
    """The model's cache of a conversation stays valid."""
    asked = [CATS, ANSWER, Turn("user", "What did I just say?")]
    again = [*asked, Turn("assistant", "You asked that."), Turn("user", "What did I just say?")]
    later = quote_last_words(again)
    assert later[:3] == quote_last_words(asked)
    assert later[-1].text.endswith('I said: "What did I just say?")')
