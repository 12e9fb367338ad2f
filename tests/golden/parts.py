"""Split the golden checkpoint into parts like the published ones, with an optional quantized Llama.

Like the published repositories, `adapter`, `text` and `features` have remote ids, an `auto_map` and
files of code, and the Llama's tensors have no prefix.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from appliance.weights.checkpoint.safetensors import header, read_header

CHECKPOINT = Path(__file__).with_name("ultravox-tiny") / "checkpoint"
PREFIX = "language_model."


class Stored(NamedTuple):
    """A tensor as stored in a file."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def load(path: Path) -> dict[str, Stored]:
    """Read all tensors of a small safetensors file."""
    content = path.read_bytes()
    return {
        tensor.name: Stored(tensor.dtype, tensor.shape, content[tensor.begin : tensor.end])
        for tensor in read_header(path)
    }


def save(path: Path, tensors: Mapping[str, Stored]) -> None:
    head = header((name, stored.dtype, stored.shape) for name, stored in tensors.items())
    path.write_bytes(head + b"".join(stored.data for stored in tensors.values()))


def edit(path: Path, **changes: Any) -> dict[str, Any]:
    """Change keys of a JSON file; None removes a key. Return the new content."""
    tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    tree |= changes
    tree = {key: value for key, value in tree.items() if value is not None or key not in changes}
    path.write_text(json.dumps(tree), encoding="utf-8")
    return tree


def take_apart(folder: Path, scheme: str = "", shards: int = 1) -> tuple[Path, Path, Path]:
    """Write adapter, text and features to subfolders of `folder`, and return their paths."""
    adapter, text, features = folder / "adapter", folder / "text", folder / "features"
    for path in (adapter, text, features):
        path.mkdir(parents=True)
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    llama = config.pop("text_config")
    config["text_model_id"] = "meta-llama/Llama-3.1-8B-Instruct"
    config["auto_map"] = {"AutoModel": "ultravox_model.UltravoxModel"}
    config["custom_pipelines"] = {
        "ultravox-pipeline": {"impl": "ultravox_pipeline.UltravoxPipeline"}
    }
    config["audio_config"]["_name_or_path"] = "openai/whisper-large-v3-turbo"
    (adapter / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("generation_config", "processor_config", "tokenizer", "tokenizer_config"):
        shutil.copy(CHECKPOINT / f"{name}.json", adapter)
    auto_map = {"AutoProcessor": "ultravox_processing.UltravoxProcessor"}
    edit(adapter / "processor_config.json", auto_map=auto_map)
    edit(adapter / "tokenizer_config.json", chat_template="{{ bos_token }}")
    shutil.copy(CHECKPOINT / "special_tokens_map.json", adapter)
    (adapter / "README.md").write_text("A model card.", encoding="utf-8")
    (adapter / "ultravox_model.py").write_text("raise SystemExit\n", encoding="utf-8")
    shutil.copy(CHECKPOINT / "preprocessor_config.json", features)

    tensors = load(CHECKPOINT / "model.safetensors")
    own = {name: stored for name, stored in tensors.items() if not name.startswith(PREFIX)}
    save(adapter / "model.safetensors", own)
    rest = {
        name.removeprefix(PREFIX): stored
        for name, stored in tensors.items()
        if name.startswith(PREFIX)
    }
    llama["_name_or_path"] = "meta-llama/Llama-3.1-8B-Instruct"
    if scheme:
        rest, llama["quantization_config"] = quantize(rest, scheme)
    (text / "config.json").write_text(json.dumps(llama), encoding="utf-8")
    (text / "LICENSE").write_text("A licence.", encoding="utf-8")
    _save_shards(text, rest, shards)
    return adapter, text, features


def quantize(
    tensors: Mapping[str, Stored], scheme: str
) -> tuple[dict[str, Stored], dict[str, Any]]:
    """Quantize the linear layers of a Llama as llm-compressor does. Returns tensors and config.

    int8   int8 weights per output channel, dynamic inputs per token
    fp8    float8_e4m3 weights per output channel, dynamic inputs per token
    w4a16  four-bit weights in groups of 32 inputs, symmetric, eight to an int32
    """
    quantized: dict[str, Stored] = {}
    for name, stored in sorted(tensors.items()):
        module, _, ending = name.rpartition(".")
        if ending == "weight" and module.endswith("_proj"):
            parts = _PACK[scheme](floats(stored))
            quantized |= {f"{module}.{part}": value for part, value in parts}
        else:
            quantized[name] = stored
    inputs = {"type": "float" if scheme == "fp8" else "int", "num_bits": 8, "symmetric": True}
    inputs |= {"dynamic": True, "strategy": "token"}
    weights = {**inputs, "dynamic": False, "strategy": "channel"}
    form = {"int8": "int-quantized", "fp8": "float-quantized", "w4a16": "pack-quantized"}[scheme]
    if scheme == "w4a16":
        weights |= {"num_bits": 4, "strategy": "group", "group_size": _GROUP}
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None if scheme == "w4a16" else inputs,
        "output_activations": None,
    }
    return quantized, {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }


