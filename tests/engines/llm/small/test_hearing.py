from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.small.hearing import Transcript, words_of
from appliance.engines.llm.small.moonshine import Heard

RANDOM = np.random.default_rng(0)


def pcm(seconds: float, level: float = 3000) -> bytes:
    return (RANDOM.normal(size=int(seconds * 16_000)) * level).astype("<i2").tobytes()


def heard(text: str) -> Heard:
    return Heard(text, -0.1)


def transcript(*parts: bytes, min_seconds: float = 0.3, max_seconds: float = 60) -> Transcript:
    made = Transcript(min_seconds, max_seconds)
    for part in parts:
        for start in range(0, len(part), 1280):
            made.add(part[start : start + 1280])
    return made


def test_what_was_recognised_at_a_pause_holds_when_only_silence_follows() -> None:
    known = transcript(pcm(2))
    piece = known.rest()
    assert piece is not None
    known.put(piece, heard("Good morning."))
    known.add(pcm(0.5, 3))
    assert known.rest() is None
    assert known.text == "Good morning."


def test_speech_after_the_pause_makes_it_out_of_date() -> None:
    known = transcript(pcm(2))
    first = known.rest()
    assert first is not None
    known.put(first, heard("I would like."))
    known.add(pcm(0.5, 3))
    known.add(pcm(1))
    second = known.rest()
    assert second is not None
    assert len(second.samples) == int(3.5 * 16_000)
    known.put(second, heard("I would like tea."))
    assert (known.rest(), known.text) == (None, "I would like tea.")


def test_a_long_utterance_is_recognised_in_segments_and_its_audio_let_go() -> None:
    known = transcript(pcm(3), pcm(0.4, 3), pcm(2))
    segment = known.segment()
    assert segment is not None
    known.put(segment, heard("First part."))
    assert known.segment() is None
    rest = known.rest()
    assert rest is not None
    assert len(rest.samples) < 2.4 * 16_000
    known.put(rest, heard("Second part."))
    assert known.text == "First part. Second part."


def test_a_segment_replaces_the_passing_text_of_the_rest() -> None:
    known = transcript(pcm(3))
    rest = known.rest()
    assert rest is not None
    known.put(rest, heard("One"))
    known.add(pcm(0.4, 3) + pcm(2))
    segment = known.segment()
    assert segment is not None
    known.put(segment, heard("One."))
    assert known.text == "One."
    assert known.rest() is not None


def test_audio_that_comes_during_recognition_is_not_lost() -> None:
    known = transcript(pcm(3), pcm(0.4, 3), pcm(2))
    segment = known.segment()
    assert segment is not None
    known.add(pcm(1))
    known.put(segment, heard("First."))
    rest = known.rest()
    assert rest is not None
    assert len(segment.samples) + len(rest.samples) == pytest.approx(6.4 * 16_000, abs=3)


def test_a_rest_that_is_very_long_is_cut_first() -> None:
    known = transcript(pcm(10))
    rest = known.rest()
    assert rest is not None
    assert rest.final
    assert len(rest.samples) < 10 * 16_000


def test_too_short_an_utterance_holds_nothing() -> None:
    known = transcript(pcm(0.2))
    assert (known.rest(), known.text) == (None, "")


def test_silence_holds_nothing() -> None:
    assert transcript(pcm(3, 5)).rest() is None


def test_a_click_has_nothing_to_recognise() -> None:
    known = transcript(pcm(1, 3), pcm(0.04), pcm(1, 3))
    piece = known.rest()
    assert piece is not None
    assert known.audible(piece) is None


def test_only_the_last_part_of_an_endless_utterance_is_kept() -> None:
    known = transcript(pcm(8), max_seconds=4)
    rest = known.rest()
    assert rest is not None
    assert len(rest.samples) <= 4.1 * 16_000


def test_a_closed_one_asks_for_no_more_work() -> None:
    known = transcript(pcm(10))
    known.close()
    assert (known.rest(), known.segment()) == (None, None)


@pytest.mark.parametrize(
    "text", ["", " . ", "You", "you.", "♪♪♪", "♪♪\ufffd", "[coughing]", "(music)", "Hmm.", "Uh, um"]
)
def test_what_noise_sounds_like_is_not_taken_for_words(text: str) -> None:
    assert words_of(heard(text)) == ""


def test_a_guess_is_not_taken_for_words() -> None:
    assert words_of(Heard("And I'm going to have a good day.", -1.4)) == ""


@pytest.mark.parametrize("text", ["Yes.", "No.", "Okay", "I love you.", "It's 7 p.m.", "Stop."])
def test_short_answers_are_words(text: str) -> None:
    assert words_of(heard(text)) == text
