"""The voice detector of a call says what Pipecat's says, also where it does not run the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pipecat.audio.vad.silero import SileroOnnxModel, SileroVADAnalyzer

from appliance.gateway.turns.silero import KEPT_ANSWERS, SILENT_WINDOW, WINDOW, Silero, SileroModel

SECOND = 31  # windows


class CountedSession:
    """Runs the model, and counts how often."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs = 0

    def run(self, names: Any, inputs: Any) -> Any:
        self.runs += 1
        return self._session.run(names, inputs)


@pytest.fixture(scope="module")
def theirs() -> SileroOnnxModel:
    return SileroVADAnalyzer()._model


def sound(seconds: float, dbfs: float = -20.0) -> list[bytes]:
    """Return windows of a buzz that changes its pitch."""
    time = np.arange(round(seconds * SECOND) * WINDOW) / 16_000
    wave = np.sign(np.sin(2 * np.pi * (140 + 40 * np.sin(3 * time)) * time)) * np.sin(9 * time)
    samples = (wave * 10 ** (dbfs / 20) * 32767).astype("<i2").reshape(-1, WINDOW)
    return [window.tobytes() for window in samples]


def silence(seconds: float) -> list[bytes]:
    return [SILENT_WINDOW] * round(seconds * SECOND)


def test_it_answers_as_pipecats_does(theirs: SileroOnnxModel) -> None:
    ours = Silero(SileroModel(theirs.session))
    theirs.reset_states()
    parts = [silence(3), sound(1), silence(1), sound(0.3, -70), silence(5), sound(2)]
    for number, window in enumerate(window for part in parts for window in part):
        samples = np.frombuffer(window, np.int16).astype(np.float32) / 32768.0
        assert ours.probability(window) == theirs(samples, 16_000).item(), number
        if number % (2 * SECOND) == 0:
            ours.reset_states()
            theirs.reset_states()


def test_digital_silence_after_a_reset_is_computed_once_for_all_calls(
    theirs: SileroOnnxModel,
) -> None:
    session = CountedSession(theirs.session)
    model = SileroModel(session)
    for _ in range(3):
        call = Silero(model)
        for window in silence(2):
            call.probability(window)
    assert session.runs == 2 * SECOND
    call.probability(sound(0.1)[0])
    call.probability(SILENT_WINDOW)  # after a sound, the answer is another one
    assert session.runs == 2 * SECOND + 2


def test_few_answers_are_kept(theirs: SileroOnnxModel) -> None:
    session = CountedSession(theirs.session)
    model = SileroModel(session)
    for _ in range(2):
        call = Silero(model)
        for _ in range(KEPT_ANSWERS + 5):
            call.probability(SILENT_WINDOW)
    assert session.runs == KEPT_ANSWERS + 10
