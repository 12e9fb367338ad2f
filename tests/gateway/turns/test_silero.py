"""The voice detector of a call says what Pipecat's says, which runs the model in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.audio.vad.silero import SileroOnnxModel, SileroVADAnalyzer

from appliance.gateway.turns.silero import KEPT_ANSWERS, SILENT_WINDOW, WINDOW, Silero, SileroModel
from appliance.gateway.turns.silero_network import Floats, SileroNetwork, load_weights
from client.wav import read_wav
from tests.e2e.appliance import QUESTIONS

SECOND = 31  # windows
TOLERANCE = 1e-5  # the order of sums differs


class CountedNetwork(SileroNetwork):
    """Runs the model, and counts how often."""

    runs = 0

    def step(self, encoded: Floats, state: Floats) -> tuple[float, Floats]:
        self.runs += 1
        return super().step(encoded, state)


@pytest.fixture(scope="module")
def weights() -> dict[str, Floats]:
    return load_weights()


@pytest.fixture(scope="module")
def theirs() -> SileroOnnxModel:
    return SileroVADAnalyzer()._model


def windows(samples: np.ndarray) -> list[bytes]:
    """Cut samples, in -1 to 1, into windows."""
    whole = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    return [np.clip(row * 32768, -32768, 32767).astype("<i2").tobytes() for row in whole]


def sound(seconds: float, dbfs: float = -20.0) -> list[bytes]:
    """Return windows of a buzz that changes its pitch."""
    time = np.arange(round(seconds * SECOND) * WINDOW) / 16_000
    wave = np.sign(np.sin(2 * np.pi * (140 + 40 * np.sin(3 * time)) * time)) * np.sin(9 * time)
    return windows(wave * 10 ** (dbfs / 20))


def speech(noise_dbfs: float, gain_db: float = 0.0) -> list[bytes]:
    """Return windows of all questions of the client, a second apart, with noise."""
    gap = np.zeros(16_000)
    parts = [[np.frombuffer(read_wav(path), "<i2") / 32768, gap] for path in QUESTIONS]
    samples = np.concatenate([x for part in parts for x in part]) * 10 ** (gain_db / 20)
    noise = np.random.default_rng(1).normal(size=len(samples)) * 10 ** (noise_dbfs / 20)
    return windows(samples + noise)


def silence(seconds: float) -> list[bytes]:
    return [SILENT_WINDOW] * round(seconds * SECOND)


def buzz_in_silence() -> list[bytes]:
    parts = [silence(3), sound(1), silence(1), sound(0.3, -70), silence(5), sound(2, 0)]
    return [window for part in parts for window in part]


@pytest.mark.parametrize(
    "heard",
    [
        buzz_in_silence(),
        speech(noise_dbfs=-60),
        speech(noise_dbfs=-30),
        speech(noise_dbfs=-80, gain_db=-30),
        speech(noise_dbfs=-60, gain_db=30),  # clipped
    ],
    ids=["buzz in silence", "soft noise", "loud noise", "soft speech", "clipped speech"],
)
def test_it_answers_as_pipecats_does(
    weights: dict[str, Floats], theirs: SileroOnnxModel, heard: list[bytes]
) -> None:
    ours = Silero(SileroModel(SileroNetwork(weights)))
    theirs.reset_states()
    for number, window in enumerate(heard):
        samples = np.frombuffer(window, np.int16).astype(np.float32) / 32768.0
        expected = theirs(samples, 16_000).item()
        assert ours.probability(window) == pytest.approx(expected, abs=TOLERANCE), number
        if number % (2 * SECOND) == 0:
            ours.reset_states()
            theirs.reset_states()


@pytest.mark.parametrize("size", [2, 5, 8])
def test_windows_that_are_announced_get_the_same_answers(
    weights: dict[str, Floats], size: int
) -> None:
    heard = [*speech(noise_dbfs=-60)[:200], *silence(1), *speech(noise_dbfs=-80)[:40]]
    one, several = (Silero(SileroModel(SileroNetwork(weights))) for _ in range(2))
    for start in range(0, len(heard), size):
        several.announce(heard[start : start + size])
        for number, window in enumerate(heard[start : start + size], start):
            expected = one.probability(window)
            assert several.probability(window) == pytest.approx(expected, abs=TOLERANCE), number
            if number % 63 == 62:  # in the middle of the announced windows, too
                one.reset_states()
                several.reset_states()


def test_voice_and_noise_are_told_apart(weights: dict[str, Floats]) -> None:
    ours = Silero(SileroModel(SileroNetwork(weights)))
    assert max(ours.probability(window) for window in speech(noise_dbfs=-60)) > 0.95
    ours.reset_states()
    noise = windows(np.random.default_rng(1).normal(size=160_000) * 0.001)
    assert max(ours.probability(window) for window in noise) < 0.1


def test_digital_silence_after_a_reset_is_computed_once_for_all_calls(
    weights: dict[str, Floats],
) -> None:
    network = CountedNetwork(weights)
    model = SileroModel(network)
    for _ in range(3):
        call = Silero(model)
        for window in silence(2):
            call.probability(window)
    assert network.runs == 2 * SECOND
    call.probability(sound(0.1)[0])
    call.probability(SILENT_WINDOW)  # after a sound, the answer is another one
    assert network.runs == 2 * SECOND + 2


def test_few_answers_are_kept(weights: dict[str, Floats]) -> None:
    network = CountedNetwork(weights)
    model = SileroModel(network)
    for _ in range(2):
        call = Silero(model)
        for _ in range(KEPT_ANSWERS + 5):
            call.probability(SILENT_WINDOW)
    assert network.runs == KEPT_ANSWERS + 10


def test_another_network_is_refused(
    weights: dict[str, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = {"encoder.0.reparam_conv.weight": (128, 129, 5)}
    monkeypatch.setattr("appliance.gateway.turns.silero_network._SHAPES", shapes)
    with pytest.raises(ValueError, match=r"encoder\.0"):
        load_weights()
