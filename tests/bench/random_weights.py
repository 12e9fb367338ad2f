"""Write a model folder of the real shape with random weights, for use without the licensed model.

Shapes and token ids are those of Ultravox v0.5 on Llama 3.1 8B. The tokenizer has as many tokens,
of similar length. The replies of such a model are meaningless.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from appliance.weights import checkpoint
from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.folder import INDEX, StoredTensors
from appliance.weights.checkpoint.safetensors import ITEM_BYTES, Tensor, header
from appliance.weights.checkpoint.tensors import expected
from ops.bundle.fetch import check_disk_space
from ops.bundle.shards import SHARD_BYTES, plan_shards
from tests.bench.synthetic_tokenizer import AUDIO_TOKEN, ORDINARY, make_tokenizer

SCHEMES = ("", "fp8", "int8", "w4a16")
SIZES = tuple(f"{size}-{scheme}".strip("-") for size in ("8b", "tiny") for scheme in SCHEMES)
_BLOCK_BYTES = 8 << 20
_SPREAD = 0.02  # standard deviation of the weights, as in Llama's initialisation


def write(folder: Path, size: str, shard_bytes: int = SHARD_BYTES) -> checkpoint.Checkpoint:
    """Write the folder shard by shard, and read it back.

    `size` is one of SIZES; sizes with a scheme have a quantized Llama. Raises ValueError for any
    other size, and NoSpace.
    """
    if size not in SIZES:
        raise ValueError(f"{size!r} is not one of {', '.join(SIZES)}")
    base, _, scheme = size.partition("-")
    tree = config(base, scheme)
    shape = configs.parse(folder / "config.json", tree)
    tensors: dict[str, tuple[Path, Tensor]] = {}
    for name, spec in expected(shape).items():
        items = math.prod(spec.shapes[0])
        end = items * ITEM_BYTES[spec.dtypes[0]]
        tensors[name] = (folder, Tensor(name, spec.dtypes[0], spec.shapes[0], 0, end))
    check_disk_space(folder.parent, sum(tensor.end for _, tensor in tensors.values()))
    folder.mkdir(parents=True)
    for file, content in _jsons(tree, configs.processor(shape)).items():
        (folder / file).write_text(json.dumps(content), encoding="utf-8")
    try:
        shards = plan_shards(tensors, shard_bytes)
        random = np.random.default_rng(1)
        blocks = {dtype: _block(random, dtype) for dtype in ("BF16", "F8_E4M3", "I8", "I32")}
        for shard, names in shards.items():
            contents = [tensors[name][1] for name in names]
            with (folder / shard).open("wb") as out:
                out.write(header((one.name, one.dtype, one.shape) for one in contents))
                for tensor in contents:
                    if tensor.name.endswith(".weight_shape"):
                        out.write(_unpacked_shape(tensors, tensor.name))
                    else:
                        out.writelines(_content(tensor, scheme, blocks, random))
        if len(shards) > 1:
            files = {name: shard for shard, names in shards.items() for name in names}
            index = {"metadata": {}, "weight_map": files}
            (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
        return checkpoint.read(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise


def config(size: str, scheme: str = "") -> dict[str, Any]:
    """Return config.json of the real model, or of a tiny model with the same vocabulary."""
    is_real = size == "8b"
    audio = {
        "model_type": "whisper",
        "d_model": 1280 if is_real else 64,
        "encoder_layers": 32 if is_real else 2,
        "encoder_attention_heads": 20 if is_real else 2,
        "encoder_ffn_dim": 5120 if is_real else 128,
        "decoder_layers": 4,
        "decoder_attention_heads": 20 if is_real else 2,
        "decoder_ffn_dim": 5120 if is_real else 128,
        "num_mel_bins": 128,
        "max_source_positions": 1500,
        "activation_function": "gelu",
        "vocab_size": 51866,
    }
    text = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 4096 if is_real else 64,
        "intermediate_size": 14336 if is_real else 256,
        "num_hidden_layers": 32 if is_real else 2,
        "num_attention_heads": 32 if is_real else 2,
        "num_key_value_heads": 8 if is_real else 1,
        "head_dim": 128 if is_real else 32,
        "vocab_size": AUDIO_TOKEN,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "tie_word_embeddings": False,
        "bos_token_id": ORDINARY,
        "eos_token_id": [128001, 128008, 128009],
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
    }
    tree: dict[str, Any] = {
        "architectures": ["UltravoxModel"],
        "model_type": "ultravox",
        "audio_config": audio,
        "text_config": text,
        "audio_model_id": None,
        "text_model_id": None,
        "audio_token_index": AUDIO_TOKEN,
        "hidden_size": 4096 if is_real else 64,
        "stack_factor": 8,
        "projector_act": "swiglu",
        "projector_ln_mid": True,
        "norm_init": 0.4,
        "pad_token_id": 128009,
        "vocab_size": AUDIO_TOKEN,
        "torch_dtype": "bfloat16",
    }
    if scheme:
        tree["quantization_config"] = _quantization(scheme, 128 if is_real else 32)
    return tree


def _quantization(scheme: str, group_size: int) -> dict[str, Any]:
    kind = "float" if scheme == "fp8" else "int"
    inputs = {"type": kind, "num_bits": 8, "strategy": "token", "dynamic": True, "symmetric": True}
    weights = {**inputs, "strategy": "channel", "dynamic": False}
    if scheme == "w4a16":
        weights |= {"num_bits": 4, "strategy": "group", "group_size": group_size}
    form = {"fp8": "float-quantized", "int8": "int-quantized", "w4a16": "pack-quantized"}[scheme]
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None if scheme == "w4a16" else inputs,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head", "re:audio_tower.*", "re:multi_modal_projector.*"],
    }


def _jsons(tree: dict[str, Any], processor: dict[str, object]) -> dict[str, dict[str, Any]]:
    marks = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|eot_id|>"}
    return {
        "config.json": tree,
        "generation_config.json": {
            "bos_token_id": 128000,
            "eos_token_id": [128001, 128008, 128009],
        },
        "processor_config.json": processor,
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": 128,
            "sampling_rate": 16000,
            "hop_length": 160,
            "n_fft": 400,
            "chunk_length": 30,
            "n_samples": 480000,
            "nb_max_frames": 3000,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
        },
        "tokenizer.json": make_tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 131072,
            "clean_up_tokenization_spaces": False,
            **marks,
        },
    }


def _block(random: np.random.Generator, dtype: str) -> memoryview:
    """Return random content that is reused from random offsets."""
    if dtype == "BF16":
        values = random.normal(0, _SPREAD, _BLOCK_BYTES // 2).astype(np.float32)
        return memoryview((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    content = random.integers(0, 256, _BLOCK_BYTES, np.uint8)
    if dtype == "F8_E4M3":
        content &= 0xBF  # exponents below 8: values below 2, and never NaN
    return memoryview(content.tobytes())


# Scales that give quantized weights the same spread as the other weights.
_SCALE = {"fp8": _SPREAD / 0.7, "int8": _SPREAD / 74, "w4a16": _SPREAD / 4.6}


def _content(
    tensor: Tensor, scheme: str, blocks: dict[str, memoryview], random: np.random.Generator
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a tensor in chunks."""
    name = tensor.name.rpartition(".")[2]
    constant = {"weight_scale": _SCALE.get(scheme, 1.0), "bias": 0.0}.get(name)
    if constant is None and len(tensor.shape) == 1:
        constant = 1.0  # a norm
    if constant is not None:
        yield _bfloat16(constant) * tensor.element_count
        return
    block, missing = blocks[tensor.dtype], tensor.size_bytes
    item = ITEM_BYTES[tensor.dtype]
    start = int(random.integers(len(block) // item)) * item
    while missing:
        piece = block[start : start + missing]
        yield piece
        missing -= len(piece)
        start = 0


def _unpacked_shape(tensors: StoredTensors, name: str) -> bytes:
    """Return the shape of a linear layer before packing eight four-bit values into an int32."""
    _, packed = tensors[name.replace("weight_shape", "weight_packed")]
    outputs, words = packed.shape
    return np.array([outputs, words * 8], "<i8").tobytes()


def _bfloat16(value: float) -> bytes:
    return (np.array([value], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.random_weights")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(arguments)
    print(write(args.folder, args.size))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
