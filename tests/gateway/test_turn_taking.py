"""The detectors: real models, real speech, one session of each for all callers."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import soxr  # type: ignore[import-untyped]
from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState

from appliance.gateway.turn_taking import TurnModels
from appliance.settings import TurnConfig

RATE = 16_000
FRAME = RATE * 2 // 25  # bytes of 40 ms
QUIET = (VADState.QUIET,)


@pytest.fixture(scope="module")
def models() -> TurnModels:
    return TurnModels(TurnConfig())


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """16 kHz mono int16 PCM of a question, by espeak-ng."""
    path = tmp_path_factory.mktemp("speech") / "question.wav"
    text = "What is the capital of France?"
    subprocess.run(["espeak-ng", "-v", "en-us", "-w", str(path), text], check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    return pcm(soxr.resample(samples, rate, RATE))


def pcm(samples: np.ndarray) -> bytes:
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def frames(audio: bytes) -> list[bytes]:
    return [audio[start : start + FRAME] for start in range(0, len(audio), FRAME)]


async def states(vad: VADAnalyzer, audio: bytes) -> list[VADState]:
    return [await vad.analyze_audio(frame) for frame in frames(audio)]


def vad(models: TurnModels) -> SileroVADAnalyzer:
    detector = models.vad()
    detector.set_sample_rate(RATE)
    return detector


async def test_speech_is_heard_and_its_end_too(models: TurnModels, speech: bytes) -> None:
    found = await states(vad(models), bytes(RATE) + speech + bytes(RATE * 2))
    assert VADState.SPEAKING in found
    assert found[0] == found[-1] == VADState.QUIET


@pytest.mark.parametrize("what", ["silence", "noise", "hum", "clicks"])
async def test_what_is_not_speech_is_not_heard(models: TurnModels, what: str) -> None:
    time = np.arange(3 * RATE) / RATE
    clicks = np.zeros(3 * RATE)
    clicks[:: RATE // 2] = 0.9
    audio = {
        "silence": np.zeros(3 * RATE),
        "noise": np.random.default_rng(1).normal(0, 0.1, 3 * RATE),
        "hum": 0.3 * np.sin(2 * np.pi * 50 * time),
        "clicks": clicks,
    }[what]
    assert VADState.SPEAKING not in await states(vad(models), pcm(audio))


async def test_callers_do_not_disturb_each_other(models: TurnModels, speech: bytes) -> None:
    audio = bytes(RATE) + speech + bytes(RATE)
    alone = await states(vad(models), audio)
    talking, silent, late = vad(models), vad(models), vad(models)
    together, nothing, delayed = [], [], []
    for number, frame in enumerate(frames(audio)):
        shifted = (
            audio[(number - 3) * FRAME : (number - 2) * FRAME] if number >= 3 else bytes(FRAME)
        )
        talks, keeps_silent, follows = await asyncio.gather(
            talking.analyze_audio(frame),
            silent.analyze_audio(bytes(len(frame))),
            late.analyze_audio(shifted),
        )
        together.append(talks)
        nothing.append(keeps_silent)
        delayed.append(follows)
    assert together == alone
    assert set(nothing) == set(QUIET)
    assert VADState.SPEAKING in delayed


async def test_listening_to_a_caller_takes_no_thread(models: TurnModels, speech: bytes) -> None:
    before = threading.active_count()
    await states(vad(models), speech)
    assert threading.active_count() == before


def test_a_caller_costs_no_model(models: TurnModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("onnxruntime.InferenceSession.__init__", refuse)
    first, second = models.vad(), models.vad()
    assert first._model is not second._model  # the state is its own
    assert first._model.session is second._model.session
    ends = [models.end_of_turn(lambda what: None) for _ in range(2)]
    assert ends[0]._session is ends[1]._session


def test_the_settings_reach_the_detectors() -> None:
    knobs = TurnConfig(vad_start_seconds=0.5, vad_min_volume=0.1, incomplete_stop_seconds=2.5)
    models = TurnModels(knobs)
    assert models.vad().params.start_secs == 0.5
    assert models.vad().params.min_volume == 0.1
    assert models.end_of_turn(lambda what: None).params.stop_secs == 2.5


def end_of_turn(models: TurnModels, ended_by: list[str]) -> LocalSmartTurnAnalyzerV3:
    analyzer = models.end_of_turn(ended_by.append)
    analyzer.set_sample_rate(RATE)
    return analyzer


async def test_a_finished_question_is_ended_by_smart_turn(
    models: TurnModels, speech: bytes
) -> None:
    ended_by: list[str] = []
    analyzer = end_of_turn(models, ended_by)
    for frame in frames(speech):
        analyzer.append_audio(frame, True)
    for frame in frames(bytes(RATE * 2 // 5)):
        analyzer.append_audio(frame, False)
    state, _ = await analyzer.analyze_end_of_turn()
    assert (state, ended_by) == (EndOfTurnState.COMPLETE, ["smart_turn"])
    await analyzer.cleanup()


async def test_callers_who_pause_at_the_same_moment_are_judged_by_the_threads_there_are(
    models: TurnModels, speech: bytes
) -> None:
    before = threading.active_count()
    analyzers = [end_of_turn(models, []) for _ in range(6)]
    for analyzer in analyzers:
        for frame in frames(speech):
            analyzer.append_audio(frame, True)
    found = await asyncio.gather(*(analyzer.analyze_end_of_turn() for analyzer in analyzers))
    assert [state for state, _ in found] == [EndOfTurnState.COMPLETE] * 6
    assert threading.active_count() <= before + TurnConfig().threads
    for analyzer in analyzers:
        await analyzer.cleanup()
    state, _ = await end_of_turn(models, []).analyze_end_of_turn()  # the others' end was not theirs
    assert state == EndOfTurnState.INCOMPLETE


async def test_silence_after_an_unfinished_sentence_is_reported_as_the_fallback(
    models: TurnModels, speech: bytes
) -> None:
    ended_by: list[str] = []
    analyzer = end_of_turn(models, ended_by)
    for frame in frames(speech)[:20]:
        assert analyzer.append_audio(frame, True) == EndOfTurnState.INCOMPLETE
    silent_frames = 0
    while not ended_by:
        analyzer.append_audio(bytes(FRAME), False)
        silent_frames += 1
        assert silent_frames < 200
    assert ended_by == ["fallback"]
    assert silent_frames * 0.04 == pytest.approx(TurnConfig().incomplete_stop_seconds, abs=0.1)
    await analyzer.cleanup()


def test_no_audio_of_callers_is_written_to_disk(models: TurnModels, tmp_path: Path) -> None:
    assert models.end_of_turn(lambda what: None)._log_data is False
