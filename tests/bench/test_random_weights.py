"""Model folders with random weights, in the tiny size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.engines.llm.vllm.vocabulary import SealedVocabulary
from appliance.weights.checkpoint import read
from appliance.weights.checkpoint.folder import SINGLE
from tests.bench.random_weights import SCHEMES, write
from tests.golden.parts import load


@pytest.mark.parametrize("scheme", SCHEMES)
def test_folder_is_a_complete_model(tmp_path: Path, scheme: str) -> None:
    folder = tmp_path / "model"
    written = write(folder, f"tiny-{scheme}" if scheme else "tiny", shard_bytes=20_000_000)
    assert written == read(folder)
    assert written.quantization == scheme
    assert (written.vocabulary_size, written.audio_token) == (128_256, 128_256)
    assert len(list(folder.glob("*.safetensors"))) == 2


def test_every_weight_is_finite(tmp_path: Path) -> None:
    write(tmp_path / "model", "tiny-fp8")
    for name, stored in load(tmp_path / "model" / SINGLE).items():
        if stored.dtype == "BF16":
            halves = np.frombuffer(stored.data, "<u2")
            assert ((halves & 0x7F80) != 0x7F80).all(), name
        else:
            assert ((np.frombuffer(stored.data, "u1") & 0x7F) != 0x7F).all(), name


def test_tokenizer_has_the_size_and_special_tokens_of_the_real_tokenizer(
    tmp_path: Path,
) -> None:
    write(tmp_path / "model", "tiny")
    vocabulary = SealedVocabulary.load(tmp_path / "model")
    special = ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eom_id")
    ids = [vocabulary.special(f"<|{name}|>") for name in (*special, "eot_id", "python_tag")]
    assert ids == [128_000, 128_001, 128_006, 128_007, 128_008, 128_009, 128_010]
    assert vocabulary.special("<|reserved_special_token_247|>") == 128_255
    assert vocabulary.audio == 128_256
    text = "Here is a sentence of which most would be one token a word. Ünïcode: 漢字."
    tokens = vocabulary.tokenize(text)
    assert vocabulary.decode(tokens) == text
    assert len(tokens) < len(text) / 1.8


def test_unknown_size_is_refused_and_known_sizes_listed(tmp_path: Path) -> None:
    for size in ("70b", "8b-gguf", "8B"):
        with pytest.raises(ValueError, match="not one of 8b, 8b-fp8"):
            write(tmp_path / "model", size)
    assert not (tmp_path / "model").exists()
