"""Silero VAD: the probability of a voice in windows of 32 ms. All calls share the model.

After a reset, the model answers digital silence in the same way in every call. It computes that
once in a process, and looks it up afterwards. Muted microphones send digital silence, and so do
clients that suppress noise or play recordings; nothing is gained for a microphone that always
hears some noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.link.engine import INPUT_SAMPLE_RATE

Floats = npt.NDArray[np.float32]
WINDOW = 512  # samples
CONTEXT = 64  # samples of the window before, which the model hears, too
FULL_SCALE = np.float32(32768)
SILENT_WINDOW = bytes(2 * WINDOW)
# Answers to digital silence that are kept. Pipecat resets the model after 63 windows of silence.
KEPT_ANSWERS = 128
HEARD = -1  # there was a sound since the last reset


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says about a window, and the state in which it hears the next one."""

    probability: float
    state: Floats


class SileroModel:
    """The model of the process. `session` is onnxruntime's; it keeps no state."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self._sample_rate = np.array(INPUT_SAMPLE_RATE, dtype=np.int64)
        self._silence: list[Answer] = []

    def answer(self, samples: Floats, state: Floats) -> Answer:
        """Run the model on the context and a window, shape (1, CONTEXT + WINDOW), in -1 to 1."""
        inputs = {"input": samples, "state": state, "sr": self._sample_rate}
        probability, state = self.session.run(None, inputs)
        return Answer(float(probability[0, 0]), state)

    def silence(self, number: int) -> Answer:
        """Return the answer to window `number` of digital silence since a reset, from 0."""
        while len(self._silence) <= number:
            state = self._silence[-1].state if self._silence else no_state()
            self._silence.append(self.answer(no_samples(), state))
        return self._silence[number]


class Silero:
    """The detector of one call."""

    def __init__(self, model: SileroModel) -> None:
        self.model = model
        self.reset_states()

    def reset_states(self) -> None:
        """Forget what was heard. Pipecat calls this in clear silence, about every two seconds."""
        self._samples = no_samples()
        self._state = no_state()
        self._silent_windows = 0  # since the reset, or HEARD

    def probability(self, window: bytes) -> float:
        """Return the probability of a voice in a window of `WINDOW` int16 samples."""
        if 0 <= self._silent_windows < KEPT_ANSWERS and window == SILENT_WINDOW:
            answer = self.model.silence(self._silent_windows)
            self._silent_windows += 1
        else:
            self._silent_windows = HEARD
            np.divide(np.frombuffer(window, "<i2"), FULL_SCALE, out=self._samples[0, CONTEXT:])
            answer = self.model.answer(self._samples, self._state)
            self._samples[0, :CONTEXT] = self._samples[0, WINDOW:]
        self._state = answer.state
        return answer.probability


def no_samples() -> Floats:
    """Return a silent input of the model, context included."""
    return np.zeros((1, CONTEXT + WINDOW), dtype=np.float32)


def no_state() -> Floats:
    """Return the state of a model that has heard nothing."""
    return np.zeros((2, 1, 128), dtype=np.float32)
