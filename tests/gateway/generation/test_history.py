"""The conversation history that is sent to the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gateway.generation.history import INTERRUPTED, Exchange, History, ToolCallRecord
from appliance.link.engine import ChatMessage
from appliance.link.utterance import Utterance

BUDGET = 200


def utterance(seconds: float, number: int = 1) -> Utterance:
    utterance = Utterance(number)
    utterance.pcm += bytes(int(seconds * 32_000))
    utterance.complete = True
    return utterance


def make_history(max_tokens: int = BUDGET, max_messages: int = 20, audio_turns: int = 1) -> History:
    return History("Be kind.", max_tokens, max_messages, audio_turns)


def messages(history: History) -> list[tuple[str, str, bool]]:
    return [
        (message.role, message.text, message.utterance is not None)
        for message in history.conversation()
    ]


def test_questions_are_audio_and_replies_are_the_text_that_was_heard() -> None:
    history = make_history()
    history.add("", utterance(1))
    history.add_heard("Fine,")
    history.add_heard("thanks.")
    history.add(text="And you?")
    assert messages(history) == [
        ("system", "Be kind.", False),
        ("user", "", True),
        ("assistant", "Fine, thanks.", False),
        ("user", "And you?", False),
    ]


def test_without_a_system_prompt_the_conversation_starts_with_the_user() -> None:
    history = History("", BUDGET, 20, 4)
    history.add(text="Hello.")
    assert messages(history) == [("user", "Hello.", False)]


def test_only_an_unanswered_question_can_be_removed() -> None:
    history = make_history()
    assert history.pop_unanswered() is None
    history.add(text="Hello?")
    assert history.pop_unanswered() == Exchange(text="Hello?")
    history.add(text="Hello?")
    history.add_heard("Hi.")
    assert history.pop_unanswered() is None
    assert len(history.exchanges) == 1


def test_text_heard_before_the_first_question_is_the_greeting() -> None:
    history = make_history()
    history.add_heard("Welcome,")
    history.add_heard("caller.")
    history.add(text="Hello.")
    assert messages(history)[1:] == [
        ("assistant", "Welcome, caller.", False),
        ("user", "Hello.", False),
    ]
    assert history.pending() is not None


def test_tool_calls_come_between_question_and_reply() -> None:
    history = make_history()
    exchange = history.add(text="How late is it?")
    exchange.tool_calls.append(ToolCallRecord("call"))
    history.add_heard("Just a moment.")  # while the tool runs
    assert [message.text for message in history.prompt()[1:]] == [
        "How late is it?",
        "call",
        INTERRUPTED,
    ]
    exchange.tool_calls[0].result = "noon"
    history.add_heard("Noon.")
    assert messages(history)[1:] == [
        ("user", "How late is it?", False),
        ("assistant", "call", False),
        ("tool", "noon", False),
        ("assistant", "Just a moment. Noon.", False),
    ]
    assert history.prompt() == history.conversation()[:-1]


def test_result_of_an_interrupted_call_is_kept() -> None:
    history = make_history()
    for name in ("c1", "c2"):
        history.add(text="Order it.").tool_calls.append(ToolCallRecord("order", call_id=name))
    history.set_result("c1", "ordered")
    history.set_result("c3", "of a call that was forgotten")
    results = [text for role, text, _ in messages(history) if role == "tool"]
    assert results == ["ordered", INTERRUPTED]


def test_question_with_a_tool_call_cannot_be_removed() -> None:
    history = make_history()
    history.add(text="Order it.").tool_calls.append(ToolCallRecord("order"))
    assert history.pop_unanswered() is None
    assert history.pending() is history.exchanges[-1]


def test_trim_keeps_the_latest_questions_as_audio() -> None:
    history = make_history(max_tokens=240, audio_turns=2)
    for number in range(1, 5):
        history.add("", utterance(8, number))
        history.add_heard("Yes.")
        history.set_transcript(history.exchanges[-1].utterances, f"question {number}")
    assert [freed.id for freed in history.trim()] == [1, 2]
    questions = [(text, audio) for role, text, audio in messages(history) if role == "user"]
    assert questions == [("question 1", False), ("question 2", False), ("", True), ("", True)]


def test_one_trim_frees_enough_space_for_several_turns() -> None:
    history = make_history(max_tokens=1000, max_messages=1000, audio_turns=4)
    trim_count = 0
    for number in range(1, 200):
        history.add("", utterance(4, number))
        history.add_heard("This is an answer of the usual length, two short sentences. No more.")
        history.set_transcript(history.exchanges[-1].utterances, "What I asked. " * 3)
        trim_count += history.is_full()
        history.trim()
        assert not history.is_full()
    assert trim_count < 30


def test_question_in_parts_is_kept_as_its_parts_until_its_transcript_replaces_them() -> None:
    history = make_history(max_tokens=200)
    parts = utterance(8, 1), utterance(8, 2)
    history.add("Listen:", *parts)
    assert [(message.text, message.utterance) for message in history.prompt()[1:]] == [
        ("Listen:", 1),
        ("", 2),
    ]
    history.set_transcript(parts[:1], "The first part alone.")
    history.set_transcript(parts, "Is it so, or not?")
    history.add_heard("Yes.")
    history.add("", utterance(20, 3))
    assert history.trim() == list(parts)
    assert messages(history)[1] == ("user", "Listen: Is it so, or not?", False)


def test_trim_replaces_audio_by_its_transcript() -> None:
    history = make_history(max_tokens=90)
    first, second = utterance(8, 1), utterance(8, 2)
    history.add("", first)
    history.add_heard("Yes.")
    history.add("", second)
    history.set_transcript((first,), "Is it so?")
    assert history.trim() == [first]
    assert messages(history)[1:] == [
        ("user", "Is it so?", False),
        ("assistant", "Yes.", False),
        ("user", "", True),
    ]


def test_trim_drops_an_exchange_whose_audio_has_no_transcript() -> None:
    history = make_history(max_tokens=90)
    first, second = utterance(8, 1), utterance(8, 2)
    history.add("", first)
    history.add_heard("Yes.")
    history.add("", second)
    assert history.trim() == [first]
    assert messages(history)[1:] == [("user", "", True)]


def test_trim_drops_the_older_half_of_the_exchanges() -> None:
    history = make_history(max_tokens=10_000, max_messages=8)
    for number in range(5):
        history.add(text=f"question {number}")
        history.add_heard("answer")
    history.trim()
    kept = [text for role, text, _ in messages(history) if role == "user"]
    assert kept == ["question 3", "question 4"]
    assert history.trim() == []


def test_expected_reply_counts_until_the_next_question() -> None:
    history = make_history(max_tokens=100)
    history.add(text="Tell me a story.")
    history.add_heard("Once upon a time")
    assert not history.is_full()
    history.expect_reply("Once upon a time " * 30)
    assert history.is_full()
    assert history.conversation()[-1].text == "Once upon a time"
    assert history.expected_conversation()[:-1] == history.prompt()
    assert history.expected_conversation()[-1].text.endswith("time Once upon a time")
    history.add(text="Stop.")
    assert not history.is_full()
    assert history.expected_conversation() == history.conversation()


def test_expected_reply_before_the_first_question_is_ignored() -> None:
    history = make_history()
    history.expect_reply("Hello.")
    assert history.expected_conversation() == history.conversation()


def test_trim_keeps_the_last_question_even_if_it_exceeds_the_budget() -> None:
    history = make_history(max_tokens=10)
    history.add("", utterance(60))
    assert history.trim() == []
    assert messages(history)[-1] == ("user", "", True)


class Conversation:
    """Uses a history as a session does, and collects the utterances freed by trim()."""

    def __init__(self, audio_turns: int) -> None:
        self.history = make_history(max_messages=8, audio_turns=audio_turns)
        self.freed: list[Utterance] = []
        self.number = 0

    def ask(self, text: str, seconds: float) -> None:
        unanswered = self.history.pop_unanswered()
        self.number += 1
        speech = (utterance(seconds, self.number),) if seconds else ()
        if unanswered is not None:
            text = f"{unanswered.text} {text}".strip()
            speech = (*unanswered.utterances, *speech)
        self.history.add(text, *speech)


def without_parts(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the turns without those that only continue a spoken question."""
    return [
        message
        for number, message in enumerate(messages)
        if message.text or message.role != "user" or messages[number - 1].utterance is None
    ]


