"""What counts as an interruption, and when the bot pauses, goes on and is interrupted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gateway.turns.backchannel import BotSpeech, is_interruption
from appliance.gateway.turns.interruption import (
    CONTINUED_VOICE_SECONDS,
    LONG_VOICE_SECONDS,
    MAX_PAUSED_SECONDS,
    TRANSCRIPT_SECONDS,
    Action,
    InterruptionState,
    VoicePhase,
)

STATEMENT = BotSpeech.STATEMENT
SHORT_SECONDS, LONG_SECONDS = 0.5, 1.5
LISTENING = [
    "", "...", "Uh-huh.", "Uh huh, uh huh.", "Mm-hmm.", "Mhm", "Okay.", "OK", "Yeah.", "Yes.",
    "Right. Right.", "Oh, I see.", "Oh wow, really?", "That's right.", "That’s true.", "Got it.",
    "Yeah, okay, go on.", "Sure thing", "All right.", "Thank you.", "the", "And a",
]  # fmt: skip
HUMS = ["Amend them,", "Other,", "An end of them,", "And they came,", "Thor."]  # as Moonshine hears
ASKING = [
    "No.", "Stop.", "Stop!", "Two.", "2", "Wait.", "No, wait.", "Hold on.", "What?", "Sorry?",
    "Hello?", "Huh?", "And you?", "Okay, and you?", "So it is?", "Thirteen.", "Ninety.", "Nurse!",
    "Ambulance!", "Operator.", "Okay, stop.", "Okay, but why?", "Right, and is it cold?",
    "Go back.", "Don’t.",
]  # fmt: skip
STATEMENTS = ["I live in Paris.", "And the river in winter", "Yeah, my brother likes rivers."]
ACTIONS = {
    "start": [Action.PAUSE],
    "go_on": [Action.RESUME, Action.RELEASE],
    "interrupt": [Action.INTERRUPT, Action.START_TURN, Action.RELEASE],
}


@pytest.mark.parametrize("text", LISTENING)
@pytest.mark.parametrize("seconds", [SHORT_SECONDS, LONG_SECONDS])
def test_listeners_sounds_and_noise_do_not_ask_for_the_turn(text: str, seconds: float) -> None:
    assert not is_interruption(text, BotSpeech.STATEMENT, seconds)


@pytest.mark.parametrize("text", ASKING)
@pytest.mark.parametrize("said", list(BotSpeech))
def test_commands_answers_and_questions_ask_for_the_turn(text: str, said: BotSpeech) -> None:
    assert is_interruption(text, said, SHORT_SECONDS)


@pytest.mark.parametrize("text", HUMS)
def test_hum_that_is_heard_as_words_does_not_ask_for_the_turn(text: str) -> None:
    assert not is_interruption(text, BotSpeech.STATEMENT, SHORT_SECONDS)


@pytest.mark.parametrize("text", STATEMENTS)
def test_statement_asks_for_the_turn(text: str) -> None:
    assert is_interruption(text, BotSpeech.STATEMENT, LONG_SECONDS)


@pytest.mark.parametrize(
    "text", ["Yes.", "Yeah, sure.", "Okay.", "Right.", "Paris.", "Of course.", "Go ahead."]
)
def test_answer_asks_for_the_turn_if_the_bot_has_asked(text: str) -> None:
    assert is_interruption(text, BotSpeech.QUESTION, SHORT_SECONDS)


@pytest.mark.parametrize("text", ["In Germany.", "of France"])
def test_words_before_the_reply_is_heard_continue_the_question(text: str) -> None:
    assert is_interruption(text, BotSpeech.NOTHING, SHORT_SECONDS)


@pytest.mark.parametrize("text", ["", "Mm-hmm.", "Okay.", "the"])
def test_listeners_sounds_before_the_reply_is_heard_do_not_continue_the_question(text: str) -> None:
    assert not is_interruption(text, BotSpeech.NOTHING, SHORT_SECONDS)


@pytest.mark.parametrize("text", ["", "Mm-hmm.", "Uh huh.", "I see."])
def test_other_listeners_sounds_do_not_answer_a_question(text: str) -> None:
    assert not is_interruption(text, BotSpeech.QUESTION, SHORT_SECONDS)


def paused_state() -> InterruptionState:
    state = InterruptionState()
    assert state.voice_started(0.0, busy=True) == ACTIONS["start"]
    return state


def test_voice_starts_a_turn_at_once_if_the_bot_does_nothing() -> None:
    state = InterruptionState()
    assert state.voice_started(0.0, busy=False) == [Action.START_TURN]
    assert state.voice_paused(0.5) == []
    assert state.voice_stopped(0.6) == [Action.RELEASE]
    assert state.deadline is None


@pytest.mark.parametrize(
    ("text", "decision"), [("Uh huh.", "go_on"), ("Stop.", "interrupt"), (None, "interrupt")]
)
def test_short_voice_is_judged_by_its_words(text: str | None, decision: str) -> None:
    state = paused_state()
    assert state.voice_paused(0.3) == [Action.TRANSCRIBE]
    assert state.voice_stopped(0.4) == []  # withheld
    assert state.transcribed(1, text, STATEMENT, 0.5) == ACTIONS[decision]
    assert not state.paused and state.phase is VoicePhase.QUIET


def test_bot_goes_on_only_after_the_voice_has_ended() -> None:
    state = paused_state()
    state.voice_paused(0.3)
    assert state.transcribed(1, "Okay.", STATEMENT, 0.35) == []
    assert state.voice_stopped(0.4) == ACTIONS["go_on"]


def test_words_that_follow_a_listeners_sound_interrupt() -> None:
    state = paused_state()
    state.voice_paused(0.3)
    state.transcribed(1, "Okay.", STATEMENT, 0.35)
    assert state.voice_paused(1.0) == [Action.TRANSCRIBE]
    assert state.transcribed(2, "Okay, how deep is it?", STATEMENT, 1.1) == ACTIONS["interrupt"][:2]
    assert state.voice_stopped(1.2) == [Action.RELEASE]


def test_more_speech_before_the_answer_is_heard_as_well() -> None:
    state = paused_state()
    state.voice_paused(0.3)
    assert state.voice_paused(0.8) == []  # one request at a time
    assert state.voice_stopped(0.9) == []
    assert state.transcribed(1, "Okay.", STATEMENT, 0.95) == [Action.TRANSCRIBE]
    assert state.transcribed(2, "Okay, stop.", STATEMENT, 1.1) == ACTIONS["interrupt"]


def test_voice_that_goes_on_before_the_decision_is_one_voice() -> None:
    state = paused_state()
    state.voice_paused(0.3)
    state.voice_stopped(0.4)
    assert state.voice_started(0.6, busy=True) == []
    assert state.transcribed(1, "Okay.", STATEMENT, 0.7) == []
    assert state.voice_paused(1.0) == [Action.TRANSCRIBE]
    assert state.voice_stopped(1.1) == []
    assert state.transcribed(2, "Okay. Good.", STATEMENT, 1.2) == ACTIONS["go_on"]


def test_long_speech_interrupts_before_it_pauses() -> None:
    state = paused_state()
    assert state.deadline == LONG_VOICE_SECONDS
    assert state.tick(LONG_VOICE_SECONDS) == [Action.TRANSCRIBE]
    assert state.transcribed(1, "The river in winter", STATEMENT, 1.2) == ACTIONS["interrupt"][:2]


def test_speech_before_the_reply_is_heard_is_judged_earlier_once() -> None:
    state = InterruptionState()
    assert state.voice_started(0.0, busy=True, unheard=True) == ACTIONS["start"]
    assert state.tick(CONTINUED_VOICE_SECONDS) == [Action.TRANSCRIBE]
    assert state.transcribed(1, "", BotSpeech.NOTHING, 0.5) == []
    assert state.deadline == 0.5 + LONG_VOICE_SECONDS
    assert state.tick(0.5 + LONG_VOICE_SECONDS) == [Action.TRANSCRIBE]
    assert state.transcribed(2, "or in winter", BotSpeech.NOTHING, 1.6) == ACTIONS["interrupt"][:2]


def test_missing_answer_counts_as_an_interruption() -> None:
    state = paused_state()
    state.voice_paused(0.3)
    state.voice_stopped(0.4)
    assert state.tick(0.3 + TRANSCRIPT_SECONDS) == ACTIONS["interrupt"]
    assert state.transcribed(1, "Okay.", STATEMENT, 2.0) == []


def test_bot_speaks_over_a_long_voice_without_words_until_there_are_words() -> None:
    state, now = paused_state(), 0.0
    while state.paused:
        assert state.deadline is not None
        now = state.deadline
        if state.tick(now) == [Action.TRANSCRIBE]:
            assert state.transcribed(state.request, "", STATEMENT, now + 0.1) == []
    assert now == MAX_PAUSED_SECONDS
    assert state.phase is VoicePhase.OVERLAP
    assert state.voice_paused(5.0) == [Action.TRANSCRIBE]
    assert state.transcribed(state.request, "Stop!", STATEMENT, 5.1) == [Action.START_TURN]


def test_typed_text_ends_the_pause_and_the_voice_is_still_judged() -> None:
    state = paused_state()
    state.interrupted_by_text()
    assert state.voice_paused(0.3) == [Action.TRANSCRIBE]
    assert state.transcribed(1, "Okay.", STATEMENT, 0.4) == []
    assert state.voice_stopped(0.5) == [Action.RELEASE]


@settings(max_examples=400)
@given(st.data())
def test_every_pause_ends_once_and_every_turn_starts_before_it_ends(data: st.DataObject) -> None:
    """Any user, and an engine that answers late, wrongly, or never."""
    state, now = InterruptionState(), 0.0
    speaking = talking = paused = in_turn = False
    paused_at, ends = 0.0, 0

    def run(actions: list[Action]) -> None:
        nonlocal paused, paused_at, in_turn, ends
        for action in actions:
            match action:
                case Action.PAUSE:
                    assert not paused
                    paused, paused_at, in_turn = True, now, False
                case Action.RESUME | Action.INTERRUPT:
                    assert paused
                    paused = False
                case Action.START_TURN:
                    assert not paused
                    in_turn = True
                case Action.RELEASE:
                    assert not paused  # it is decided before the end is passed on
                    ends += 1
                    in_turn = False
        assert paused == state.paused

    for _ in range(data.draw(st.integers(0, 30))):
        later = now + data.draw(st.sampled_from([0.0, 0.05, 0.3, 1.0]))
        while state.deadline is not None and state.deadline <= later:
            now = max(now, state.deadline)
            run(state.tick(now))
        now = later
        assert not paused or now - paused_at <= MAX_PAUSED_SECONDS
        events = ["answer", "typed", *(["pause", "resume", "stop"] if speaking else ["start"])]
        match data.draw(st.sampled_from(events)):
            case "start":
                speaking = talking = True
                busy, unheard = data.draw(st.booleans()), data.draw(st.booleans())
                run(state.voice_started(now, busy, unheard=unheard))
            case "pause" if talking:
                talking = False
                run(state.voice_paused(now))
            case "resume":
                talking = True
            case "stop":
                if talking:  # the detector always reports a pause first
                    run(state.voice_paused(now))
                speaking = talking = False
                run(state.voice_stopped(now))
            case "answer":
                text = data.draw(st.sampled_from(["", "Okay.", "Stop!", None]))
                request = data.draw(st.integers(max(0, state.request - 1), state.request))
                run(state.transcribed(request, text, data.draw(st.sampled_from(BotSpeech)), now))
            case "typed":
                state.interrupted_by_text()
                paused = False
    if speaking:
        run([*(state.voice_paused(now) if talking else []), *state.voice_stopped(now)])
    while state.deadline is not None:
        now = max(now, state.deadline)
        run(state.tick(now))
    assert state.phase is VoicePhase.QUIET and not paused
