"""Assignment of audio to utterances."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.generation.utterances import (
    BYTES_PER_SECOND,
    UtteranceCollector,
    latest_parts,
)
from appliance.link.utterance import Utterance

FRAME = BYTES_PER_SECOND // 25  # 40 ms


def frame(number: int) -> bytes:
    """Return 40 ms of audio that is different for each number."""
    return number.to_bytes(2, "little") * (FRAME // 2)


def add(collector: UtteranceCollector, *frame_numbers: int) -> None:
    for number in frame_numbers:
        collector.add_audio(frame(number))


def numbers(pcm: bytes | bytearray) -> list[int]:
    return [int.from_bytes(pcm[start : start + 2], "little") for start in range(0, len(pcm), FRAME)]


def make_collector(pre_roll_seconds: float = 0.08, max_seconds: float = 60.0) -> UtteranceCollector:
    return UtteranceCollector(pre_roll_seconds, max_seconds)


def test_audio_before_the_detected_start_of_speech_is_kept() -> None:
    collector = make_collector()
    add(collector, 1, 2, 3, 4)
    utterance = collector.speech_started()
    collector.turn_started()
    add(collector, 5)
    assert numbers(utterance.pcm) == [3, 4, 5]


def test_utterance_includes_pauses_but_not_trailing_silence() -> None:
    collector = make_collector()
    collector.speech_started()
    collector.turn_started()
    add(collector, 1, 2)
    collector.speech_paused()
    paused = collector.current
    add(collector, 3)
    assert paused is not None
    assert numbers(paused.pcm) == [1, 2]
    collector.speech_started()
    add(collector, 4)
    collector.speech_paused()
    add(collector, 5, 6)
    utterance = collector.turn_ended()
    assert utterance is paused
    assert utterance.complete
    assert numbers(utterance.pcm) == [1, 2, 3, 4]


def test_trailing_audio_of_a_turn_starts_the_next_utterance() -> None:
    collector = make_collector(pre_roll_seconds=0.2)
    collector.speech_started()
    collector.turn_started()
    add(collector, 1)
    collector.speech_paused()
    add(collector, 2, 3)
    collector.turn_ended()
    add(collector, 4)
    assert numbers(collector.speech_started().pcm) == [2, 3, 4]


def test_speech_that_starts_no_turn_is_dropped_when_it_stops() -> None:
    collector = make_collector()
    utterance = collector.speech_started()
    add(collector, 1, 2)
    collector.speech_paused()
    add(collector, 3)
    assert collector.speech_stopped() is utterance
    assert collector.current is None
    add(collector, 4)
    assert numbers(collector.speech_started().pcm) == [3, 4]


def test_speech_may_become_a_turn_after_its_pause() -> None:
    collector = make_collector()
    utterance = collector.speech_started()
    add(collector, 1, 2)
    collector.speech_paused()
    add(collector, 3)
    assert collector.turn_started() is utterance
    assert collector.speech_stopped() is None
    assert collector.turn_ended() is utterance
    assert numbers(utterance.pcm) == [1, 2]


def test_turn_may_start_before_its_speech_is_detected() -> None:
    collector = make_collector()
    add(collector, 1)
    utterance = collector.turn_started()
    assert collector.speech_started() is utterance
    add(collector, 2)
    assert collector.turn_ended() is utterance
    assert numbers(utterance.pcm) == [1, 2]


def test_turn_without_speech_has_no_utterance() -> None:
    assert make_collector().turn_ended() is None


def test_speech_seconds_exclude_pre_roll_and_trailing_silence() -> None:
    collector = make_collector(pre_roll_seconds=0.4)
    add(collector, *range(20))
    collector.speech_started(0.2)
    collector.turn_started()
    add(collector, *range(5))
    collector.speech_paused(0.12)
    assert round(collector.speech_seconds, 3) == 0.28
    collector.speech_started(0.2)
    add(collector, *range(5))
    assert round(collector.speech_seconds, 3) == 0.6
    collector.turn_ended()
    assert collector.speech_seconds == 0


def test_every_utterance_has_a_unique_id() -> None:
    collector = make_collector()
    first = collector.speech_started()
    collector.turn_started()
    collector.turn_ended()
    second = collector.speech_started()
    collector.turn_started()
    collector.turn_ended()
    assert first.id != second.id


def spoken(number: int, seconds: float) -> Utterance:
    utterance = Utterance(number)
    utterance.pcm += bytes(int(seconds * BYTES_PER_SECOND))
    return utterance


def test_parts_of_a_question_are_dropped_from_its_start_if_it_is_too_long() -> None:
    parts = tuple(spoken(number, 2.0) for number in range(5))
    assert latest_parts(parts, 10.0) == parts
    assert latest_parts(parts, 9.9) == parts[1:]
    assert latest_parts(parts, 1.0) == parts[-1:]
    assert latest_parts(parts, 10.0, max_parts=2) == parts[-2:]
    assert latest_parts((), 10.0) == ()


@given(st.lists(st.sampled_from(["audio", "start", "turn", "pause", "stop", "end"]), max_size=200))
def test_utterance_and_pre_roll_never_exceed_their_limits(events: list[str]) -> None:
    collector = make_collector(pre_roll_seconds=0.12, max_seconds=0.4)
    for number, event in enumerate(events):
        match event:
            case "audio":
                before = bytes(collector.current.pcm) if collector.current else b""
                grew = collector.add_audio(frame(number))
                if collector.current is not None:
                    assert grew == (len(collector.current.pcm) > len(before))
            case "start":
                collector.speech_started(0.04)
            case "turn":
                collector.turn_started()
            case "pause":
                collector.speech_paused(0.04)
            case "stop":
                collector.speech_stopped()
            case "end":
                collector.turn_ended()
        assert (
            collector._pre_roll_size
            == sum(map(len, collector._pre_roll))
            < 0.12 * BYTES_PER_SECOND + FRAME
        )
        if collector.current is not None:
            assert collector.current.seconds <= 0.4
            assert 0 <= collector.speech_seconds <= 0.4
