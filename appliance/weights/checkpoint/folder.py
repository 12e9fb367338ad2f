"""Reads a sealed Ultravox folder without reading its weights, and refuses what vLLM would not.

vLLM loads much that it should not: it casts dtypes with a warning at most, leaves a tensor that no
file holds as it happens to lie in memory, and follows ids to other places. So every file name,
tensor name, dtype and shape is compared here with what the config asks for, before vLLM starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.configs import read_json, remote
from appliance.weights.checkpoint.safetensors import Tensor, read_header
from appliance.weights.checkpoint.tensors import Expected, expected

CONFIGS = (
    "config.json", "generation_config.json", "preprocessor_config.json",
    "processor_config.json", "tokenizer.json", "tokenizer_config.json",
)  # fmt: skip
OPTIONAL = ("special_tokens_map.json", "NOTICE", "LICENSE", "USE_POLICY.md")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")

_KV_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}


@dataclass(frozen=True, slots=True)
class Bytes:
    """What the weights take, in bytes, by part. `layers` are the Llama's, with its last norm."""

    audio_tower: int
    projector: int
    layers: int
    embed_tokens: int
    lm_head: int

    @property
    def total(self) -> int:
        return self.audio_tower + self.projector + self.layers + self.embed_tokens + self.lm_head

    @property
    def per_token(self) -> int:
        """What is read from memory for each decoded token; embeddings serve as a tied lm_head."""
        return self.layers + (self.lm_head or self.embed_tokens)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder that was found whole.

    dtype         of what is not quantised: bfloat16, float16 or float32
    quantization  of the Llama's linears: "" (none), fp8, int8, w4a16 or w8a16
    layers, heads, kv_heads, head_dim, hidden_size: of the Llama
    max_positions context that the Llama was made for, tokens
    audio_token   id of <|audio|>; may lie beyond the vocabulary
    frames_per_token  mel frames (10 ms) that one audio token stands for
    """

    folder: Path
    weights_bytes: Bytes
    parameters: int
    dtype: str
    quantization: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden_size: int
    vocabulary_size: int
    max_positions: int
    audio_token: int
    audio_layers: int
    audio_width: int
    frames_per_token: int

    def kv_bytes_per_token(self, kv_dtype: str) -> int:
        """Keys and values of one token over all layers; `auto` is the weights' dtype.

        Raises KeyError for a dtype that is none of bfloat16, float16, float32, fp8.
        """
        item_bytes = _KV_BYTES[self.dtype if kv_dtype == "auto" else kv_dtype]
        return 2 * self.layers * self.kv_heads * self.head_dim * item_bytes


def read(folder: Path) -> Checkpoint:
    """Looks at every file of a model folder.

    Raises BadCheckpoint naming the first file that is wrong, and why.
    """
    names = _files(folder)
    shape = configs.parse(folder / "config.json", read_json(folder / "config.json"))
    configs.compare(folder / "processor_config.json", configs.processor(shape))
    configs.check_companions({name: folder / name for name in CONFIGS}, shape)
    for name in sorted(names):
        if name.endswith(".json") and name != INDEX:
            for place in remote(read_json(folder / name)):
                raise BadCheckpoint(path=folder / name, why=place)
    found = read_tensors(folder)
    try:
        wanted = expected(shape)
    except ValueError as problem:
        raise BadCheckpoint(path=folder / "config.json", why=str(problem)) from problem
    for path, why in mismatches(found, wanted):
        raise BadCheckpoint(path=path or folder, why=why)
    sizes = dict.fromkeys(Bytes.__slots__, 0)
    for name, (_, tensor) in found.items():
        sizes[wanted[name].part] += tensor.size_bytes
    text = shape.text
    return Checkpoint(
        folder=folder,
        weights_bytes=Bytes(**sizes),
        parameters=sum(tensor.items for _, tensor in found.values()),
        dtype=shape.dtype,
        quantization=shape.scheme.name if shape.scheme else "",
        layers=text.layers,
        heads=text.heads,
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        hidden_size=text.width,
        vocabulary_size=text.vocabulary,
        max_positions=text.positions,
        audio_token=shape.audio_token,
        audio_layers=shape.audio.layers,
        audio_width=shape.audio.width,
        frames_per_token=2 * shape.stack_factor,
    )


Found = Mapping[str, tuple[Path, Tensor]]


def read_tensors(folder: Path) -> Found:
    """The tensors of model.safetensors, or of the shards that its index names, by name.

    Raises BadCheckpoint when shards and index contradict each other.
    """
    index = folder / INDEX
    if not index.exists():
        return {tensor.name: (folder / WHOLE, tensor) for tensor in read_header(folder / WHOLE)}
    if (folder / WHOLE).exists():
        raise BadCheckpoint(path=folder / WHOLE, why="it stands beside an index of shards")
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(_is_shard(name) for name in places.values()):
        raise BadCheckpoint(path=index, why="its weight_map does not name shards")
    for path in folder.glob("*.safetensors"):
        if path.name not in places.values():
            raise BadCheckpoint(path=path, why="its index does not know it")
    found: dict[str, tuple[Path, Tensor]] = {}
    for shard in sorted(set(places.values())):
        for tensor in read_header(folder / shard):
            if places.get(tensor.name) != shard:
                why = f"it holds {tensor.name}, which the index does not place there"
                raise BadCheckpoint(path=folder / shard, why=why)
            found[tensor.name] = (folder / shard, tensor)
    for name in places.keys() - found.keys():
        raise BadCheckpoint(path=folder / places[name], why=f"it lacks {name}")
    return found


def mismatches(found: Found, wanted: Mapping[str, Expected]) -> Iterator[tuple[Path | None, str]]:
    """What differs between the tensors found and those wanted: file and words."""
    for name in sorted(wanted.keys() - found.keys()):
        yield None, f"the tensor {name} is missing"
    for name, (path, tensor) in sorted(found.items()):
        if name not in wanted:
            yield path, f"the tensor {name} does not belong to this model"
            continue
        want = wanted[name]
        if tensor.dtype not in want.dtypes:
            kinds = " or ".join(want.dtypes)
            yield path, f"{name} is {tensor.dtype} in place of {kinds}: vLLM would cast it silently"
        elif tensor.shape not in want.shapes:
            yield path, f"{name} has the shape {tensor.shape} in place of {want.shapes[0]}"


def _is_shard(name: object) -> bool:
    return isinstance(name, str) and bool(_SHARD.fullmatch(name))


def _files(folder: Path) -> set[str]:
    """The names in the folder, each on the short list."""
    if not folder.is_dir():
        raise BadCheckpoint(path=folder, why="there is no such folder")
    names = {path.name for path in folder.iterdir()}
    for name in sorted(names):
        is_known = name in (*CONFIGS, *OPTIONAL, WHOLE, INDEX) or _is_shard(name)
        if not is_known or not (folder / name).is_file():
            raise BadCheckpoint(path=folder / name, why="it has no place in a model folder")
    for name in CONFIGS:
        if name not in names:
            raise BadCheckpoint(path=folder / name, why="it is missing")
    return names
