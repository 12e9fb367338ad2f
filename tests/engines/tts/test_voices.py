"""Voice packs and blends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.tts.voices import LENGTHS, WIDTH, Voices
from appliance.errors import BadSetting, MissingWeights, UnknownVoice


def test_all_english_voices_are_listed(voices: Voices) -> None:
    assert len(voices.names) == 28
    assert {name[:2] for name in voices.names} == {"af", "am", "bf", "bm"}


def test_style_depends_on_the_number_of_phonemes(voices: Voices, weights: Path) -> None:
    pack = np.fromfile(weights / "kokoro-82m/voices/af_heart.bin", "<f4").reshape(LENGTHS, 1, WIDTH)
    assert np.array_equal(voices.style("af_heart", 1), pack[0])
    assert np.array_equal(voices.style("af_heart", 40), pack[39])
    assert np.array_equal(voices.style("af_heart", 9999), pack[509])


def test_blend_is_the_weighted_mean(voices: Voices) -> None:
    blend = voices.style("af_heart:2, am_adam:1", 40)
    expected = (2 * voices.style("af_heart", 40) + voices.style("am_adam", 40)) / 3
    assert np.allclose(blend, expected, atol=1e-6)
    assert blend.shape == (1, WIDTH)


def test_blend_without_weights_is_an_equal_mix(voices: Voices) -> None:
    even = voices.style("af_heart,am_adam", 7)
    assert np.allclose(even, voices.style("af_heart:1,am_adam:1", 7))


@pytest.mark.parametrize(
    "voice",
    ["zz_nobody", "", "af_heart:", "af_heart:-1", "af_heart:nan", "af_heart,", "../x", "a:b:c"],
)
def test_unknown_voice_is_rejected_with_a_list_of_voices(voices: Voices, voice: str) -> None:
    with pytest.raises(UnknownVoice, match="af_heart, af_jessica"):
        voices.check(voice)


def test_accent_is_that_of_the_voice_with_the_largest_weight(voices: Voices) -> None:
    assert voices.british("bf_emma")
    assert not voices.british("bf_emma:1,af_heart:2")


def test_safetensors_pack_yields_the_same_style(
    voices: Voices, weights: Path, tmp_path: Path
) -> None:
    raw = (weights / "kokoro-82m/voices/af_heart.bin").read_bytes()
    entry = {"dtype": "F32", "shape": [LENGTHS, 1, WIDTH], "data_offsets": [0, len(raw)]}
    header = json.dumps({"__metadata__": {"a": "b"}, "voice": entry}).encode()
    (tmp_path / "af_mine.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + raw)
    copied = Voices(tmp_path)
    assert np.array_equal(copied.style("af_mine", 33), voices.style("af_heart", 33))


@pytest.mark.parametrize("name", ["af_bad.bin", "af_bad.safetensors"])
def test_damaged_pack_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x05\0\0\0\0\0\0\0{}...")
    with pytest.raises(BadSetting, match="af_bad"):
        Voices(tmp_path).style("af_bad", 3)


def test_folder_without_voices_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights):
        Voices(tmp_path)
