"""Silero VAD: the probability of a voice in windows of 32 ms. All calls share the model.

After a reset, the model answers digital silence in the same way in every call. It computes that
once in a process, and looks it up afterwards: for muted microphones, and for clients that suppress
noise or play recordings. Windows that are known in advance (`announce`) are encoded at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from appliance.gateway.turns.silero_network import SAMPLES, UNITS, Floats, SileroNetwork

WINDOW = 512  # samples
CONTEXT = SAMPLES - WINDOW  # samples of the window before, which the model hears, too
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
    """The model of the process."""

    def __init__(self, network: SileroNetwork) -> None:
        self._network = network
        self._silence: list[Answer] = []

    def encode(self, samples: Floats) -> Floats:
        """Encode windows with their context, shape (windows, CONTEXT + WINDOW), in -1 to 1."""
        return self._network.encode(samples)

    def answer(self, encoded: Floats, state: Floats) -> Answer:
        """Return the answer to an encoded window."""
        return Answer(*self._network.step(encoded, state))

    def silence(self, number: int) -> Answer:
        """Return the answer to window `number` of digital silence since a reset, from 0."""
        while len(self._silence) <= number:
            state = self._silence[-1].state if self._silence else no_state()
            (encoded,) = self.encode(no_samples())
            self._silence.append(self.answer(encoded, state))
        return self._silence[number]


class Silero:
    """The detector of one call."""

    def __init__(self, model: SileroModel) -> None:
        self.model = model
        self.reset_states()

    def reset_states(self) -> None:
        """Forget what was heard. Pipecat calls this in clear silence, about every two seconds."""
        self._samples = no_samples()  # the latest window after its context
        self._state = no_state()
        self._silent_windows = 0  # since the reset, or HEARD
        self._encoded: deque[tuple[bytes, Floats]] = deque()  # windows that were announced

    def announce(self, windows: Sequence[bytes]) -> None:
        """Encode the next windows at once. `probability` is then called with each of them."""
        if all(window == SILENT_WINDOW for window in windows):
            return  # probably looked up
        sound = np.frombuffer(b"".join(windows), "<i2").reshape(-1, WINDOW) / FULL_SCALE
        samples = np.empty((len(windows), CONTEXT + WINDOW), dtype=np.float32)
        samples[:, CONTEXT:] = sound
        samples[0, :CONTEXT] = self._samples[0, WINDOW:]
        samples[1:, :CONTEXT] = sound[:-1, -CONTEXT:]
        self._encoded = deque(zip(windows, self.model.encode(samples), strict=True))

    def probability(self, window: bytes) -> float:
        """Return the probability of a voice in a window of `WINDOW` int16 samples."""
        announced = self._encoded.popleft() if self._encoded else None
        if 0 <= self._silent_windows < KEPT_ANSWERS and window == SILENT_WINDOW:
            answer = self.model.silence(self._silent_windows)
            self._silent_windows += 1
        else:
            self._silent_windows = HEARD
            samples = self._samples
            samples[0, :CONTEXT] = samples[0, WINDOW:]
            np.divide(np.frombuffer(window, "<i2"), FULL_SCALE, out=samples[0, CONTEXT:])
            if announced is not None and announced[0] == window:
                encoded = announced[1]
            else:
                (encoded,) = self.model.encode(samples)
            answer = self.model.answer(encoded, self._state)
        self._state = answer.state
        return answer.probability


def no_samples() -> Floats:
    """Return a silent input of the model, context included."""
    return np.zeros((1, SAMPLES), dtype=np.float32)


def no_state() -> Floats:
    """Return the state of a model that has heard nothing."""
    return np.zeros((2, UNITS), dtype=np.float32)
