"""Build the sealed folder of the production model from downloaded folders.

Ultravox is published as an adapter (Whisper's encoder and a projector) that refers to a gated Llama
and includes its own code. A sealed folder must not refer to other repositories, so this joins:

    adapter   config.json, model.safetensors, the tokenizer that knows <|audio|>
    text      a Llama, bfloat16 or quantised by compressed-tensors, in one file or in shards
    features  Whisper's preprocessor_config.json

The result satisfies `appliance.weights.checkpoint`: inline configs, no repository ids, no code,
tensors under their final names, and the quantisation at the top level with an ignore list that
excludes the audio tower. All inputs are checked before the first byte is written, and the folder
appears only when it is complete.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from appliance.errors import BadCheckpoint, NoSpace
from appliance.weights import checkpoint
from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.configs import REMOTE_KEYS, ModelShape, read_json
from appliance.weights.checkpoint.folder import CONFIGS, StoredTensors, mismatches, read_tensors
from appliance.weights.checkpoint.quantisation import prefix_ignore
from appliance.weights.checkpoint.tensors import TEXT_PREFIX, expected
from ops.bundle.assemble import sync_folder
from ops.bundle.fetch import check_disk_space, free_bytes
from ops.bundle.progress import Progress, megabytes
from ops.bundle.shards import (
    SHARD_BYTES,
    OnProgress,
    WrittenFile,
    plan_shards,
    write_file,
    write_shards,
)

# Suffixes of weight formats that are refused: pickles, or formats that the engine does not read.
_OTHER_WEIGHTS = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack"})
_LICENCES = ("LICENSE", "USE_POLICY.md")
_SPARE_BYTES = 64_000_000  # JSON files and the overhead of the file system


@dataclass(frozen=True, slots=True)
class UltravoxInputs:
    """The downloaded folders; `features` is the file preprocessor_config.json of Whisper."""

    adapter: Path
    text: Path
    features: Path

    def key(self, path: Path) -> str:
        """Return the name of an input in the lock: ROLE/FILE."""
        roles = {self.adapter: "adapter", self.text: "text"}
        return f"{roles.get(path.parent, 'features')}/{path.name}"


class _JsonFile(NamedTuple):
    name: str
    tree: dict[str, Any]
    origins: tuple[Path, ...]


def find_inputs(adapter: Path, text: Path, features: Path) -> UltravoxInputs:
    """Check the folders. Raises BadCheckpoint if one is missing or contains weights in pickles."""
    if features.is_dir():
        features = features / "preprocessor_config.json"
    for folder in (adapter, text):
        if not folder.is_dir():
            raise BadCheckpoint(path=folder, why="the folder does not exist")
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in _OTHER_WEIGHTS:
                why = "it may be a pickle, which could run code; remove it and download the"
                raise BadCheckpoint(path=path, why=f"{why} safetensors files instead")
    return UltravoxInputs(adapter, text, features)


def check_configs(inputs: UltravoxInputs) -> None:
    """Raise BadCheckpoint if the JSON files show that no folder can be built."""
    _join_configs(inputs)


def build(
    inputs: UltravoxInputs,
    target: Path,
    notice: str = "",
    shard_bytes: int = SHARD_BYTES,
    report: Callable[[str], None] = print,
) -> tuple[WrittenFile, ...]:
    """Write the folder `target`, replacing an existing one, and return its files.

    `notice` is the text of its NOTICE file, which the licences require. Raises BadCheckpoint with
    the unusable file, or NoSpace; `target` is then unchanged.
    """
    jsons, shape = _join_configs(inputs)
    stored = _join_tensors(inputs, shape)
    shards = plan_shards(stored, shard_bytes)
    total = sum(tensor.size_bytes for _, tensor in stored.values())
    check_disk_space(target.parent, total, _SPARE_BYTES)
    precision = shape.scheme.name if shape.scheme else shape.dtype
    report(f"  {shape.text.layers} layers, {precision}, {megabytes(total)} in {len(shards)} files")
    partial = target.with_name(f".{target.name}.partial")
    progress = Progress(f"writing {target.name}", total)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        written = list(_write_files(partial, inputs, jsons, stored, shards, progress.update))
        if notice:
            origin = [(inputs.adapter / "config.json", "config")]
            written.append(write_file(partial / "NOTICE", [notice.encode()], origin))
        checkpoint.read(partial)
        sync_folder(partial)
        _replace_folder(partial, target)
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            free = free_bytes(target.parent)
            raise NoSpace(folder=target.parent, free_bytes=free, wanted_bytes=total) from problem
        raise BadCheckpoint(path=problem.filename or target, why=str(problem)) from problem
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    progress.finish(total)
    return tuple(written)


def _join_configs(inputs: UltravoxInputs) -> tuple[list[_JsonFile], ModelShape]:
    """Return the JSON files of the new folder, and the shape that they describe."""
    config_path, text_path = inputs.adapter / "config.json", inputs.text / "config.json"
    config, text = read_json(config_path), read_json(text_path)
    if config.get("audio_model_id"):
        why = f"its audio tower is in another repository, {config['audio_model_id']!r}"
        raise BadCheckpoint(path=config_path, why=why)
    if text.get("auto_map"):
        raise BadCheckpoint(path=text_path, why="it requires its own code: not a plain Llama")
    quantised = text.pop("quantization_config", None)
    config = _without_references(config)
    config |= {
        "audio_model_id": None,
        "text_model_id": None,
        "text_config": _without_references(text),
        "vocab_size": config.get("vocab_size", text.get("vocab_size")),
    }
    if quantised:
        ignore = prefix_ignore(quantised.get("ignore") or [])
        config["quantization_config"] = {**quantised, "ignore": ignore}
    shape = configs.parse(f"{config_path} with {text_path}", config)
    paths = {name: inputs.adapter / name for name in CONFIGS}
    paths["preprocessor_config.json"] = inputs.features
    processor = configs.processor(shape)
    configs.compare(paths["processor_config.json"], processor, may_lack=True)
    configs.check_companions(paths, shape)
    trees = {
        name: _without_references(read_json(path))
        for name, path in paths.items()
        if name != "tokenizer.json"
    }
    trees["processor_config.json"] |= processor
    # The engine builds prompts itself, so chat templates, which are code, are left out.
    trees["tokenizer_config.json"].pop("chat_template", None)
    files = [_JsonFile(name, tree, (paths[name],)) for name, tree in trees.items()]
    files[0] = _JsonFile("config.json", config, (config_path, text_path))
    return files, shape


def _without_references(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a config without the keys that refer to other repositories."""
    return {
        key: _without_references(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if key not in REMOTE_KEYS
    }


def _join_tensors(inputs: UltravoxInputs, shape: ModelShape) -> StoredTensors:
    """Return all tensors by final name. Raises BadCheckpoint for the first invalid one."""
    stored: dict[str, Any] = dict(read_tensors(inputs.adapter))
    for name, place in read_tensors(inputs.text).items():
        stored[TEXT_PREFIX + name] = place
    try:
        wanted = expected(shape)
    except ValueError as problem:
        raise BadCheckpoint(path=inputs.text / "config.json", why=str(problem)) from problem
    for path, why in mismatches(stored, wanted):
        name = why.removeprefix("the tensor ")
        owner = inputs.text if name.startswith(TEXT_PREFIX) else inputs.adapter
        raise BadCheckpoint(path=path or owner, why=why)
    return stored


def _write_files(
    folder: Path,
    inputs: UltravoxInputs,
    jsons: list[_JsonFile],
    stored: StoredTensors,
    shards: dict[str, list[str]],
    on_progress: OnProgress,
) -> Iterator[WrittenFile]:
    for name, tree, origins in jsons:
        text = json.dumps(tree, indent=1, ensure_ascii=False) + "\n"
        made_of = [(path, "config") for path in origins]
        yield write_file(folder / name, [text.encode()], made_of)
    copies = [inputs.adapter / "tokenizer.json", inputs.adapter / "special_tokens_map.json"]
    copies += [inputs.text / name for name in _LICENCES]
    for path in copies:
        if path.exists():
            yield write_file(folder / path.name, [path.read_bytes()], [(path, "whole")])
    yield from write_shards(folder, stored, shards, on_progress)


def _replace_folder(new: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
