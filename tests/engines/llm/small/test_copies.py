"""Which replies are copies of an earlier answer or of the caller's sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.copies import COPIED_WORDS, CopyGuard, CopyState
from appliance.link.engine import ChatMessage

MOON = "The moon is the only natural satellite of the Earth. It shines at night."
FULL = "I am sorry, but we are already full."


def guard(question: str = "Stop.", *answers: str) -> CopyGuard:
    return CopyGuard(answers or (MOON, FULL), question)


def states(guard: CopyGuard, text: str) -> list[CopyState]:
    """Judge a text letter by letter until it is known what it is, and at its end."""
    found = []
    for end in range(len(text) + 1):
        found.append(guard.judge(text[:end]))
        if found[-1] is not CopyState.OPEN:
            return found
    return [*found, guard.judge(text, is_complete=True)]


def verdict(guard: CopyGuard, text: str) -> CopyState:
    return states(guard, text)[-1]


@pytest.mark.parametrize(
    "text",
    [
        MOON,
        "the MOON is, the only natural satellite of the Earth and more",
        FULL,
        f"{FULL} Please call again.",
    ],
)
def test_first_words_of_an_earlier_answer_are_a_copy(text: str) -> None:
    assert verdict(guard(), text) is CopyState.COPY


def test_copy_is_known_before_any_of_it_is_certain_speech() -> None:
    found = states(guard(), MOON)
    assert set(found[:-1]) == {CopyState.OPEN}
    assert found[-1] is CopyState.COPY


def test_copy_of_a_long_text_is_known_after_a_few_words() -> None:
    beginning = " ".join(MOON.split()[:COPIED_WORDS])
    assert guard().judge(f"{beginning} ") is CopyState.COPY


@pytest.mark.parametrize(
    "question",
    ["Spell the word cat.", "What did I just say?", "Please say all of this back to me, will you?"],
)
def test_callers_sentence_is_a_copy(question: str) -> None:
    assert verdict(guard(question), question) is CopyState.COPY
    assert verdict(guard(question), question.rstrip(".?")) is CopyState.COPY


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Stop.", "All right."),
        ("Stop.", "The moon is far away."),
        ("What did I just say?", 'You said "What did I just say?"'),
        ("Seven plus five equals.", "Seven plus five equals twelve."),
        ("Good evening to you.", "Good evening to you too."),
        ("Hello there.", "Hello there."),
        ("Stop.", "I am sorry, but we are already full of hope."),
        ("Stop.", "I am sorry."),
        ("Stop.", ""),
    ],
)
def test_own_words_are_not_a_copy(question: str, text: str) -> None:
    assert verdict(guard(question), text) is CopyState.OWN


@pytest.mark.parametrize(
    "answer", ["Yes.", "Your name is Clara.", "I am sorry, I cannot send anything."]
)
def test_short_answer_may_be_given_twice(answer: str) -> None:
    assert verdict(guard("Is it?", answer), answer) is CopyState.OWN


def test_refusals_that_begin_alike_are_not_copies() -> None:
    weather = "I am sorry, I do not know the weather."
    hours = "I am sorry, I do not know the opening hours."
    assert verdict(guard("When do you open?", weather), hours) is CopyState.OWN


def test_first_word_that_differs_ends_the_comparison() -> None:
    assert guard().judge("The moon is t") is CopyState.OPEN
    assert guard().judge("The moon is m") is CopyState.OWN
    assert guard().judge("The moon is ") is CopyState.OPEN
    assert guard().judge("The moon is.", is_complete=True) is CopyState.OWN


def test_copied_text_is_known() -> None:
    found = guard()
    found.judge(MOON)
    assert found.copied == MOON


def test_conversation_gives_the_answers_and_the_question() -> None:
    question = "Please tell me about the moon."
    turns = [
        ChatMessage("system", "You are very friendly and answer all questions."),
        ChatMessage("user", question),
        ChatMessage("assistant", MOON),
        ChatMessage("user", "Say it more simply."),
    ]
    assert verdict(CopyGuard.of(turns), MOON) is CopyState.COPY
    assert verdict(CopyGuard.of(turns), "Say it more simply.") is CopyState.COPY
    assert verdict(CopyGuard.of(turns), question) is CopyState.OWN
    assert verdict(CopyGuard.of(turns), turns[0].text) is CopyState.OWN


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Say that again, please.", CopyState.OWN),
        ("Once more, please.", CopyState.OWN),
        ("Sorry, I didn't catch that.", CopyState.OWN),
        ("What did you say?", CopyState.OWN),
        ("What did I just say?", CopyState.COPY),
        ("I did not understand. Say it more simply.", CopyState.COPY),
        ("Stop.", CopyState.COPY),
    ],
)
def test_answer_is_repeated_only_for_a_caller_who_asks(question: str, expected: CopyState) -> None:
    turns = [
        ChatMessage("user", "Tell me."),
        ChatMessage("assistant", MOON),
        ChatMessage("user", question),
    ]
    assert verdict(CopyGuard.of(turns), MOON) is expected


@pytest.mark.parametrize(
    "question", ["Sorry, I didn't catch that.", "I did not hear. Say it again."]
)
def test_callers_sentences_are_a_copy_even_if_the_answer_may_be_repeated(question: str) -> None:
    turns = [
        ChatMessage("user", "Tell me."),
        ChatMessage("assistant", MOON),
        ChatMessage("user", question),
    ]
    assert verdict(CopyGuard.of(turns), question) is CopyState.COPY


def test_same_answer_after_a_tool_is_not_a_copy() -> None:
    answer = "It is ten minutes past three in the afternoon."
    turns = [
        ChatMessage("assistant", answer),
        ChatMessage("user", "And now?"),
        ChatMessage("tool", "3:10 PM"),
    ]
    assert verdict(CopyGuard.of(turns), answer) is CopyState.OWN


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3), st.text(max_size=60))
def test_any_reply_is_judged(question: str, answers: list[str], text: str) -> None:
    judged = CopyGuard(answers, question).judge(text, is_complete=True)
    assert judged in (CopyState.COPY, CopyState.OWN)


RIVER = "A river is a long stream of water that flows to the sea over many days."


def guard_after(question: str) -> CopyGuard:
    return CopyGuard.of(
        [
            ChatMessage("user", "What is a river?"),
            ChatMessage("assistant", RIVER),
            ChatMessage("user", question),
        ]
    )


@pytest.mark.parametrize("opening", ["", "Okay. ", "Sure, ", "Yes, okay. "])
def test_copy_after_an_opening_is_a_copy(opening: str) -> None:
    assert guard_after("And a lake?").judge(opening + RIVER) is CopyState.COPY


@pytest.mark.parametrize(
    "question",
    [
        "Do not say that again.",
        "Don't repeat yourself.",
        "Explain it once again in simpler words.",
        "Say that again, but shorter.",
        "Stop repeating that.",
    ],
)
def test_caller_who_wants_another_answer_does_not_get_the_same(question: str) -> None:
    assert guard_after(question).judge(RIVER) is CopyState.COPY


@pytest.mark.parametrize("question", ["Say that again, please.", "Pardon?", "One more time."])
def test_caller_who_asks_for_the_answer_again_gets_it(question: str) -> None:
    assert guard_after(question).judge(RIVER) is CopyState.OWN
