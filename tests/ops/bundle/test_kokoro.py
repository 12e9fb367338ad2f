"""Kokoro's tensors under the names of the `kokoro` package, and what is refused.

tests/torch/test_weights.py tests the conversion of pickles that PyTorch wrote.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.tts import synthesizer, voices
from appliance.errors import BadCheckpoint, PackageUnavailable
from ops.bundle import kokoro
from ops.bundle.hub_config import KOKORO_FOLDER
from ops.bundle.kokoro import MODULES, convert, state_dict

PATH = Path("kokoro-v1_0.pth")
ONE = np.ones(2, np.float32)
WHOLE = {f"{module}.module.weight": ONE for module in MODULES}


def test_file_names_and_shapes_are_those_that_the_synthesizer_reads() -> None:
    assert kokoro.MODEL == synthesizer.TORCH_MODEL
    assert KOKORO_FOLDER == synthesizer.FOLDER
    assert kokoro.PACK_SHAPE == (voices.LENGTHS, 1, voices.WIDTH)


def test_module_prefix_of_training_is_removed() -> None:
    assert set(state_dict(PATH, WHOLE)) == {f"{module}.weight" for module in MODULES}


def test_tensors_become_float32_and_position_ids_are_dropped() -> None:
    more: dict[str, kokoro.Array] = {
        "bert.module.embeddings.position_ids": np.arange(5),
        "bert.module.half": ONE.astype(np.float16),
    }
    tensors = state_dict(PATH, WHOLE | more)
    assert "bert.embeddings.position_ids" not in tensors
    assert {values.dtype for values in tensors.values()} == {np.dtype("<f4")}


@pytest.mark.parametrize("name", ["encode.norm1", "generator.resblocks.0.adain2.1"])
def test_styled_norm_gets_the_parameters_that_the_package_requires(name: str) -> None:
    styled = {f"decoder.module.{name}.fc.bias": np.zeros(8, np.float32)}
    tensors = state_dict(PATH, WHOLE | styled)
    assert tensors[f"decoder.{name}.norm.weight"].tolist() == [1.0] * 4
    assert tensors[f"decoder.{name}.norm.bias"].tolist() == [0.0] * 4


def test_norm_with_parameters_keeps_them() -> None:
    styled = {
        "decoder.module.encode.norm1.fc.bias": np.zeros(4, np.float32),
        "decoder.module.encode.norm1.norm.weight": 3 * ONE,
    }
    assert state_dict(PATH, WHOLE | styled)["decoder.encode.norm1.norm.weight"].tolist() == [3, 3]


def test_other_linear_layers_get_no_norm_parameters() -> None:
    other = {"predictor.module.text_encoder.lstms.1.fc.bias": ONE}
    assert not [name for name in state_dict(PATH, WHOLE | other) if "norm" in name]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"discriminator.weight": ONE}, "discriminator"),
        ({"bert.module.bad": np.array([1.0, np.nan])}, r"bert\.bad contains NaN or infinity"),
    ],
)
def test_tensors_of_another_model_or_nan_are_refused(
    change: dict[str, kokoro.Array], complaint: str
) -> None:
    with pytest.raises(BadCheckpoint, match=complaint):
        state_dict(PATH, WHOLE | change)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_missing_pytorch_is_an_error_that_names_ops_weights(tmp_path: Path) -> None:
    with pytest.raises(PackageUnavailable, match=r"torch.*ops/weights"):
        convert(tmp_path, tmp_path / "target")
