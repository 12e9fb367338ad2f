"""Turn taking: the policy, and the real models on synthesized speech."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import soxr
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_start import ExternalUserTurnStartStrategy

from appliance.gateway.turns.endpointing import COMPLETE_PROBABILITY
from appliance.gateway.turns.session_vad import SessionVAD
from appliance.gateway.turns.turn_models import TurnModels
from appliance.gateway.turns.turn_stop import EndpointingStopStrategy
from appliance.gateway.turns.turn_taking import user_aggregator_params
from appliance.settings import TurnConfig
from tests.gateway.turns.levels import at_level, pcm

RATE = 16_000
FRAME = RATE * 2 // 25  # bytes of 40 ms


def ignore(_detector: str) -> None:
    pass


@pytest.fixture(scope="module")
def models() -> TurnModels:
    return TurnModels(TurnConfig())


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Synthesize a question with espeak-ng: 16 kHz mono int16 PCM."""
    return spoken(tmp_path_factory.mktemp("speech"), "What is the capital of France?")


def spoken(folder: Path, text: str, voice: str = "en-us") -> bytes:
    path = folder / "speech.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), text], check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    return pcm(soxr.resample(samples, rate, RATE))


def frames(audio: bytes) -> list[bytes]:
    return [audio[start : start + FRAME] for start in range(0, len(audio), FRAME)]


async def states(vad: VADAnalyzer, audio: bytes) -> list[VADState]:
    return [await vad.analyze_audio(frame) for frame in frames(audio)]


def vad(models: TurnModels) -> SessionVAD:
    detector = models.vad_analyzer()
    detector.set_sample_rate(RATE)
    return detector


async def test_start_and_end_of_speech_are_detected(models: TurnModels, speech: bytes) -> None:
    detected = await states(vad(models), bytes(RATE) + speech + bytes(RATE * 2))
    assert VADState.SPEAKING in detected
    assert detected[0] == detected[-1] == VADState.QUIET


