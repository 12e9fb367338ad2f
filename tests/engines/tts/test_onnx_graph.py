"""The rewritten graph computes the same output as the original, without slow nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
import pytest

from appliance.engines.tts.onnx_graph import fast_graph
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


@pytest.mark.parametrize("signed_weights", [False, True])
def test_rewritten_graph_sounds_like_the_original(
    weights: Path, voices: Voices, signed_weights: bool
) -> None:
    path = weights / "kokoro-82m" / "kokoro-v1.0.int8.onnx"
    original = run(str(path), voices)
    rewritten = run(fast_graph(path, signed_weights), voices)
    assert len(rewritten) == len(original)
    # Biases are no longer rounded, which shifts phases slightly.
    assert np.corrcoef(original, rewritten)[0, 1] > 0.9


def test_rewritten_graph_has_no_slow_convolution(weights: Path) -> None:
    path = weights / "kokoro-82m" / "kokoro-v1.0.int8.onnx"
    model = onnx.load_from_string(fast_graph(path, signed_weights=True))
    assert "ConvInteger" not in {node.op_type for node in model.graph.node}
