"""The PyTorch back end passes the contract and sounds nearly like the onnxruntime back end."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import Synthesizer, load
from appliance.engines.tts.voices import Voices
from appliance.errors import BadSetting, MissingWeights
from appliance.gpu_proof.spectra import similarity
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.settings import TTSConfig
from tests.engines.tts.contract import SENTENCES, SynthesizerContract, synthesize
from tests.recognizer import words

ON_CPU = TTSConfig(backend="torch", device="cpu")


@pytest.fixture(scope="module")
def synthesizer(torch_weights: Path) -> Synthesizer:
    return load(ON_CPU, torch_weights)


@pytest.fixture(scope="module")
def onnx_synthesizer(weights: Path) -> Synthesizer:
    return load(TTSConfig(streaming=False), weights)  # streamed speech lacks the silence around it


class TestTorchSynthesizer(SynthesizerContract):
    @pytest.mark.parametrize("sentence", SENTENCES)
    def test_speech_matches_the_onnx_back_end(
        self,
        synthesizer: Synthesizer,
        onnx_synthesizer: Synthesizer,
        g2p: G2P,
        voices: Voices,
        sentence: str,
    ) -> None:
        actual = synthesize(synthesizer, g2p, voices, sentence)
        expected = synthesize(onnx_synthesizer, g2p, voices, sentence)
        assert words(actual, OUTPUT_SAMPLE_RATE) == words(expected, OUTPUT_SAMPLE_RATE)
        assert abs(len(actual) - len(expected)) <= 0.03 * len(expected)
        # Measured: 0.95 and 0.97; other voices have 0.6 to 0.8, other sentences 0.5.
        assert similarity(actual, expected) > 0.9


def test_missing_safetensors_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="safetensors"):
        load(ON_CPU, tmp_path)


def test_missing_gpu_is_a_clear_error(torch_weights: Path) -> None:
    if importlib.import_module("torch").cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BadSetting, match="cuda"):
        load(TTSConfig(backend="torch", device="cuda"), torch_weights)


@pytest.mark.parametrize("library", ["phonemizer", "espeakng_loader"])
def test_gpl_library_is_not_installed(library: str) -> None:
    assert importlib.util.find_spec(library) is None


def test_load_imports_no_gpl_library(torch_weights: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from appliance.engines.tts.synthesizer import load
from appliance.settings import TTSConfig
load(TTSConfig(backend="torch", device="cpu"), Path({str(torch_weights)!r}))
print([name for name in ("phonemizer", "espeakng_loader", "misaki") if name in sys.modules])
"""
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "[]"