@pytest.mark.parametrize("sound", ["silence", "noise", "hum", "clicks"])
async def test_other_sounds_are_not_speech(models: TurnModels, sound: str) -> None:
    time = np.arange(3 * RATE) / RATE
    clicks = np.zeros(3 * RATE)
    clicks[:: RATE // 2] = 0.9
    audio = {
        "silence": np.zeros(3 * RATE),
        "noise": np.random.default_rng(1).normal(0, 0.1, 3 * RATE),
        "hum": 0.3 * np.sin(2 * np.pi * 50 * time),
        "clicks": clicks,
    }[sound]
    assert VADState.SPEAKING not in await states(vad(models), pcm(audio))


@pytest.mark.parametrize(("dbfs", "heard"), [(-23, True), (-40, True), (-50, False), (-60, False)])
async def test_soft_caller_is_heard_and_the_first_voice_of_a_far_speaker_is_not(
    models: TurnModels, speech: bytes, dbfs: float, heard: bool
) -> None:
    detected = await states(vad(models), bytes(RATE) + at_level(speech, dbfs) + bytes(RATE))
    assert (VADState.SPEAKING in detected) is heard


@pytest.mark.parametrize("word", ["No.", "Stop.", "Two.", "What?", "U", "Q", "M"])
async def test_one_word_starts_speech(models: TurnModels, tmp_path: Path, word: str) -> None:
    for dbfs in (-23, -35):
        for voice in ("en-us", "en-us+f3", "en-us+m7"):
            audio = at_level(spoken(tmp_path, word, voice), dbfs)
            detected = await states(vad(models), bytes(RATE) + audio + bytes(RATE))
            assert VADState.SPEAKING in detected, (dbfs, voice)


@pytest.mark.parametrize("busy", [False, True])
async def test_voice_has_to_be_longer_while_the_bot_is_busy(tmp_path: Path, busy: bool) -> None:
    detector = TurnModels(TurnConfig(vad_interrupt_seconds=1.0)).vad_analyzer()
    detector.set_sample_rate(RATE)
    detector.is_bot_busy = lambda: busy
    word = spoken(tmp_path, "Stop.")
    detected = await states(detector, bytes(RATE) + word + bytes(RATE))
    assert (VADState.SPEAKING in detected) is (not busy)
    if not busy:
        assert 0.12 <= detector.started_seconds_ago <= 0.2


async def test_sessions_do_not_share_state(models: TurnModels, speech: bytes) -> None:
    audio = bytes(RATE) + speech + bytes(RATE)
    alone = await states(vad(models), audio)
    speaking_vad, silent_vad, delayed_vad = vad(models), vad(models), vad(models)
    speaking, silent, delayed = [], [], []
    for number, frame in enumerate(frames(audio)):
        shifted = (
            audio[(number - 3) * FRAME : (number - 2) * FRAME] if number >= 3 else bytes(FRAME)
        )
        speaking_state, silent_state, delayed_state = await asyncio.gather(
            speaking_vad.analyze_audio(frame),
            silent_vad.analyze_audio(bytes(len(frame))),
            delayed_vad.analyze_audio(shifted),
        )
        speaking.append(speaking_state)
        silent.append(silent_state)
        delayed.append(delayed_state)
    assert speaking == alone
    assert set(silent) == {VADState.QUIET}
    assert VADState.SPEAKING in delayed


async def test_vad_starts_no_thread(models: TurnModels, speech: bytes) -> None:
    before = threading.active_count()
    await states(vad(models), speech)
    assert threading.active_count() == before


def test_new_session_loads_no_model(models: TurnModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("onnxruntime.InferenceSession.__init__", refuse)
    first, second = models.vad_analyzer(), models.vad_analyzer()
    assert first._silero is not second._silero  # each has its own state
    assert first._silero.model is second._silero.model
    for _ in range(2):
        user_aggregator_params(TurnConfig(), models, ignore)


def test_settings_reach_the_analyzers() -> None:
    assert TurnModels(TurnConfig(vad_start_seconds=0.5)).vad_analyzer().params.start_secs == 0.5


async def test_finished_question_is_complete_and_its_beginning_is_not(
    models: TurnModels, speech: bytes
) -> None:
    silence = bytes(RATE * 2 // 5)  # 0.2 s
    assert await models.completeness(speech + silence) > COMPLETE_PROBABILITY
    assert await models.completeness(speech[: FRAME * 10] + silence) < COMPLETE_PROBABILITY


async def test_simultaneous_pauses_are_analyzed_in_the_shared_thread_pool(
    models: TurnModels, speech: bytes
) -> None:
    before = threading.active_count()
    results = await asyncio.gather(*(models.completeness(speech) for _ in range(6)))
    assert len(set(results)) == 1
    assert threading.active_count() <= before + TurnConfig().threads


def test_smart_turn_does_not_write_audio_to_disk(
    models: TurnModels, speech: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPECAT_SMART_TURN_LOG_DATA", "true")
    TurnModels(TurnConfig()).judge(speech)
    assert not list(tmp_path.iterdir())


def test_proposal_starts_a_turn_and_the_endpointer_ends_it(models: TurnModels) -> None:
    strategies = user_aggregator_params(TurnConfig(), models, ignore).user_turn_strategies
    assert strategies is not None
    (start,), (stop,) = strategies.start or [], strategies.stop or []
    assert isinstance(start, ExternalUserTurnStartStrategy)
    assert isinstance(stop, EndpointingStopStrategy)


def test_last_resort_timeout_is_a_setting(models: TurnModels) -> None:
    params = user_aggregator_params(TurnConfig(stop_timeout_seconds=7.0), models, ignore)
    assert params.user_turn_stop_timeout == 7.0


def test_full_duplex_does_not_mute_the_user(models: TurnModels) -> None:
    assert user_aggregator_params(TurnConfig(), models, ignore).user_mute_strategies == []


def test_half_duplex_mutes_the_user_while_the_bot_speaks(models: TurnModels) -> None:
    (mute,) = user_aggregator_params(
        TurnConfig(half_duplex=True), models, ignore
    ).user_mute_strategies
    assert isinstance(mute, AlwaysUserMuteStrategy)


def with_noise(audio: bytes, dbfs: float) -> bytes:
    """Add white noise of this level."""
    samples = np.frombuffer(audio, "<i2") / 32768
    return pcm(samples + np.random.default_rng(2).normal(0, 10 ** (dbfs / 20), len(samples)))


async def starts_and_stops(vad: SessionVAD, audio: bytes, may_wait: bool) -> list[object]:
    """Return the numbers of the frames at which speech starts and ends, and when it began."""
    found: list[object] = []
    speaking = False
    for number, frame in enumerate(frames(audio)):
        state = await vad.analyze_audio(frame, may_wait)
        if (state in (VADState.SPEAKING, VADState.STOPPING)) != speaking:
            speaking = not speaking
            found.append((number, vad.started_seconds_ago if speaking else None))
    return found


@pytest.mark.parametrize("dbfs", [-23, -42, -50])
@pytest.mark.parametrize("noise_dbfs", [-70, -60, -48])
async def test_waiting_changes_no_start_and_no_end_of_speech(
    models: TurnModels, speech: bytes, dbfs: float, noise_dbfs: float
) -> None:
    voice = at_level(speech, dbfs)
    parts = [bytes(2 * round(RATE * seconds)) + voice for seconds in (0.5, 2.13, 0.31, 5.07)]
    audio = with_noise(b"".join(parts) + bytes(2 * RATE), noise_dbfs)
    at_once = await starts_and_stops(vad(models), audio, may_wait=False)
    assert at_once or dbfs < -45
    assert await starts_and_stops(vad(models), audio, may_wait=True) == at_once


async def test_soft_audio_waits_and_keeps_its_time(
    models: TurnModels, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float] = []
    detector = vad(models)

    def is_echo(_window: bytes, _voice: bool) -> bool:
        heard.append(detector.arrived_at)
        return False

    detector.is_echo = is_echo
    now = 0.0
    monkeypatch.setattr("appliance.gateway.turns.session_vad.time.monotonic", lambda: now)
    noise = frames(with_noise(bytes(FRAME * 25), -60))
    for number, frame in enumerate(noise):  # a second
        now = number * 0.04
        await detector.analyze_audio(frame, may_wait=True)
        assert now - (heard[-1] if heard else 0.0) < 0.3
    waiting = RATE // 512 - len(heard)
    assert 0 < waiting <= 8
    now = 1.0
    await detector.analyze_audio(at_level(speech, -23)[FRAME * 8 : FRAME * 9], may_wait=True)
    assert len(heard) == (26 * FRAME // 2) // 512  # loud audio waits for nothing
    assert heard == sorted(heard) and heard[-1] == now
    times = [(number + 1) * 512 / RATE for number in range(len(heard))]  # at the end of a window
    late = [at + 0.04 - time for at, time in zip(heard, times, strict=True)]
    assert min(late) >= 0
    assert max(late) < 0.04 + 1e-9
