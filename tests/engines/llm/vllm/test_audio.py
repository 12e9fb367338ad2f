"""Audio clips: classification as speech or noise, token counts, and the clips of a session."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.engines.llm.vllm.audio import AudioClip, SessionClips, count_audio_tokens
from appliance.errors import BadRequest
from appliance.link.engine import INPUT_SAMPLE_RATE, ChatMessage
from appliance.settings import Settings
from tests.engines.llm.speech import synthesize

QUESTIONS = sorted((Path(__file__).parents[4] / "client" / "questions").glob("*.wav"))
SECOND = INPUT_SAMPLE_RATE  # samples
LENGTH = int(2.5 * SECOND)
TIME = np.arange(LENGTH) / INPUT_SAMPLE_RATE
Sound = NDArray[np.float64]


def to_pcm(sound: Sound) -> bytes:
    return np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2").tobytes()


def classify(sound: Sound, max_seconds: float = 60.0) -> str:
    clip = AudioClip(0.3, max_seconds)
    clip.add(to_pcm(sound))
    return clip.classify()


def read_question(path: Path) -> Sound:
    with wave.open(str(path)) as file:
        assert file.getframerate() == INPUT_SAMPLE_RATE
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float64) / 32768


def colored(tilt: float, length: int = LENGTH, seed: int = 0) -> Sound:
    """Return noise of RMS 1 with a spectral tilt: 0 is white, 0.5 pink, 1 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=length))
    spectrum /= np.maximum(np.fft.rfftfreq(length, 1 / INPUT_SAMPLE_RATE), 20) ** tilt
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), np.float64)


def hum(hertz: float) -> Sound:
    partials = [np.sin(2 * np.pi * hertz * n * TIME + n) / n for n in (1, 2, 3, 5)]
    return np.asarray(np.sum(partials, axis=0) / 1.3, np.float64)


def knocks(every: float, decay_seconds: float) -> Sound:
    since = TIME % every
    return colored(0.7) * np.exp(-since / decay_seconds) * 3


