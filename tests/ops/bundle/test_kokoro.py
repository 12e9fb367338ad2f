"""Kokoro's tensors under the names of the package's model, and what is refused.

The conversion itself, of pickles that PyTorch wrote, is in tests/torch/test_weights.py.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.tts import synthesizer, voices
from appliance.errors import BadCheckpoint, PackageUnavailable
from ops.bundle import kokoro
from ops.bundle.kokoro import MODULES, convert, state
from ops.bundle.repositories import KOKORO_FOLDER

PATH = Path("kokoro-v1_0.pth")
ONE = np.ones(2, np.float32)
WHOLE = {f"{module}.module.weight": ONE for module in MODULES}


def test_the_names_of_files_are_those_that_the_synthesizer_reads() -> None:
    assert kokoro.MODEL == synthesizer.TORCH_MODEL
    assert KOKORO_FOLDER == synthesizer.FOLDER
    assert kokoro.PACK_SHAPE == (voices.LENGTHS, 1, voices.WIDTH)


def test_what_training_put_before_the_names_is_left_out() -> None:
    assert set(state(PATH, WHOLE)) == {f"{module}.weight" for module in MODULES}


def test_all_becomes_float32_and_what_counts_positions_is_left_out() -> None:
    more: dict[str, kokoro.Array] = {
        "bert.module.embeddings.position_ids": np.arange(5),
        "bert.module.half": ONE.astype(np.float16),
    }
    found = state(PATH, WHOLE | more)
    assert "bert.embeddings.position_ids" not in found
    assert {values.dtype for values in found.values()} == {np.dtype("<f4")}


@pytest.mark.parametrize("name", ["encode.norm1", "generator.resblocks.0.adain2.1"])
def test_a_styled_norm_gets_the_parameters_that_the_package_wants(name: str) -> None:
    styled = {f"decoder.module.{name}.fc.bias": np.zeros(8, np.float32)}
    found = state(PATH, WHOLE | styled)
    assert found[f"decoder.{name}.norm.weight"].tolist() == [1.0] * 4
    assert found[f"decoder.{name}.norm.bias"].tolist() == [0.0] * 4


def test_a_norm_that_has_parameters_keeps_them() -> None:
    styled = {
        "decoder.module.encode.norm1.fc.bias": np.zeros(4, np.float32),
        "decoder.module.encode.norm1.norm.weight": 3 * ONE,
    }
    assert state(PATH, WHOLE | styled)["decoder.encode.norm1.norm.weight"].tolist() == [3, 3]


def test_other_linear_layers_get_none() -> None:
    other = {"predictor.module.text_encoder.lstms.1.fc.bias": ONE}
    assert not [name for name in state(PATH, WHOLE | other) if "norm" in name]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"discriminator.weight": ONE}, "discriminator"),
        ({"bert.module.bad": np.array([1.0, np.nan])}, r"bert\.bad holds what is no number"),
    ],
)
def test_what_cannot_be_the_model_is_refused(
    change: dict[str, kokoro.Array], complaint: str
) -> None:
    with pytest.raises(BadCheckpoint, match=complaint):
        state(PATH, WHOLE | change)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is here")
def test_without_pytorch_the_error_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(PackageUnavailable, match=r"torch.*ops/weights"):
        convert(tmp_path, tmp_path / "target")
