"""What the model is told of the past."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gateway.history import INTERRUPTED, Call, Exchange, History
from appliance.link.engine import Turn, Utterance

BUDGET = 200


def utterance(seconds: float, number: int = 1) -> Utterance:
    said = Utterance(number)
    said.pcm += bytes(int(seconds * 32_000))
    said.complete = True
    return said


def history(max_tokens: int = BUDGET, max_turns: int = 20, audio_turns: int = 1) -> History:
    return History("Be kind.", max_tokens, max_turns, audio_turns)


def told(past: History) -> list[tuple[str, str, bool]]:
    return [(said.role, said.text, said.utterance is not None) for said in past.conversation()]


def test_the_model_is_told_what_was_said_as_audio_and_what_was_heard_as_text() -> None:
    past = history()
    past.ask(utterance=utterance(1))
    past.heard("Fine,")
    past.heard("thanks.")
    past.ask(text="And you?")
    assert told(past) == [
        ("system", "Be kind.", False),
        ("user", "", True),
        ("assistant", "Fine, thanks.", False),
        ("user", "And you?", False),
    ]


def test_without_a_system_prompt_the_user_comes_first() -> None:
    past = History("", BUDGET, 20, 4)
    past.ask(text="Hello.")
    assert told(past) == [("user", "Hello.", False)]


def test_a_question_without_an_answer_is_taken_back_and_an_answered_one_is_not() -> None:
    past = history()
    assert past.unanswered() is None
    past.ask(text="Hello?")
    assert past.unanswered() == Exchange(text="Hello?")
    past.ask(text="Hello?")
    past.heard("Hi.")
    assert past.unanswered() is None
    assert len(past.exchanges) == 1


def test_what_was_heard_before_anything_was_asked_is_a_greeting_and_no_answer() -> None:
    past = history()
    past.heard("Welcome,")
    past.heard("caller.")
    past.ask(text="Hello.")
    assert told(past)[1:] == [("assistant", "Welcome, caller.", False), ("user", "Hello.", False)]
    assert past.waiting() is not None


def test_what_was_done_in_between_stays_with_the_question_and_before_the_answer() -> None:
    past = history()
    exchange = past.ask(text="How late is it?")
    exchange.calls.append(Call("call"))
    past.heard("Just a moment.")  # said while the tool runs
    assert [said.text for said in past.question()[1:]] == ["How late is it?", "call", INTERRUPTED]
    exchange.calls[0].result = "noon"
    past.heard("Noon.")
    assert told(past)[1:] == [
        ("user", "How late is it?", False),
        ("assistant", "call", False),
        ("tool", "noon", False),
        ("assistant", "Just a moment. Noon.", False),
    ]
    assert past.question() == past.conversation()[:-1]


def test_a_question_upon_which_something_was_done_is_not_taken_back() -> None:
    past = history()
    past.ask(text="Order it.").calls.append(Call("order"))
    assert past.unanswered() is None
    assert past.waiting() is past.exchanges[-1]


def test_the_last_questions_stay_audio_when_older_ones_become_text() -> None:
    past = history(max_tokens=240, audio_turns=2)
    for number in range(1, 5):
        past.ask(utterance=utterance(8, number))
        past.heard("Yes.")
        past.understood(past.exchanges[-1].utterance or utterance(0), f"question {number}")
    assert [freed.id for freed in past.trim()] == [1, 2]
    asked = [(text, audio) for role, text, audio in told(past) if role == "user"]
    assert asked == [("question 1", False), ("question 2", False), ("", True), ("", True)]


def test_room_is_made_in_big_steps() -> None:
    past = history(max_tokens=1000, max_turns=1000, audio_turns=4)
    trims = 0
    for number in range(1, 200):
        past.ask(utterance=utterance(4, number))
        past.heard("This is an answer of the usual length, two short sentences. No more.")
        past.understood(past.exchanges[-1].utterance or utterance(0), "What I asked. " * 3)
        trims += past.is_full()
        past.trim()
        assert not past.is_full()
    assert trims < 30


def test_audio_that_has_to_go_becomes_what_was_understood_of_it() -> None:
    past = history(max_tokens=90)
    first, second = utterance(8, 1), utterance(8, 2)
    past.ask(utterance=first)
    past.heard("Yes.")
    past.ask(utterance=second)
    past.understood(first, "Is it so?")
    assert past.trim() == [first]
    assert told(past)[1:] == [
        ("user", "Is it so?", False),
        ("assistant", "Yes.", False),
        ("user", "", True),
    ]


def test_there_is_never_a_placeholder_for_audio_that_was_not_understood() -> None:
    past = history(max_tokens=90)
    first, second = utterance(8, 1), utterance(8, 2)
    past.ask(utterance=first)
    past.heard("Yes.")
    past.ask(utterance=second)
    assert past.trim() == [first]
    assert told(past)[1:] == [("user", "", True)]


def test_the_older_half_goes_at_once_so_that_the_prompts_prefix_stays() -> None:
    past = history(max_tokens=10_000, max_turns=8)
    for number in range(5):
        past.ask(text=f"question {number}")
        past.heard("answer")
    past.trim()
    kept = [text for role, text, _ in told(past) if role == "user"]
    assert kept == ["question 3", "question 4"]
    assert past.trim() == []


def test_the_question_at_hand_stays_however_long_it_is() -> None:
    past = history(max_tokens=10)
    past.ask(utterance=utterance(60))
    assert past.trim() == []
    assert told(past)[-1] == ("user", "", True)


class Conversation:
    """Does to a history what a call does, and keeps what the engine may still be asked about."""

    def __init__(self, audio_turns: int) -> None:
        self.history = history(max_turns=8, audio_turns=audio_turns)
        self.freed: list[Utterance] = []
        self.number = 0

    def ask(self, text: str, seconds: float) -> None:
        before = self.history.unanswered()
        self.number += 1
        said = utterance(seconds, self.number) if seconds else None
        if before is not None:
            text, said = f"{before.text} {text}".strip(), said or before.utterance
        self.history.ask(text, said)


asks = st.tuples(
    st.just("ask"),
    st.sampled_from([("Well?", 0.0), ("", 0.5), ("", 6.0), ("Listen:", 12.0), ("x" * 500, 0.0)]),
)
hears = st.tuples(st.just("hear"), st.sampled_from(["Yes.", "", "word " * 60]))
understands = st.tuples(st.just("understand"), st.sampled_from(["What I said.", "", "word " * 90]))
calls = st.tuples(st.just("call"), st.sampled_from(["short", "result " * 50]))
trims = st.tuples(st.just("trim"), st.none())


@settings(max_examples=200)
@given(st.lists(asks | hears | understands | calls | trims, max_size=40), st.integers(0, 4))
def test_whatever_happens_roles_alternate_the_budget_holds_and_nothing_freed_is_told(
    events: list[tuple[str, object]], audio_turns: int
) -> None:
    call = Conversation(audio_turns)
    past = call.history
    for event, value in events:
        last_before = past.exchanges[-1] if past.exchanges else None
        match event, value:
            case "ask", (str(text), float(seconds)):
                call.ask(text, seconds)
            case "hear", str(text):
                past.heard(text)
            case "understand", str(text):
                for exchange in past.exchanges:
                    if exchange.utterance is not None:
                        past.understood(exchange.utterance, text)
            case "call", str(result):
                if (waiting := past.waiting()) is not None and len(waiting.calls) < 4:
                    waiting.calls.append(Call("call", result))
            case "trim", _:
                latest = past.exchanges[-max(1, audio_turns) :]
                spoken = [exchange.utterance for exchange in latest]
                call.freed += past.trim()
                assert [exchange.utterance for exchange in latest] == spoken
                assert not past.exchanges or past.exchanges[-1] is last_before
                tokens = sum(exchange.tokens for exchange in past.exchanges)
                turns = sum(exchange.turns for exchange in past.exchanges)
                assert len(past.exchanges) <= 1 or (tokens <= BUDGET and turns <= 8)
        roles = [said.role for said in past.conversation()]
        assert roles[0] == "system"
        assert all(a != b for a, b in pairwise(roles))
        referred = {said.utterance for said in past.conversation()} - {None}
        assert referred.isdisjoint(freed.id for freed in call.freed)
        assert all(map(said_something, past.conversation()))
    assert len(call.freed) == len(set(call.freed))


def said_something(said: Turn) -> bool:
    return bool(said.text) or said.utterance is not None


@pytest.mark.parametrize(
    ("exchange", "tokens"),
    [
        (Exchange(text="four"), 11),
        (Exchange(utterance=utterance(4)), 35),
        (Exchange(utterance=utterance(4), understood="not counted yet"), 35),
        (Exchange(understood="now it is"), 12.25),
        (Exchange(text="four", reply="eight ch"), 13),
    ],
)
def test_sizes_are_estimated(exchange: Exchange, tokens: float) -> None:
    assert exchange.tokens == tokens
