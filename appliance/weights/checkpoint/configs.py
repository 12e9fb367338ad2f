"""Read the JSON files of a model folder, and check that they refer to nothing remote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint import quantisation
from appliance.weights.checkpoint.quantisation import Scheme

MAX_JSON_BYTES = 64_000_000  # Llama 3's tokenizer.json is 9 MB
_MAX_SIZE = 1 << 24

AUDIO_PLACEHOLDER = "<|audio|>"

# Keys that make a loader fetch code or files from elsewhere. Empty or null values are harmless.
REMOTE_KEYS = frozenset(
    {
        "auto_map", "audio_model_id", "text_model_id", "_name_or_path", "name_or_path",
        "base_model_name_or_path", "custom_pipelines", "trust_remote_code",
    }
)  # fmt: skip

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


@dataclass(frozen=True, slots=True)
class AudioShape:
    """The dimensions of Whisper's encoder. `positions` is half its context length in mel frames."""

    width: int
    layers: int
    heads: int
    inner: int
    mel_bins: int
    positions: int


@dataclass(frozen=True, slots=True)
class TextShape:
    """The dimensions of a Llama. `tied` means that the embeddings also serve as lm_head."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    positions: int
    tied: bool
    attention_bias: bool
    mlp_bias: bool


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions of the entire model, as described in config.json."""

    audio: AudioShape
    text: TextShape
    projector_width: int
    stack_factor: int
    is_swiglu: bool
    norm_in_the_middle: bool
    audio_token: int
    dtype: str
    scheme: Scheme | None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of at most MAX_JSON_BYTES. Raises BadCheckpoint."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadCheckpoint(path=path, why=f"it is larger than {MAX_JSON_BYTES:,} bytes")
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise BadCheckpoint(path=path, why="it is missing") from problem
    except (OSError, ValueError, RecursionError) as problem:
        raise BadCheckpoint(path=path, why=str(problem)) from problem
    if not isinstance(tree, dict):
        raise BadCheckpoint(path=path, why="it is not a JSON object")
    return tree


def remote_references(tree: object, parent: str = "") -> Iterator[str]:
    """Describe every entry of a config that makes a loader fetch something from elsewhere.

    `parent` is the dotted path of `tree` within the config.
    """
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            path = f"{parent}.{key}".removeprefix(".")
            if key in REMOTE_KEYS and value:
                yield f"{path} is {value!r}: a sealed model must not refer to anything remote"
            yield from remote_references(value, path)
    elif isinstance(tree, list):
        for value in tree:
            yield from remote_references(value, parent)


def parse(path: object, tree: Mapping[str, Any]) -> ModelShape:
    """Parse a config.json. `path` is used only in error messages.

    Raises BadCheckpoint with the entry that is missing, remote or invalid.
    """
    for reference in remote_references(tree):
        raise BadCheckpoint(path=path, why=reference)
    try:
        shape = _parse_shape(tree)
        _check_quantisation(shape)
    except (ValueError, KeyError, TypeError, AttributeError, re.error) as problem:
        why = f"{problem} is missing" if isinstance(problem, KeyError) else str(problem)
        raise BadCheckpoint(path=path, why=why) from problem
    return shape


def processor(shape: ModelShape) -> dict[str, object]:
    """Return the required entries of processor_config.json for a model of this shape."""
    return {
        "processor_class": "UltravoxProcessor",
        "stack_factor": shape.stack_factor,
        "encoder_ds_factor": 2,  # Whisper's second convolution has a stride of 2
        "audio_context_size": 2 * shape.audio.positions,
        "audio_placeholder": AUDIO_PLACEHOLDER,
    }


def check_companions(paths: Mapping[str, Path], shape: ModelShape) -> None:
    """Compare the mel settings and the tokenizer with the config.

    `paths` maps file names to paths. Raises BadCheckpoint.
    """
    mel = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": shape.audio.mel_bins,
        "sampling_rate": 16000,
        "hop_length": 160,
    }
    compare(paths["preprocessor_config.json"], mel)
    path = paths["tokenizer.json"]
    added = read_json(path).get("added_tokens")
    tokens = [entry for entry in added if isinstance(entry, dict)] if added else []
    ids = [entry.get("id") for entry in tokens if entry.get("content") == AUDIO_PLACEHOLDER]
    if ids != [shape.audio_token]:
        why = f"{AUDIO_PLACEHOLDER} has the ids {ids}, but the config says {shape.audio_token}"
        raise BadCheckpoint(path=path, why=why)