ask_events = st.tuples(
    st.just("ask"),
    st.sampled_from([("Well?", 0.0), ("", 0.5), ("", 6.0), ("Listen:", 12.0), ("x" * 500, 0.0)]),
)
heard_events = st.tuples(st.just("hear"), st.sampled_from(["Yes.", "", "word " * 60]))
transcript_events = st.tuples(
    st.just("transcribe"), st.sampled_from(["What I said.", "", "word " * 90])
)
call_events = st.tuples(st.just("call"), st.sampled_from(["short", "result " * 50]))
trim_events = st.tuples(st.just("trim"), st.none())


@settings(max_examples=200)
@given(
    st.lists(
        ask_events | heard_events | transcript_events | call_events | trim_events, max_size=40
    ),
    st.integers(0, 4),
)
def test_any_events_keep_roles_alternating_and_the_budget_and_reference_no_freed_utterance(
    events: list[tuple[str, object]], audio_turns: int
) -> None:
    conversation = Conversation(audio_turns)
    history = conversation.history
    for event, value in events:
        previous_last = history.exchanges[-1] if history.exchanges else None
        match event, value:
            case "ask", (str(text), float(seconds)):
                conversation.ask(text, seconds)
            case "hear", str(text):
                history.add_heard(text)
            case "transcribe", str(text):
                for exchange in history.exchanges:
                    if exchange.utterances:
                        history.set_transcript(exchange.utterances, text)
            case "call", str(result):
                if (pending := history.pending()) is not None and len(pending.tool_calls) < 4:
                    pending.tool_calls.append(ToolCallRecord("call", result))
            case "trim", _:
                latest = history.exchanges[-max(1, audio_turns) :]
                spoken = [exchange.utterances for exchange in latest]
                conversation.freed += history.trim()
                assert [exchange.utterances for exchange in latest] == spoken
                assert not history.exchanges or history.exchanges[-1] is previous_last
                tokens = sum(exchange.tokens for exchange in history.exchanges)
                messages = sum(exchange.message_count for exchange in history.exchanges)
                assert len(history.exchanges) <= 1 or (tokens <= BUDGET and messages <= 8)
        roles = [message.role for message in without_parts(history.conversation())]
        assert roles[0] == "system"
        assert all(a != b for a, b in pairwise(roles))
        referenced = {message.utterance for message in history.conversation()} - {None}
        assert referenced.isdisjoint(freed.id for freed in conversation.freed)
        assert all(
            message.text or message.utterance is not None for message in history.conversation()
        )
    assert len(conversation.freed) == len(set(conversation.freed))


@pytest.mark.parametrize(
    ("exchange", "tokens"),
    [
        (Exchange(text="four"), 11),
        (Exchange(utterances=(utterance(4),)), 35),
        (Exchange(utterances=(utterance(4),), transcript="not counted yet"), 35),
        (Exchange(transcript="now it is"), 12.25),
        (Exchange(text="four", reply="eight ch"), 13),
    ],
)
def test_token_count_of_an_exchange_is_estimated(exchange: Exchange, tokens: float) -> None:
    assert exchange.tokens == tokens
