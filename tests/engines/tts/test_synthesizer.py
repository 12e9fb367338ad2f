"""The int8 model under onnxruntime, in one part and streamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import Synthesizer, has_exact_byte_products, load
from appliance.engines.tts.voices import Voices
from appliance.errors import MissingWeights
from appliance.settings import TTSConfig
from tests.engines.tts.contract import SynthesizerContract, cancelled_midway


@pytest.fixture(scope="module", params=[True, False], ids=["streaming", "whole"])
def synthesizer(weights: Path, request: pytest.FixtureRequest) -> Synthesizer:
    return load(TTSConfig(streaming=request.param), weights)


class TestOnnxSynthesizer(SynthesizerContract):
    def test_cancel_stops_the_running_synthesis(
        self, synthesizer: Synthesizer, g2p: G2P, voices: Voices
    ) -> None:
        assert cancelled_midway(synthesizer, g2p, voices)


def test_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"kokoro-v1\.0\.int8\.onnx"):
        load(TTSConfig(), tmp_path)


@pytest.mark.parametrize(
    ("flags", "exact"),
    [("fpu avx2 avx512_vnni", True), ("fpu avx_vnni", True), ("fpu avx2 avx512f", False)],
)
def test_signed_weights_are_used_only_on_cpus_with_exact_int8_sums(
    tmp_path: Path, flags: str, exact: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert has_exact_byte_products(cpuinfo) is exact


def test_unsigned_weights_are_used_without_cpu_information(tmp_path: Path) -> None:
    assert not has_exact_byte_products(tmp_path / "none")
