"""Which audio belongs to what the user is saying."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.utterances import BYTES_PER_SECOND, Listening

FRAME = BYTES_PER_SECOND // 25  # 40 ms


def frame(number: int) -> bytes:
    """40 ms that can be told from any other."""
    return number.to_bytes(2, "little") * (FRAME // 2)


def hear(listening: Listening, *numbers: int) -> None:
    for number in numbers:
        listening.audio(frame(number))


def heard(pcm: bytes | bytearray) -> list[int]:
    return [int.from_bytes(pcm[start : start + 2], "little") for start in range(0, len(pcm), FRAME)]


def listening(pre_roll_seconds: float = 0.08, max_seconds: float = 60.0) -> Listening:
    return Listening(pre_roll_seconds, max_seconds)


def test_the_first_sounds_are_kept_though_speech_is_noticed_late() -> None:
    ears = listening()
    hear(ears, 1, 2, 3, 4)
    said = ears.speech_started()
    ears.turn_started()
    hear(ears, 5)
    assert heard(said.pcm) == [3, 4, 5]


def test_a_pause_within_a_turn_is_part_of_what_was_said_and_silence_after_it_is_not() -> None:
    ears = listening()
    ears.speech_started()
    ears.turn_started()
    hear(ears, 1, 2)
    paused = ears.speech_paused()
    hear(ears, 3)
    assert paused is not None
    assert heard(paused.pcm) == [1, 2]
    ears.speech_started()
    hear(ears, 4)
    ears.speech_paused()
    hear(ears, 5, 6)
    said = ears.turn_ended()
    assert said is paused
    assert said.complete
    assert heard(said.pcm) == [1, 2, 3, 4]


def test_what_was_said_while_the_end_was_being_decided_begins_the_next_utterance() -> None:
    ears = listening(pre_roll_seconds=0.2)
    ears.speech_started()
    ears.turn_started()
    hear(ears, 1)
    ears.speech_paused()
    hear(ears, 2, 3)
    ears.turn_ended()
    hear(ears, 4)
    assert heard(ears.speech_started().pcm) == [2, 3, 4]


def test_a_sound_that_begins_no_turn_is_dropped() -> None:
    ears = listening()
    ears.speech_started()
    hear(ears, 1, 2)
    assert ears.speech_paused() is None
    hear(ears, 3)
    ears.turn_started()
    assert ears.utterance is not None
    assert heard(ears.utterance.pcm) == [3]


def test_a_turn_may_begin_before_its_speech_is_noticed() -> None:
    ears = listening()
    hear(ears, 1)
    said = ears.turn_started()
    assert ears.speech_started() is said
    hear(ears, 2)
    assert ears.turn_ended() is said
    assert heard(said.pcm) == [1, 2]


def test_a_turn_without_anything_said_is_nothing() -> None:
    assert listening().turn_ended() is None


def test_speech_is_measured_without_the_audio_before_and_the_silence_after() -> None:
    ears = listening(pre_roll_seconds=0.4)
    hear(ears, *range(20))
    ears.speech_started(0.2)
    ears.turn_started()
    hear(ears, *range(5))
    ears.speech_paused(0.12)
    assert round(ears.speech_seconds, 3) == 0.28
    ears.speech_started(0.2)
    hear(ears, *range(5))
    assert round(ears.speech_seconds, 3) == 0.6
    ears.turn_ended()
    assert ears.speech_seconds == 0


def test_utterances_are_told_apart_by_number() -> None:
    ears = listening()
    first = ears.speech_started()
    ears.turn_started()
    ears.turn_ended()
    second = ears.speech_started()
    ears.turn_started()
    ears.turn_ended()
    assert len({first.id, second.id, ears.joined(first, second).id}) == 3


def test_two_questions_without_an_answer_are_one_with_a_pause_between() -> None:
    ears = listening()
    first, second = ears.speech_started(), None
    ears.turn_started()
    hear(ears, 1)
    ears.turn_ended()
    second = ears.turn_started()
    hear(ears, 2)
    ears.turn_ended()
    both = ears.joined(first, second)
    assert both.complete
    assert both.pcm.startswith(frame(1))
    assert both.pcm.endswith(frame(2))
    assert both.seconds > first.seconds + second.seconds


def test_of_joined_questions_that_are_too_long_the_end_is_kept() -> None:
    ears = listening(max_seconds=0.4)
    first = ears.turn_started()
    hear(ears, *range(10))
    ears.turn_ended()
    second = ears.turn_started()
    hear(ears, 99)
    ears.turn_ended()
    both = ears.joined(first, second)
    assert both.seconds == 0.4
    assert both.pcm.endswith(frame(99))


@given(st.lists(st.sampled_from(["audio", "start", "turn", "pause", "end"]), max_size=200))
def test_nothing_grows_beyond_its_bound(events: list[str]) -> None:
    ears = listening(pre_roll_seconds=0.12, max_seconds=0.4)
    for number, event in enumerate(events):
        match event:
            case "audio":
                before = bytes(ears.utterance.pcm) if ears.utterance else b""
                grew = ears.audio(frame(number))
                if ears.utterance is not None:
                    assert grew == (len(ears.utterance.pcm) > len(before))
            case "start":
                ears.speech_started(0.04)
            case "turn":
                ears.turn_started()
            case "pause":
                ears.speech_paused(0.04)
            case "end":
                ears.turn_ended()
        assert ears._before_bytes == sum(map(len, ears._before)) < 0.12 * BYTES_PER_SECOND + FRAME
        if ears.utterance is not None:
            assert ears.utterance.seconds <= 0.4
            assert 0 <= ears.speech_seconds <= 0.4
