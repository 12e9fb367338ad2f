"""Check a sealed Ultravox folder without reading its weights.

vLLM is not strict enough: it casts dtypes with at most a warning, leaves missing tensors
uninitialised, and follows references to other repositories. Therefore, every file name, tensor
name, dtype and shape is compared with the config before vLLM starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.configs import read_json, remote_references
from appliance.weights.checkpoint.safetensors import Tensor, read_header
from appliance.weights.checkpoint.tensors import ExpectedTensor, expected

CONFIGS = (
    "config.json", "generation_config.json", "preprocessor_config.json",
    "processor_config.json", "tokenizer.json", "tokenizer_config.json",
)  # fmt: skip
OPTIONAL = ("special_tokens_map.json", "NOTICE", "LICENSE", "USE_POLICY.md")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")

_KV_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Size of the weights in bytes, by part. `layers` are the Llama's, including its final norm."""

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
        """Bytes read from memory per decoded token. A tied lm_head reads the embeddings."""
        return self.layers + (self.lm_head or self.embed_tokens)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete model folder.

    dtype             dtype of unquantised tensors: bfloat16, float16 or float32
    quantization      scheme of the Llama's linear layers: "" (none), fp8, int8, w4a16 or w8a16
    layers, heads, kv_heads, head_dim, hidden_size: dimensions of the Llama
    max_positions     context length for which the Llama was trained, in tokens
    audio_token       id of <|audio|>; may be outside the vocabulary
    frames_per_token  mel frames (10 ms each) per audio token
    """

    folder: Path
    weights_bytes: WeightBytes
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
    audio_width: int
    frames_per_token: int

    def kv_bytes_per_token(self, kv_dtype: str) -> int:
        """Return the size of the KV cache per token. `auto` means the dtype of the weights.

        Raises KeyError for a dtype other than bfloat16, float16, float32, fp8 and auto.
        """
        item_bytes = _KV_BYTES[self.dtype if kv_dtype == "auto" else kv_dtype]
        return 2 * self.layers * self.kv_heads * self.head_dim * item_bytes


def read(folder: Path) -> Checkpoint:
    """Check every file of a model folder and describe the model.

    Raises BadCheckpoint with the first invalid file and the reason.
    """
    names = _list_files(folder)
    shape = configs.parse(folder / "config.json", read_json(folder / "config.json"))
    configs.compare(folder / "processor_config.json", configs.processor(shape))
    configs.check_companions({name: folder / name for name in CONFIGS}, shape)
    for name in sorted(names):
        if name.endswith(".json") and name != INDEX:
            for reference in remote_references(read_json(folder / name)):
                raise BadCheckpoint(path=folder / name, why=reference)
    stored = read_tensors(folder)
    try:
        wanted = expected(shape)
    except ValueError as problem:
        raise BadCheckpoint(path=folder / "config.json", why=str(problem)) from problem
    for path, why in mismatches(stored, wanted):
        raise BadCheckpoint(path=path or folder, why=why)
    sizes = dict.fromkeys(WeightBytes.__slots__, 0)
    for name, (_, tensor) in stored.items():
        sizes[wanted[name].part] += tensor.size_bytes
    text = shape.text
    return Checkpoint(
        folder=folder,
        weights_bytes=WeightBytes(**sizes),
        parameters=sum(tensor.element_count for _, tensor in stored.values()),
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
        audio_width=shape.audio.width,
        frames_per_token=2 * shape.stack_factor,
    )


StoredTensors = Mapping[str, tuple[Path, Tensor]]
"""Maps each tensor name to the file that contains the tensor, and its header entry."""


def read_tensors(folder: Path) -> StoredTensors:
    """Read the headers of model.safetensors, or of the shards listed in the index.

    Raises BadCheckpoint if shards and index disagree.
    """
    index = folder / INDEX
    if not index.exists():
        return {tensor.name: (folder / SINGLE, tensor) for tensor in read_header(folder / SINGLE)}
    if (folder / SINGLE).exists():
        raise BadCheckpoint(path=folder / SINGLE, why="the folder also contains an index of shards")
    shard_of = read_json(index).get("weight_map")
    if not isinstance(shard_of, dict) or not all(_is_shard(name) for name in shard_of.values()):
        raise BadCheckpoint(path=index, why="its weight_map does not list shards")
    for path in folder.glob("*.safetensors"):
        if path.name not in shard_of.values():
            raise BadCheckpoint(path=path, why="it is not in the index")
    stored: dict[str, tuple[Path, Tensor]] = {}
    for shard in sorted(set(shard_of.values())):
        for tensor in read_header(folder / shard):
            if shard_of.get(tensor.name) != shard:
                why = f"it contains {tensor.name}, which the index places elsewhere"
                raise BadCheckpoint(path=folder / shard, why=why)
            stored[tensor.name] = (folder / shard, tensor)
    for name in shard_of.keys() - stored.keys():
        raise BadCheckpoint(path=folder / shard_of[name], why=f"it does not contain {name}")
    return stored


def mismatches(
    stored: StoredTensors, wanted: Mapping[str, ExpectedTensor]
) -> Iterator[tuple[Path | None, str]]:
    """Yield the file and a description of each difference between stored and wanted tensors.

    The file is None for a missing tensor.
    """
    for name in sorted(wanted.keys() - stored.keys()):
        yield None, f"the tensor {name} is missing"
    for name, (path, tensor) in sorted(stored.items()):
        if name not in wanted:
            yield path, f"the tensor {name} does not belong to this model"
            continue
        spec = wanted[name]
        if tensor.dtype not in spec.dtypes:
            dtypes = " or ".join(spec.dtypes)
            yield path, f"{name} is {tensor.dtype} instead of {dtypes}: vLLM would cast it silently"
        elif tensor.shape not in spec.shapes:
            yield path, f"{name} has the shape {tensor.shape} instead of {spec.shapes[0]}"


def _is_shard(name: object) -> bool:
    return isinstance(name, str) and bool(_SHARD.fullmatch(name))


def _list_files(folder: Path) -> set[str]:
    """Return the file names in the folder. Raises BadCheckpoint for unknown or missing files."""
    if not folder.is_dir():
        raise BadCheckpoint(path=folder, why="the folder does not exist")
    names = {path.name for path in folder.iterdir()}
    for name in sorted(names):
        is_known = name in (*CONFIGS, *OPTIONAL, SINGLE, INDEX) or _is_shard(name)
        if not is_known or not (folder / name).is_file():
            raise BadCheckpoint(path=folder / name, why="it does not belong in a model folder")
    for name in CONFIGS:
        if name not in names:
            raise BadCheckpoint(path=folder / name, why="it is missing")
    return names
