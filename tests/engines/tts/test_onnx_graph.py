"""The rewritten graph computes the same output as the original, without slow nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
import pytest

from appliance.engines.tts.onnx_graph import fast_graph, rewrite
from appliance.engines.tts.synthesizer import has_exact_byte_products
from appliance.engines.tts.voices import Voices


def run(model: str | bytes, voices: Voices) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    tokens = [0, 50, 83, 54, 156, 31, 16, 81, 156, 86, 123, 4, 0]  # həlˈO ðˈɛɹ.
    (samples,) = session.run(
        None,
        {
            "tokens": np.array([tokens], np.int64),
            "style": voices.style("af_heart", 11),
            "speed": np.ones(1, np.float32),
        },
    )
    return np.asarray(samples)


@pytest.fixture(scope="module")
def original(weights: Path, voices: Voices) -> np.ndarray:
    return run(str(weights / "kokoro-82m" / "kokoro-v1.0.int8.onnx"), voices)


@pytest.mark.parametrize("signed_weights", [False, True])
def test_rewritten_graph_sounds_like_the_original(
    weights: Path, voices: Voices, original: np.ndarray, signed_weights: bool
) -> None:
    path = weights / "kokoro-82m" / "kokoro-v1.0.int8.onnx"
    rewritten = run(fast_graph(path, signed_weights), voices)
    assert len(rewritten) == len(original)
    # Biases are no longer rounded, which shifts phases slightly.
    assert np.corrcoef(original, rewritten)[0, 1] > 0.9


def test_rewritten_graph_has_no_slow_convolution(weights: Path) -> None:
    path = weights / "kokoro-82m" / "kokoro-v1.0.int8.onnx"
    model = onnx.load_from_string(fast_graph(path, signed_weights=True))
    assert "ConvInteger" not in {node.op_type for node in model.graph.node}


def test_chosen_convolutions_are_computed_in_float_and_sound_alike(
    weights: Path, voices: Voices
) -> None:
    path = weights / "kokoro-82m" / "kokoro-v1.0.int8.onnx"
    model = onnx.load(str(path))
    chosen = [n.name for n in model.graph.node if "generator/resblocks.4" in n.name]
    chosen = [name for name in chosen if name.endswith("/Conv_quant")]
    rewrite(model.graph, has_exact_byte_products(), chosen.__contains__)
    in_float = [n for n in model.graph.node if n.name.endswith("/Conv_quant/float")]
    assert len(in_float) == len(chosen) == 6
    expected = run(fast_graph(path, has_exact_byte_products()), voices)
    actual = run(model.SerializeToString(), voices)
    # Less rounding shifts phases slightly. Weights with a wrong scale are heard at once.
    assert np.corrcoef(expected, actual)[0, 1] > 0.9
