"""Prediction of the statistics that the vocoder normalizes with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.engines.tts import statistics
from appliance.engines.tts.voices import Voices
from appliance.errors import BadSetting, MissingWeights, UnknownVoice


def test_moments_that_depend_linearly_on_the_silence_are_predicted() -> None:
    random = np.random.default_rng(1)
    true = random.normal(size=(3, 2, 5)).astype(np.float32)
    true[0, 1] += 20  # a variance is positive
    phrases = np.stack([statistics.features(lead, frames) for lead, frames in
                        ((10, 100), (38, 120), (20, 300), (30, 500))])  # fmt: skip
    means, squares = np.tensordot(phrases, true, 1).swapaxes(0, 1)
    fitted = statistics.fit(phrases, means, squares - (means - true[0, 0]) ** 2)
    found = statistics.predict(
        statistics.from_bytes(statistics.to_bytes(fitted), channels=5), 25, 200
    )
    mean, square = np.tensordot(statistics.features(25, 200), true, 1)
    deviations = np.sqrt(square - (mean - true[0, 0]) ** 2 + statistics.EPSILON)
    assert found.inverse_deviations.ravel() == pytest.approx(1 / deviations, rel=1e-2)
    assert found.offsets.ravel() == pytest.approx(mean / deviations, rel=1e-2, abs=1e-3)


def test_impossible_moments_do_not_divide_by_zero() -> None:
    coefficients = np.zeros((3, 2, 5), np.float32)
    coefficients[0, 0] = 3.0  # a mean of 3 with a mean square of 0
    found = statistics.predict(coefficients, 10, 100)
    assert np.isfinite(found.inverse_deviations).all() and np.isfinite(found.offsets).all()


def test_every_voice_has_statistics_and_a_blend_is_their_mean(voices: Voices) -> None:
    for name in voices.names:
        assert np.isfinite(voices.statistics(name)).all()
    first, second = voices.statistics("af_heart"), voices.statistics("am_adam")
    blend = voices.statistics("af_heart:1,am_adam:3")
    assert blend == pytest.approx(0.25 * first + 0.75 * second, rel=1e-4, abs=1e-5)
    with pytest.raises(UnknownVoice):
        voices.statistics("nobody")


def test_missing_and_damaged_statistics_are_named(voices: Voices, tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    (folder / "af_heart.bin").write_bytes(b"")
    with pytest.raises(MissingWeights, match=r"statistics/af_heart\.bin"):
        Voices(folder).statistics("af_heart")
    (tmp_path / "statistics").mkdir()
    (tmp_path / "statistics" / "af_heart.bin").write_bytes(b"short")
    with pytest.raises(BadSetting, match=r"af_heart\.bin: 5 bytes"):
        Voices(folder).statistics("af_heart")


@pytest.mark.parametrize(
    ("speed", "frames", "expected"),
    [
        (1.0, 100, True),
        (0.5, 300, True),
        (2.0, 100, True),
        (1.0, 60, False),
        (0.5, 120, False),  # as short as 60 frames at a speed of 1
        (2.0, 60, False),
        (0.4, 300, False),
        (2.1, 300, False),
    ],
)
def test_only_phrases_like_those_of_the_fit_are_predictable(
    speed: float, frames: int, expected: bool
) -> None:
    assert statistics.is_predictable(speed, frames) is expected
