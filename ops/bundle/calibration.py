"""Measure the statistics of Kokoro's vocoder for each voice: `python -m ops.bundle statistics`.

appliance/engines/tts/statistics.py explains what they are for. The result is a zip file, which is
part of the repository, because its bytes differ between kinds of CPU: the model runs in int8, and
float sums depend on the instruction set. The differences are far below the rounding to float16, but
the hash in the lock must not depend on the machine that builds an image.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from appliance.engines.tts import statistics
from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.onnx_split import DURATIONS, FEATURES, statistics_model
from appliance.engines.tts.pieces import FRAMES_PER_DURATION
from appliance.engines.tts.statistics import Floats
from appliance.engines.tts.synthesizer import (
    FOLDER,
    ONNX_MODEL,
    OnnxRuntime,
    has_exact_byte_products,
    load_vocabulary,
    onnx_inputs,
)
from appliance.engines.tts.text.normalize import normalize
from appliance.engines.tts.voices import Voices

# Short and long phrases, statements and questions, and the marks that change the end of a phrase.
PHRASES = (
    "Yes.",
    "No.",
    "Okay, sure.",
    "Hello.",
    "Goodbye.",
    "Twelve.",
    "Of course.",
    "I see.",
    "One moment, please.",
    "The capital of Italy is Rome.",
    "Sure, I can help with that.",
    "Water boils at one hundred degrees.",
    "That is a good question.",
    "The Eiffel Tower is in Paris,",
    "I don't know about that.",
    "You can try again later,",
    "Yes, it is.",
    "No, I'm afraid not.",
    "The largest planet is Jupiter.",
    "It depends on where you live,",
    "Thank you for calling.",
    "My name is not important,",
    "The answer is forty two.",
    "People often say that the weather is nice in the south of the country.",
    "Would you like me to repeat the number for you?",
    "Please take the second door on the left, and wait in the blue chairs.",
    "Your appointment with the doctor is on Tuesday morning at ten.",
    "He joined the choir because he enjoys good music.",
    "She sells fresh fish, cheese and vegetables on Thursdays.",
    "Which of these would you like to hear about first?",
    "The train leaves at half past seven from platform nine.",
    "I am sorry to hear that, and I hope you feel better soon.",
    "We measured the temperature of the room every hour.",
)
# Speeds at which every third phrase is measured, too. Without them, the error of the prediction at
# 1.4 and 1.8 is about twice as large. More speeds and more phrases make it no smaller.
OTHER_SPEEDS = (0.75, 1.4)
_DATE = (1980, 1, 1, 0, 0, 0)  # of all members, so that equal content gives an equal zip file
_THREADS = 2


def measure(weights: Path, target: Path, report: Callable[[str], None] = print) -> None:
    """Write the statistics of all voices in `weights` to the zip file `target`.

    Takes about 20 seconds per voice on two cores. Raises MissingWeights.
    """
    folder = weights / FOLDER
    voices, g2p = Voices(folder / "voices"), G2P(weights)
    partial = target.with_name(f".{target.name}.partial")
    bench = _Bench(folder)
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for voice in voices.names:
            british = voices.british(voice)
            texts = [(g2p.phonemes(normalize(t, british), british), s) for t, s in _texts()]
            coefficients = bench.fit(voices, voice, texts)
            member = zipfile.ZipInfo(f"statistics/{voice}.bin", _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, statistics.to_bytes(coefficients))
            report(f"  {voice}: {len(texts)} phrases")
    partial.rename(target)


def _texts() -> Iterator[tuple[str, float]]:
    """Yield each phrase to measure, and its speed."""
    for phrase in PHRASES:
        yield phrase, 1.0
    for speed in OTHER_SPEEDS:
        for phrase in PHRASES[::3]:
            yield phrase, speed


class _Bench:
    """The whole model, with the statistics as outputs."""

    def __init__(self, folder: Path) -> None:
        self._ids = load_vocabulary(folder)
        self._runtime = OnnxRuntime(_THREADS)
        model, self._names = statistics_model(folder / ONNX_MODEL, has_exact_byte_products())
        self._model = self._runtime.load(model)

    def fit(self, voices: Voices, voice: str, texts: Iterable[tuple[str, float]]) -> Floats:
        """Return the coefficients of a voice. `texts` are phonemes and their speed."""
        measured = zip(
            *(self._measure(voices, voice, phonemes, speed) for phonemes, speed in texts),
            strict=True,
        )
        return statistics.fit(*map(np.stack, measured))

    def _measure(
        self, voices: Voices, voice: str, phonemes: str, speed: float
    ) -> tuple[Floats, Floats, Floats]:
        """Return the features of one phrase, and mean and variance of each channel."""
        style = voices.style(voice, len(phonemes))
        names = [output.name for output in self._model.get_outputs()]
        values = self._runtime.run(self._model, onnx_inputs(phonemes, self._ids, style, speed))
        outputs = dict(zip(names, values, strict=True))
        lead_frames = FRAMES_PER_DURATION * float(np.ravel(outputs[DURATIONS])[0])
        mean, variance = (
            np.concatenate([np.ravel(outputs[pair[moment]]) for pair in self._names])
            for moment in range(2)
        )
        features = statistics.features(lead_frames, outputs[FEATURES].shape[2])
        return features, mean, variance