def compare(path: Path, expected: Mapping[str, object], may_lack: bool = False) -> None:
    """Raise BadCheckpoint if an entry of the JSON file differs from the expected value.

    With `may_lack`, missing entries are allowed.
    """
    tree = read_json(path)
    for key, value in expected.items():
        if tree.get(key) != value and not (may_lack and key not in tree):
            raise BadCheckpoint(path=path, why=f"{key} is {tree.get(key)!r} instead of {value!r}")


def _parse_shape(tree: Mapping[str, Any]) -> ModelShape:
    for key in ("audio_config", "text_config"):
        if not isinstance(tree[key], dict):
            raise ValueError(f"{key} is not inline")
    for key, table, kind in (
        ("model_type", tree, "ultravox"),
        ("audio_config.model_type", tree["audio_config"], "whisper"),
        ("text_config.model_type", tree["text_config"], "llama"),
    ):
        if table.get("model_type") != kind:
            raise ValueError(f"{key} is {table.get('model_type')!r} instead of {kind!r}")
    if tree.get("architectures") != ["UltravoxModel"]:
        raise ValueError(f"architectures is {tree.get('architectures')} instead of UltravoxModel")
    for key in ("audio_config", "text_config"):
        if {"quantization_config", "compression_config"} & tree[key].keys():
            raise ValueError(f"{key} has a quantization_config; it belongs at the top level")
    if tree.get("compression_config") or tree.get("num_projector_layers"):
        raise ValueError("compression_config and num_projector_layers are not supported")
    dtype = tree.get("dtype") or tree["torch_dtype"]
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {sorted(DTYPES)}")
    text = _parse_text(tree["text_config"])
    # vLLM reads the top level to learn that the audio token is beyond the embeddings.
    if _size(tree, "vocab_size") != text.vocabulary:
        raise ValueError(
            f"vocab_size is {tree['vocab_size']}, but in text_config it is {text.vocabulary}"
        )
    quantised = tree.get("quantization_config")
    return ModelShape(
        audio=_parse_audio(tree["audio_config"]),
        text=text,
        projector_width=_size(tree, "hidden_size"),
        stack_factor=_size(tree, "stack_factor"),
        is_swiglu=tree["projector_act"] == "swiglu",
        norm_in_the_middle=bool(tree["projector_ln_mid"]),
        audio_token=_size(tree, "audio_token_index"),
        dtype=dtype,
        scheme=quantisation.parse(quantised) if quantised else None,
    )


def _parse_audio(tree: Mapping[str, Any]) -> AudioShape:
    return AudioShape(
        width=_size(tree, "d_model"),
        layers=_size(tree, "encoder_layers"),
        heads=_size(tree, "encoder_attention_heads"),
        inner=_size(tree, "encoder_ffn_dim"),
        mel_bins=_size(tree, "num_mel_bins"),
        positions=_size(tree, "max_source_positions"),
    )


def _parse_text(tree: Mapping[str, Any]) -> TextShape:
    width, heads = _size(tree, "hidden_size"), _size(tree, "num_attention_heads")
    return TextShape(
        width=width,
        layers=_size(tree, "num_hidden_layers"),
        heads=heads,
        kv_heads=_size(tree, "num_key_value_heads"),
        head_dim=_size(tree, "head_dim") if tree.get("head_dim") else width // heads,
        inner=_size(tree, "intermediate_size"),
        vocabulary=_size(tree, "vocab_size"),
        positions=_size(tree, "max_position_embeddings"),
        tied=bool(tree.get("tie_word_embeddings")),
        attention_bias=bool(tree.get("attention_bias")),
        mlp_bias=bool(tree.get("mlp_bias")),
    )


def _size(tree: Mapping[str, Any], key: str) -> int:
    value = tree[key]
    if type(value) is not int or not 0 < value < _MAX_SIZE:
        raise ValueError(f"{key} is {value!r}, which is not a valid size")
    return value


def _check_quantisation(shape: ModelShape) -> None:
    """Raise ValueError if vLLM would also quantise the audio tower or the projector."""
    if shape.scheme is None:
        return
    audio = [f"audio_tower.layers.{n}.{name}" for n in range(shape.audio.layers) for name in _AUDIO]
    projector = [f"multi_modal_projector.linear_{n}" for n in (1, 2)]
    for module in (*audio, *projector):
        if not shape.scheme.is_ignored(module):
            raise ValueError(
                f"quantization_config.ignore lacks {module}, so vLLM would cast it to quantised "
                f"weights and mishear all audio; add {list(quantisation.ALWAYS_IGNORED)}"
            )
    heads = ("lm_head", quantisation.LM_HEAD)
    if not any(shape.scheme.is_ignored(name) for name in heads):
        raise ValueError("quantization_config.ignore lacks lm_head")


_AUDIO = (  # linear layers of an encoder layer
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
    "mlp.fc1", "mlp.fc2",
)  # fmt: skip
