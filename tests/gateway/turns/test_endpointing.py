"""When the user's turn ends: the policy, and the endpointer that follows the speech."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turns.endpointing import (
    LONGEST_TURN_SECONDS,
    Endpointer,
    EndpointingPolicy,
    Pause,
    Reason,
)
from appliance.gateway.turns.turn_words import dictated_words
from appliance.settings import TurnConfig

CONFIG = TurnConfig()
POLICY = EndpointingPolicy(CONFIG)
STEP_SECONDS = 0.02


@pytest.mark.parametrize(
    ("pause", "seconds", "reason"),
    [
        pytest.param(Pause([2.0], 0.8), CONFIG.vad_stop_seconds, "smart_turn", id="a sentence"),
        pytest.param(Pause([2.0], 0.2), CONFIG.short_stop_seconds, "fallback", id="perhaps half"),
        pytest.param(
            Pause([2.0], 0.05), CONFIG.incomplete_stop_seconds, "fallback", id="half of it"
        ),
        pytest.param(Pause([0.4], 0.97), CONFIG.vad_stop_seconds, "smart_turn", id="a sure yes"),
        pytest.param(Pause([0.4], 0.9), CONFIG.short_stop_seconds, "pace", id="a yes or a digit"),
        pytest.param(Pause([0.9], 0.3), CONFIG.short_stop_seconds, "pace", id="a goodbye"),
        pytest.param(Pause([0.9], 0.01), CONFIG.incomplete_stop_seconds, "fallback", id="I ..."),
        pytest.param(Pause([0.4] * 2, 0.95), CONFIG.staccato_stop_seconds, "pace", id="two digits"),
        pytest.param(
            Pause([0.4] * 5, 0.3), CONFIG.dictation_stop_seconds, "pace", id="five digits"
        ),
        pytest.param(Pause([2.0, 0.4], 0.9), CONFIG.vad_stop_seconds, "smart_turn", id="an end"),
        pytest.param(Pause([2.0]), CONFIG.incomplete_stop_seconds, "fallback", id="no verdict"),
    ],
)
def test_silence_that_ends_a_turn(pause: Pause, seconds: float, reason: Reason) -> None:
    verdict = POLICY.verdict(pause)
    assert (verdict.silence_seconds, verdict.reason) == (seconds, reason)


@pytest.mark.parametrize(
    ("bursts", "probability", "words", "seconds"),
    [
        ([2.0], 0.6, "My number is five five", CONFIG.dictation_stop_seconds),
        ([2.0], 0.95, "My number is 55512", CONFIG.staccato_stop_seconds),
        ([2.0], 0.95, "The code is four", CONFIG.short_stop_seconds),
        ([2.0], 0.01, "The code is four", CONFIG.incomplete_stop_seconds),
        ([0.4], 0.98, "Five.", CONFIG.short_stop_seconds),
        ([0.4], 0.01, "Five.", CONFIG.short_stop_seconds),
        ([0.4], 0.98, "E.", CONFIG.short_stop_seconds),
        ([0.3], 0.98, "A.", CONFIG.short_stop_seconds),
        ([0.3], 0.95, "I.", CONFIG.short_stop_seconds),
        ([0.4], 0.98, "See.", CONFIG.short_stop_seconds),  # C
        ([0.4], 0.98, "Age.", CONFIG.short_stop_seconds),  # H
        ([0.4], 0.98, "For.", CONFIG.short_stop_seconds),  # 4
        ([0.9], 0.98, "I see.", CONFIG.vad_stop_seconds),
        ([1.5], 0.7, "V-I-T-A", CONFIG.dictation_stop_seconds),
        ([1.1], 0.98, "May I?", CONFIG.vad_stop_seconds),
        ([0.6], 0.98, "Thirteen.", CONFIG.vad_stop_seconds),
        ([0.6], 0.7, "Monday.", CONFIG.short_stop_seconds),
        ([0.4], 0.3, "Yes.", CONFIG.words_stop_seconds),
        ([0.4], 0.3, "Yes,", CONFIG.short_stop_seconds),
        ([0.4], 0.94, "Yes,", CONFIG.words_stop_seconds),
        ([0.4], 0.04, "Why?", CONFIG.words_stop_seconds),
        ([0.4], 0.97, "Yes.", CONFIG.vad_stop_seconds),
        ([0.6], 0.7, "Cancelled.", CONFIG.words_stop_seconds),
        ([1.1], 0.05, "What is my name?", CONFIG.words_stop_seconds),
        ([1.8], 0.99, "What is 12 plus 30?", CONFIG.vad_stop_seconds),
        ([1.8], 0.92, "Who is Malcolm X?", CONFIG.vad_stop_seconds),
        ([1.8], 0.7, "What is 12?", CONFIG.dictation_stop_seconds),  # "... plus 30?"
        ([0.5, 0.5], 0.95, "Five, five?", CONFIG.staccato_stop_seconds),
        ([1.3], 0.95, "Five, five?", CONFIG.staccato_stop_seconds),  # a list rises like a question
        ([1.8], 0.99, "Where is the canteen?", CONFIG.vad_stop_seconds),
        ([0.5, 0.9], 0.95, "Hello. What is my name?", CONFIG.words_stop_seconds),
        ([1.1, 1.1], 0.7, "I am Peter. I live in Rome.", CONFIG.words_stop_seconds),
        ([1.1, 1.1], 0.7, "I am Peter. I live in,", CONFIG.dictation_stop_seconds),
        ([2.0], 0.05, "I live in Rome.", CONFIG.short_stop_seconds),
        ([2.0], 0.05, "I live in", CONFIG.incomplete_stop_seconds),
        ([2.0], 0.7, "", CONFIG.vad_stop_seconds),
    ],
)
def test_words_change_the_silence(
    bursts: list[float], probability: float, words: str, seconds: float
) -> None:
    assert POLICY.verdict(Pause(bursts, probability, words)).silence_seconds == seconds


def test_word_that_may_be_a_digit_waits_for_its_words_where_an_engine_sends_them() -> None:
    pause = Pause([0.4], 0.98, words_expected=True)
    assert POLICY.verdict(pause).silence_seconds == CONFIG.words_stop_seconds
    assert POLICY.verdict(Pause([2.0], 0.98, words_expected=True)).silence_seconds == 0.2


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("call 555", 3),
        ("B, C.", 2),
        ("my pin is one two three", 3),
        ("double-u X", 3),
        ("A.", 1),
        ("I", 1),
        ("A-I", 2),
        ("V-i-t-a", 4),
        ("I am M. I. A.", 3),
        ("vitamin A, C, I", 2),
        ("give me a B.", 1),
        ("seat 7 A.", 2),
    ],
)
def test_trailing_digits_and_letters_count_as_dictation(words: str, count: int) -> None:
    assert dictated_words(words) == count


@pytest.mark.parametrize(
    "words", ["Yes.", "this one is someone's", "so do I", "", "give me a", "May I?", "am I a"]
)
def test_other_last_words_do_not_count_as_dictation(words: str) -> None:
    assert dictated_words(words) == 0


class Caller:
    """Speaks to an endpointer. smart-turn answers at once, with `probability`."""

    def __init__(self, probability: float = 0.95) -> None:
        self.endpointer = Endpointer(POLICY, CONFIG.incomplete_stop_seconds)
        self.probability = probability
        self.predictions: list[float] = []  # lengths of the silence at which smart-turn was asked

    def pass_time(self, seconds: float) -> float | None:
        """Pass time. Return after how much of it the turn ended, or None."""
        for step in range(1, round(seconds / STEP_SECONDS) + 1):
            self.endpointer.audio_received(STEP_SECONDS)
            if self.endpointer.ended():
                return step * STEP_SECONDS
        return None

    def speak(self, seconds: float) -> None:
        self.pass_time(CONFIG.vad_start_seconds)
        self.endpointer.speech_started(CONFIG.vad_start_seconds)
        self.pass_time(max(0.0, seconds - CONFIG.vad_start_seconds))

    def pause(self, seconds: float) -> float | None:
        """Be silent. Return the length of the silence that ended the turn, or None."""
        assert self.pass_time(0.06) is None
        self.endpointer.speech_paused(0.06)
        assert self.pass_time(0.06) is None
        self.answer()
        assert self.pass_time(0.08) is None, "before the pause is reported as a stop"
        self.endpointer.speech_stopped()
        self.answer()
        if self.endpointer.ended():
            return 0.2
        waited = self.pass_time(seconds - 0.2)
        return None if waited is None else 0.2 + waited

    def answer(self) -> None:
        silence = self.endpointer.take_prediction_request()
        if silence is not None:
            self.predictions.append(round(self.endpointer.silence_seconds, 2))
            self.endpointer.predicted(silence, self.probability)


def test_sure_early_verdict_is_kept_and_ends_the_turn() -> None:
    caller = Caller(0.97)
    caller.speak(1.5)
    assert caller.pause(2.0) == pytest.approx(0.2, abs=0.03)
    assert caller.predictions == [0.12]


def test_unsure_early_verdict_is_asked_again() -> None:
    caller = Caller(0.6)
    caller.speak(1.5)
    assert caller.pause(2.0) == pytest.approx(0.2, abs=0.03)
    assert caller.predictions == [0.12, 0.2]


def test_where_words_are_expected_smart_turn_is_asked_before_the_pause() -> None:
    caller = Caller(0.97)
    caller.endpointer.words_expected = True
    caller.speak(1.5)
    caller.endpointer.speech_paused(0.06)
    assert caller.endpointer.take_prediction_request() is not None
    assert caller.pass_time(0.1) is None
    assert caller.endpointer.take_prediction_request() is None, "one is enough until the verdict"


def test_verdict_about_a_gap_within_speech_is_not_used() -> None:
    caller = Caller()
    endpointer = caller.endpointer
    endpointer.words_expected = True
    caller.speak(1.5)
    endpointer.speech_paused(0.06)
    silence = endpointer.take_prediction_request()
    assert silence is not None
    endpointer.speech_resumed()
    endpointer.predicted(silence, 0.97)
    caller.speak(0.5)
    endpointer.speech_paused(0.06)
    endpointer.predicted(silence, 0.97)
    caller.pass_time(0.14)
    endpointer.speech_stopped()
    assert endpointer.ended() is None


def test_gap_that_is_shorter_than_a_pause_does_not_end_a_burst() -> None:
    caller = Caller(0.6)
    for _ in range(3):
        caller.speak(0.6)
        assert caller.pass_time(0.08) is None
        caller.endpointer.speech_paused(0.06)
        caller.endpointer.speech_resumed()
    assert caller.pause(3.0) == pytest.approx(0.2, abs=0.03), "one long burst, no dictation"
    assert caller.predictions == [0.12, 0.2]


def test_phone_number_with_pauses_is_one_turn() -> None:
    caller = Caller(0.6)
    for _ in range(9):
        caller.speak(0.4)
        assert caller.pause(0.7) is None
        caller.endpointer.speech_resumed()
    caller.speak(0.4)
    assert caller.pause(3.0) == pytest.approx(CONFIG.dictation_stop_seconds, abs=0.03)


def test_rest_of_a_cut_number_is_still_dictation() -> None:
    caller = Caller(0.97)
    caller.speak(0.4)
    assert caller.pause(2.0) is not None
    caller.endpointer.reset()
    caller.speak(0.4)
    assert caller.pause(3.0) == pytest.approx(CONFIG.staccato_stop_seconds, abs=0.03)


def test_pace_of_an_earlier_turn_is_forgotten() -> None:
    caller = Caller(0.97)
    for _ in range(2):
        caller.speak(0.4)
        assert caller.pause(2.0) == pytest.approx(0.2, abs=0.03)
        caller.endpointer.reset()
        caller.pass_time(5.0)


def test_turn_does_not_end_while_voice_has_begun_again() -> None:
    caller = Caller(0.05)
    caller.speak(2.0)
    assert caller.pause(1.4) is None
    caller.endpointer.voice_began()
    assert caller.pass_time(0.18) is None, "the silence is long enough, but the user goes on"
    caller.endpointer.speech_started(0.18)
    assert not caller.endpointer.ended()


def test_word_too_short_for_speech_restarts_the_silence() -> None:
    caller = Caller(0.05)
    caller.speak(2.0)
    assert caller.pause(1.3) is None
    caller.endpointer.voice_began()
    caller.pass_time(0.14)
    caller.endpointer.voice_faded()
    assert caller.pass_time(3.0) == pytest.approx(CONFIG.incomplete_stop_seconds, abs=0.03)


def test_short_letters_are_bursts_of_a_dictation() -> None:
    caller = Caller(0.6)
    caller.speak(0.4)
    assert caller.pause(0.5) is None
    caller.endpointer.voice_began()
    caller.pass_time(0.14)
    caller.endpointer.voice_faded()
    assert caller.pass_time(3.0) == pytest.approx(CONFIG.dictation_stop_seconds, abs=0.03)


def test_turn_ends_without_a_verdict() -> None:
    endpointer = Endpointer(POLICY, CONFIG.incomplete_stop_seconds)
    caller = Caller()
    caller.endpointer = endpointer
    caller.speak(1.0)
    endpointer.speech_paused(0.1)
    endpointer.speech_stopped()
    endpointer.take_prediction_request()  # smart-turn never answers
    assert caller.pass_time(5.0) is not None
    assert endpointer.ended() == "fallback"


def test_verdict_about_an_earlier_pause_is_ignored() -> None:
    endpointer = Endpointer(POLICY, CONFIG.incomplete_stop_seconds)
    endpointer.audio_received(2.0)
    endpointer.speech_started(2.0)
    endpointer.speech_paused(0.2)
    silence = endpointer.take_prediction_request()
    assert silence is not None
    endpointer.speech_resumed()
    endpointer.audio_received(1.0)
    endpointer.speech_paused(0.2)
    endpointer.speech_stopped()
    endpointer.predicted(silence, 0.99)
    assert endpointer.ended() is None


def test_words_at_the_pause_decide() -> None:
    caller = Caller(0.95)
    caller.speak(2.0)
    caller.endpointer.audio_received(0.1)
    caller.endpointer.speech_paused(0.1)
    caller.endpointer.words_heard("The code is four five")
    caller.endpointer.audio_received(0.1)
    caller.answer()
    caller.endpointer.speech_stopped()
    assert caller.endpointer.ended() is None
    caller.endpointer.audio_received(CONFIG.staccato_stop_seconds)
    assert caller.endpointer.ended() == "words"


@given(
    st.lists(
        st.sampled_from(["audio", "start", "pause", "resume", "stop", "began", "faded", "judge"]),
        max_size=60,
    ),
    st.floats(0, 1),
)
def test_no_turn_stays_open_after_the_speech(events: list[str], probability: float) -> None:
    endpointer = Endpointer(POLICY, CONFIG.incomplete_stop_seconds)
    for event in events:
        match event:
            case "audio":
                endpointer.audio_received(0.04)
            case "start":
                endpointer.speech_started(0.2)
            case "pause":
                endpointer.speech_paused(0.1)
            case "resume":
                endpointer.speech_resumed()
            case "stop":
                endpointer.speech_stopped()
            case "began":
                endpointer.voice_began()
            case "faded":
                endpointer.voice_faded()
            case "judge":
                silence = endpointer.take_prediction_request()
                if silence is not None:
                    endpointer.predicted(silence, probability)
    endpointer.voice_faded()
    endpointer.speech_started(0.2)
    assert endpointer.ended() is None, "the user speaks"
    endpointer.audio_received(0.2)
    endpointer.speech_paused(0.2)
    endpointer.speech_stopped()
    endpointer.audio_received(5.0)
    assert endpointer.ended() is not None


def test_turn_that_lasts_too_long_ends_at_its_next_pause() -> None:
    endpointer = Endpointer(POLICY, CONFIG.incomplete_stop_seconds)
    endpointer.speech_started(0.1)
    endpointer.audio_received(LONGEST_TURN_SECONDS)
    assert endpointer.ended() is None
    endpointer.speech_paused(0.2)
    endpointer.speech_stopped()
    assert endpointer.ended() == "fallback"