def add_room(sound: Sound, level: float = 0.001) -> Sound:
    """Add room noise to a sound, and half a second of room noise before it."""
    around = np.concatenate(
        [np.zeros(INPUT_SAMPLE_RATE // 2), sound, np.zeros(INPUT_SAMPLE_RATE // 5)]
    )
    return around + level * colored(0.5, len(around), seed=1)


NOISES = {
    "white noise": colored(0),
    "pink noise": colored(0.5),
    "brown noise": colored(1),
    "rumble": colored(1.5),
    "noise that starts suddenly": colored(0.5) * np.where(TIME < 0.8, 0.05, 1),
    "pulsating noise": colored(0) * (1 + 0.8 * np.sin(2 * np.pi * 3 * TIME)),
    "wind": colored(1.2) * (1 + 0.8 * np.sin(2 * np.pi * 0.7 * TIME)),
    "a fan": colored(0.7) * (1 + 0.3 * np.sin(2 * np.pi * 9 * TIME)) + 0.5 * hum(120),
    "mains hum": hum(50),
    "mains hum of 60 Hz": hum(60),
    "hum and hiss": hum(100) + 0.2 * colored(0),
    "a tone": np.sin(2 * np.pi * 440 * TIME),
    "busy tone": np.sin(2 * np.pi * 425 * TIME) * (TIME % 1 < 0.5),
    "a siren": np.sin(2 * np.pi * (300 * TIME + 300 * TIME**2)),
    "clicks": knocks(0.2, 0.0005),
    "knocks": knocks(0.6, 0.06),
    "a door": knocks(3, 0.15),
    "typing": knocks(0.17, 0.02) + 0.02 * colored(0.7, seed=2),
}


@pytest.mark.parametrize("level", [0.01, 0.15])
@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_not_speech(noise: str, level: float) -> None:
    sound = NOISES[noise] * level
    assert classify(sound) in ("steady", "silent")
    assert classify(add_room(sound)) in ("steady", "silent")
    assert classify(add_room(sound, level / 10)) in ("steady", "silent")


@pytest.mark.parametrize("loudness", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_question_is_speech_at_any_volume(path: Path, loudness: float) -> None:
    sound = read_question(path) * loudness
    assert classify(sound) == "speech"
    room_level = float(np.sqrt(np.mean(sound**2))) / 4  # 12 dB under the speech
    assert classify(add_room(sound, min(0.01, room_level))) == "speech"


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_question_is_speech_below_a_louder_hum_or_offset(path: Path) -> None:
    sound = add_room(read_question(path) * 0.1)
    times = np.arange(len(sound)) / INPUT_SAMPLE_RATE
    assert classify(sound + 0.1) == "speech"
    assert classify(sound + 0.05 * np.sin(2 * np.pi * 50 * times)) == "speech"


def test_question_after_a_minute_of_noise_is_speech() -> None:
    fan = np.tile(NOISES["a fan"], 24) * 0.004
    assert classify(np.concatenate([fan, read_question(QUESTIONS[0]) * 0.3]), 90) == "speech"
    assert classify(fan, 90) == "steady"


@pytest.mark.parametrize("sound", [np.zeros(LENGTH), colored(0.5) * 0.0005, np.full(LENGTH, 0.2)])
def test_digital_silence_and_constant_offset_are_silent(sound: Sound) -> None:
    assert classify(sound) == "silent"


def test_short_utterance_is_too_short() -> None:
    sound = read_question(QUESTIONS[0])[: int(0.29 * INPUT_SAMPLE_RATE)]
    assert classify(sound) == "too_short"
    assert AudioClip(0.0, 60).classify() == "too_short"


def test_only_the_beginning_of_a_long_utterance_is_kept() -> None:
    clip = AudioClip(0.3, 1.0)
    for second in (1, 2, 3):
        clip.add(to_pcm(np.full(INPUT_SAMPLE_RATE * 2 // 3, second / 10)))
    assert clip.seconds == 1.0
    assert clip.samples[0] == pytest.approx(0.1, abs=1e-3)
    assert clip.samples[-1] == pytest.approx(0.2, abs=1e-3)


def test_classification_is_updated_as_audio_arrives() -> None:
    clip, sound = AudioClip(0.3, 60), read_question(QUESTIONS[0])
    verdicts = []
    for part in (sound[: INPUT_SAMPLE_RATE // 10], np.zeros(INPUT_SAMPLE_RATE), sound):
        clip.add(to_pcm(part))
        verdicts += [clip.classify(), clip.classify()]
    assert verdicts[::2] == verdicts[1::2]
    assert verdicts[0] == "too_short"
    assert verdicts[-1] == "speech"


def test_incomplete_sample_is_refused() -> None:
    clip = AudioClip(0.3, 60)
    with pytest.raises(BadRequest, match="half a sample"):
        clip.add(b"\x00\x00\x00")
    assert clip.seconds == 0


@given(st.binary(max_size=4000).map(lambda raw: raw[: len(raw) // 2 * 2]), st.floats(0, 0.2))
def test_any_bytes_become_finite_samples(raw: bytes, max_seconds: float) -> None:
    clip = AudioClip(0.01, max_seconds)
    clip.add(raw)
    samples = clip.samples
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert (np.abs(samples) <= 1).all()
    assert clip.seconds * INPUT_SAMPLE_RATE == len(samples) <= max_seconds * INPUT_SAMPLE_RATE
    assert clip.classify() in ("speech", "too_short", "silent", "steady")
    assert (np.round(samples * 32768).astype("<i2").tobytes()) == raw[: 2 * len(samples)]


# As computed by the processor and the reference (golden cases: 8, 15, 32 and 188 + 94).
@pytest.mark.parametrize(
    ("samples", "tokens"),
    [
        (0, 1),
        (1, 1),
        (SECOND // 20, 1),
        (2560, 1),
        (2561, 2),
        (SECOND, 7),
        (37_920, 15),
        (5 * SECOND, 32),
        (30 * SECOND, 188),
        (30 * SECOND + 1, 189),
        (45 * SECOND, 188 + 94),
        (60 * SECOND, 2 * 188),
        (60 * SECOND + 1, 2 * 188 + 1),
        (95 * SECOND, 3 * 188 + 32),
    ],
)
def test_audio_tokens_equal_those_of_the_processor(samples: int, tokens: int) -> None:
    assert count_audio_tokens(samples) == tokens


@given(st.integers(SECOND // 20, 95 * SECOND))
def test_each_chunk_of_30_seconds_is_counted_separately(samples: int) -> None:
    chunks = [min(30 * SECOND, samples - start) for start in range(0, samples, 30 * SECOND)]
    frames = [-(-chunk // 160) for chunk in chunks]
    assert count_audio_tokens(samples) == sum(-(-count // 16) for count in frames)
    assert (
        count_audio_tokens(samples)
        <= count_audio_tokens(samples + 1)
        <= count_audio_tokens(samples) + 1
    )


@pytest.fixture
def clips() -> SessionClips:
    return SessionClips(Settings().llm)


def hear(clips: SessionClips, utterance: int, pcm: bytes) -> ChatMessage:
    clips.begin(utterance)
    clips.clip(utterance).add(pcm)
    return ChatMessage("user", utterance=utterance)


def test_clip_keeps_its_name_until_it_grows(clips: SessionClips) -> None:
    hear(clips, 1, synthesize("Yes."))
    name, samples = clips.name_and_samples(1)
    assert clips.name_and_samples(1)[0] == name
    assert len(samples) == len(synthesize("Yes.")) // 2
    clips.clip(1).add(bytes(320))
    assert clips.name_and_samples(1)[0] != name


def test_clips_of_different_sessions_have_different_names(clips: SessionClips) -> None:
    other = SessionClips(Settings().llm)
    names = set()
    for session in (clips, other):
        for utterance in (1, 2):
            hear(session, utterance, synthesize("Yes."))
            names.add(session.name_and_samples(utterance)[0])
    clips.rename_all()
    names.add(clips.name_and_samples(1)[0])
    assert len(names) == 5


def test_only_speech_has_tokens(clips: SessionClips) -> None:
    question = synthesize("What is the capital of France?")
    turns = [
        hear(clips, 1, question),
        hear(clips, 2, bytes(32_000)),
        ChatMessage("user", "typed"),
    ]
    assert clips.count_tokens(turns) == {1: count_audio_tokens(len(question) // 2)}
    assert [clips.has_content(turn) for turn in turns] == [True, False, True]


def test_utterance_is_open_until_it_ends(clips: SessionClips) -> None:
    turn = hear(clips, 1, synthesize("Yes."))
    assert clips.is_open(turn)
    clips.end(1)
    assert not clips.is_open(turn)
    assert not clips.is_open(ChatMessage("user", "typed"))


def test_unknown_utterance_is_refused_but_can_be_dropped(clips: SessionClips) -> None:
    clips.forget(9)
    hear(clips, 1, b"")
    clips.forget(1)
    for method in (clips.clip, clips.end, clips.name_and_samples):
        with pytest.raises(BadRequest, match="unknown utterance 1"):
            method(1)
    with pytest.raises(BadRequest):
        clips.count_tokens([ChatMessage("user", utterance=1)])


def test_parts_of_a_question_become_one_clip(clips: SessionClips) -> None:
    first, second = synthesize("What is the capital"), synthesize("of France?")
    turns = [hear(clips, 1, first), hear(clips, 2, second), ChatMessage("assistant", "Paris.")]
    question, answer = clips.join_parts(turns)
    assert answer == turns[2]
    assert question.utterance is not None
    name, samples = clips.name_and_samples(question.utterance)
    assert len(samples) == (len(first) + len(second)) // 2 + SECOND // 4
    assert clips.join_parts(turns)[0] == question
    clips.clip(2).add(first)
    (grown, _) = clips.join_parts(turns)
    assert grown.utterance is not None
    assert clips.name_and_samples(grown.utterance)[0] != name


def test_joined_clip_keeps_its_end_and_is_dropped_with_its_parts(clips: SessionClips) -> None:
    seconds = int(Settings().llm.max_utterance_seconds)
    long = hear(clips, 1, bytes(2 * SECOND * seconds))
    speech = synthesize("What is the capital of France?")
    joined = clips.join(1, hear(clips, 2, speech).utterance or 0)
    assert clips.clip(joined).seconds == seconds
    assert clips.clip(joined).pcm.endswith(speech)
    clips.forget(long.utterance or 0)
    with pytest.raises(BadRequest):
        clips.clip(joined)