_GROUP = 32
Parts = Iterator[tuple[str, Stored]]


def _int8(weight: np.ndarray) -> Parts:
    scale = to_bfloat16(np.abs(weight).max(axis=1, keepdims=True) / 127)
    values = np.clip(np.round(weight / floats(scale)), -128, 127).astype("<i1")
    yield "weight", Stored("I8", weight.shape, values.tobytes())
    yield "weight_scale", scale


def _fp8(weight: np.ndarray) -> Parts:
    scale = to_bfloat16(np.abs(weight).max(axis=1, keepdims=True) / 448)
    bits = np.arange(127, dtype=np.uint8)  # the positive numbers; 127 is NaN
    exponent, mantissa = bits >> 3, (bits & 7) / 8.0
    representable = np.where(
        exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7.0)
    )
    magnitudes = np.minimum(np.abs(weight / floats(scale)), representable[-1])
    values = np.searchsorted((representable[1:] + representable[:-1]) / 2, magnitudes).astype(
        np.uint8
    )
    values |= np.where(weight < 0, 128, 0).astype(np.uint8)
    yield "weight", Stored("F8_E4M3", weight.shape, values.tobytes())
    yield "weight_scale", scale


def _w4a16(weight: np.ndarray) -> Parts:
    outputs, inputs = weight.shape
    groups = weight.reshape(outputs, inputs // _GROUP, _GROUP)
    scale = to_bfloat16(np.abs(groups).max(axis=2) / 7)
    steps = np.round(groups / floats(scale)[:, :, None])
    values = (np.clip(steps, -8, 7) + 8).astype(np.uint32).reshape(outputs, inputs // 8, 8)
    packed = (values << (4 * np.arange(8, dtype=np.uint32))).sum(axis=2, dtype=np.uint32)
    yield "weight_packed", Stored("I32", packed.shape, packed.astype("<u4").tobytes())
    yield "weight_scale", scale
    yield "weight_shape", Stored("I64", (2,), np.array(weight.shape, "<i8").tobytes())


_PACK = {"int8": _int8, "fp8": _fp8, "w4a16": _w4a16}


def floats(stored: Stored) -> np.ndarray:
    """Convert bfloat16, which is the upper half of a float32."""
    halves = np.frombuffer(stored.data, "<u2").astype(np.uint32) << 16
    return halves.view(np.float32).reshape(stored.shape)


def to_bfloat16(values: np.ndarray) -> Stored:
    """Round to the nearest, ties to even."""
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
    halves = (whole + 0x7FFF + ((whole >> 16) & 1)) >> 16
    return Stored("BF16", values.shape, halves.astype("<u2").tobytes())


def _save_shards(folder: Path, tensors: Mapping[str, Stored], count: int) -> None:
    if count == 1:
        save(folder / "model.safetensors", tensors)
        return
    names = list(tensors)
    files: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        shard = names[number::count]
        save(folder / file, {name: tensors[name] for name in shard})
        files |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": files}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")
