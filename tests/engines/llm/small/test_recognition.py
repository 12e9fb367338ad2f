"""Incremental transcripts without a model: which audio is recognized, and when."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.small.moonshine import Recognition
from appliance.engines.llm.small.recognition import Segment, UtteranceTranscript, filter_words

RANDOM = np.random.default_rng(0)


def noise(seconds: float, level: float = 3000) -> bytes:
    """Return PCM that counts as speech at the default level and as silence at level 3."""
    return (RANDOM.normal(size=int(seconds * 16_000)) * level).astype("<i2").tobytes()


def recognized(text: str) -> Recognition:
    return Recognition(text, -0.1)


def make_transcript(*parts: bytes, max_seconds: float = 60) -> UtteranceTranscript:
    transcript = UtteranceTranscript(max_seconds)
    for part in parts:
        for start in range(0, len(part), 1280):
            transcript.add(part[start : start + 1280])
    return transcript


def next_remainder(transcript: UtteranceTranscript) -> Segment:
    rest = transcript.next_remainder()
    assert rest is not None
    return rest


def next_segment(transcript: UtteranceTranscript) -> Segment:
    segment = transcript.next_segment()
    assert segment is not None
    return segment


def test_text_stays_valid_when_only_silence_follows() -> None:
    transcript = make_transcript(noise(2), noise(0.1, 3))
    transcript.put(next_remainder(transcript), recognized("Good morning."))
    transcript.add(noise(0.5, 3))
    assert transcript.next_remainder() is None
    assert transcript.text == "Good morning."


def test_speech_after_a_pause_is_recognized_together_with_the_words_before_it() -> None:
    transcript = make_transcript(noise(2))
    transcript.put(next_remainder(transcript), recognized("I would like."))
    transcript.add(noise(0.5, 3))
    transcript.add(noise(1))
    rest = next_remainder(transcript)
    assert len(rest.samples) == int(3.5 * 16_000)
    transcript.put(rest, recognized("I would like tea."))
    assert (transcript.next_remainder(), transcript.text) == (None, "I would like tea.")


def test_audio_of_a_recognized_segment_is_dropped() -> None:
    transcript = make_transcript(noise(6), noise(0.4, 3), noise(4))
    transcript.put(next_segment(transcript), recognized("First part."))
    assert transcript.next_segment() is None
    rest = next_remainder(transcript)
    assert len(rest.samples) < 4.4 * 16_000
    transcript.put(rest, recognized("Second part."))
    assert transcript.text == "First part. Second part."


def test_final_segment_replaces_the_text_of_the_remainder() -> None:
    transcript = make_transcript(noise(6))
    transcript.put(next_remainder(transcript), recognized("One"))
    transcript.add(noise(0.4, 3) + noise(4))
    transcript.put(next_segment(transcript), recognized("One."))
    assert transcript.text == "One."
    assert transcript.next_remainder() is not None


def test_audio_added_during_recognition_is_kept() -> None:
    transcript = make_transcript(noise(6), noise(0.4, 3), noise(4))
    segment = next_segment(transcript)
    transcript.add(noise(1))
    transcript.put(segment, recognized("First."))
    rest = next_remainder(transcript)
    assert len(segment.samples) + len(rest.samples) == pytest.approx(11.4 * 16_000, abs=3)


def test_very_long_remainder_is_split_first() -> None:
    rest = next_remainder(make_transcript(noise(16)))
    assert rest.final
    assert len(rest.samples) < 16 * 16_000


def test_utterance_without_audio_has_no_text() -> None:
    transcript = make_transcript()
    assert (transcript.next_remainder(), transcript.text) == (None, "")


def test_audio_that_ends_within_a_word_is_recognized_again_with_any_later_audio() -> None:
    transcript = make_transcript(noise(1))
    transcript.put(next_remainder(transcript), recognized("Good mor"))
    assert transcript.next_remainder() is None
    transcript.add(noise(0.04, 3))
    transcript.put(next_remainder(transcript), recognized("Good morning."))
    transcript.add(noise(0.5, 3))
    transcript.put(next_remainder(transcript), recognized("Good morning."))
    transcript.add(noise(0.5, 3))
    assert (transcript.next_remainder(), transcript.text) == (None, "Good morning.")


def test_last_word_of_growing_audio_is_not_stable() -> None:
    transcript = make_transcript(noise(5))
    assert transcript.stable_text == ""
    transcript.put(next_remainder(transcript), recognized("What is the cap"))
    assert (transcript.text, transcript.stable_text) == ("What is the cap", "What is the")
    transcript.add(noise(0.4, 3) + noise(8))
    transcript.put(next_segment(transcript), recognized("What is the capital."))
    assert transcript.stable_text == "What is the capital."
    transcript.put(next_remainder(transcript), recognized("Of France"))
    assert transcript.stable_text == "What is the capital. Of"


def test_silence_is_not_recognized() -> None:
    assert make_transcript(noise(3, 5)).next_remainder() is None


def test_click_has_no_audio_to_recognize() -> None:
    transcript = make_transcript(noise(1, 3), noise(0.04), noise(1, 3))
    assert transcript.trim(next_remainder(transcript)) is None


def test_speech_is_recognized_with_silence_after_it_wherever_its_audio_ends() -> None:
    speech, pause = noise(0.5) + noise(0.5, 1000), bytes(2 * 8000)
    ends = []
    for audio in (speech, speech + pause[:3200], speech + pause):
        transcript = make_transcript(audio)
        samples = transcript.trim(next_remainder(transcript))
        assert samples is not None
        ends.append((len(samples) - np.flatnonzero(samples)[-1] - 1) / 16_000)
    assert min(ends) >= 0.4
    assert max(ends) <= 0.6


@pytest.mark.parametrize("level", [100, 300, 3000])
def test_quiet_and_loud_speech_is_recognized_at_one_level(level: float) -> None:
    transcript = make_transcript(noise(0.5, level) + noise(0.5, level / 2))
    samples = transcript.trim(next_remainder(transcript))
    assert samples is not None
    active = samples[np.abs(samples) > 0]
    assert 20 * np.log10(np.sqrt(np.mean(np.square(active)))) == pytest.approx(-17, abs=2)


def test_dc_offset_is_removed_before_recognition() -> None:
    pcm = np.frombuffer(noise(0.5) + noise(0.5, 1000), "<i2") + 3000
    transcript = make_transcript(pcm.astype("<i2").tobytes())
    samples = transcript.trim(next_remainder(transcript))
    assert samples is not None
    assert abs(float(samples.mean())) < 0.001


def test_only_the_end_of_an_unlimited_utterance_is_kept() -> None:
    rest = next_remainder(make_transcript(noise(8), max_seconds=4))
    assert len(rest.samples) <= 4.1 * 16_000


def test_closed_transcript_has_no_segments() -> None:
    transcript = make_transcript(noise(16))
    transcript.close()
    assert (transcript.next_remainder(), transcript.next_segment()) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        *("", " . ", "You", "♪♪♪", "♪♪\ufffd", "[coughing]", "(music)", "Hmm.", "Uh, um"),
        *("♪ I'm not alone ♪ ♪ I'm not", "ขอบคุณ"),
    ],
)
def test_words_recognized_in_noise_are_dropped(text: str) -> None:
    assert filter_words(recognized(text)) == ""


def test_words_with_low_confidence_are_dropped() -> None:
    assert filter_words(Recognition("And I'm going to have a good day.", -1.4)) == ""
    assert filter_words(Recognition("The first is the first is", -1.02, complete=False)) == ""


def test_spelled_letters_with_a_low_confidence_are_kept() -> None:
    assert filter_words(Recognition("Tqbl vy", -0.97)) == "Tqbl vy"


@pytest.mark.parametrize(
    "text",
    [
        "You.",
        "You!",
        "Q",
        "U.",
        "M",
        "Ah!",
        "Zoë.",
        "Yes.",
        "No.",
        "Okay",
        "I love you.",
        "It's 7 p.m.",
        "Stop.",
    ],
)
def test_short_answers_are_kept(text: str) -> None:
    assert filter_words(recognized(text)) == text
