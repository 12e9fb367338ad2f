"""The int8 model under onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import Synthesizer, _multiplies_bytes, load
from appliance.engines.tts.voices import Voices
from appliance.errors import MissingWeights
from appliance.settings import TTSConfig
from tests.engines.tts.contract import SynthesizerContract, cancelled_midway


@pytest.fixture(scope="module")
def synthesizer(weights: Path) -> Synthesizer:
    return load(TTSConfig(), weights)


class TestOnnxSynthesizer(SynthesizerContract):
    def test_cancelling_ends_the_speech_under_way(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        assert cancelled_midway(synthesizer, g2p, voices)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"kokoro-v1\.0\.int8\.onnx"):
        load(TTSConfig(), tmp_path)


@pytest.mark.parametrize(
    ("flags", "exact"),
    [("fpu avx2 avx512_vnni", True), ("fpu avx_vnni", True), ("fpu avx2 avx512f", False)],
)
def test_signed_bytes_are_used_only_where_the_processor_sums_them_exactly(
    tmp_path: Path, flags: str, exact: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert _multiplies_bytes(cpuinfo) is exact


def test_without_processor_information_the_safe_way_is_taken(tmp_path: Path) -> None:
    assert not _multiplies_bytes(tmp_path / "none")
