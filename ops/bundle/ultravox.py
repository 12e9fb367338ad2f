"""Builds the one sealed folder of the production model from what was downloaded by hand.

Ultravox is published as an adapter (Whisper's encoder and a projector) that refers to a gated
Llama and to code of its own. Nothing of the kind may be left in a sealed folder, so this joins:

    adapter   config.json, model.safetensors, the tokenizer that knows <|audio|>
    text      a Llama, bfloat16 or quantised by compressed-tensors, whole or in shards
    features  Whisper's preprocessor_config.json

into a folder that `appliance.weights.checkpoint` finds whole: configs inline, no ids, no code,
tensors under their final names, and the quantisation at the top with an ignore list that spares the
audio tower. All is checked before the first byte is written; the folder appears whole or not at
all.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from appliance.errors import BadCheckpoint, NoSpace
from appliance.weights import checkpoint
from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.configs import REMOTE_KEYS, Shape, read_json
from appliance.weights.checkpoint.folder import CONFIGS, Found, mismatches, read_tensors
from appliance.weights.checkpoint.quantisation import re_prefixed
from appliance.weights.checkpoint.tensors import TEXT_PREFIX, expected
from ops.bundle.fetch import free_bytes, has_room
from ops.bundle.progress import Progress, megabytes
from ops.bundle.shards import SHARD_BYTES, Tell, Written, divide, write, write_file

# What other formats of weights end in, all of them pickles or read by nothing here.
_OTHER_WEIGHTS = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack"})
_LICENCES = ("LICENSE", "USE_POLICY.md")
_SPARE_BYTES = 64_000_000  # JSON files and the file system's own needs


@dataclass(frozen=True, slots=True)
class Inputs:
    """The downloaded folders; `features` is Whisper's preprocessor_config.json itself."""

    adapter: Path
    text: Path
    features: Path

    def key(self, path: Path) -> str:
        """How an input is called in the lock: its role and name."""
        roles = {self.adapter: "adapter", self.text: "text"}
        return f"{roles.get(path.parent, 'features')}/{path.name}"


class _Json(NamedTuple):
    name: str
    tree: dict[str, Any]
    origins: tuple[Path, ...]


def inputs(adapter: Path, text: Path, features: Path) -> Inputs:
    """Looks at what was given. Raises BadCheckpoint for a missing folder or weights in a pickle."""
    if features.is_dir():
        features = features / "preprocessor_config.json"
    for folder in (adapter, text):
        if not folder.is_dir():
            raise BadCheckpoint(path=folder, why="there is no such folder")
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in _OTHER_WEIGHTS:
                raise BadCheckpoint(
                    path=path,
                    why="it may be a pickle, which could run code; download the safetensors files "
                    "and remove it",
                )
    return Inputs(adapter, text, features)


def check(given: Inputs) -> None:
    """Raises BadCheckpoint when the JSON files alone say that no folder can be built of this."""
    _joined(given)


def build(
    given: Inputs,
    target: Path,
    notice: str = "",
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = print,
) -> tuple[Written, ...]:
    """Writes the folder `target`, replacing one that is there, and returns its files.

    `notice` goes into its NOTICE file, as the licences of the parts ask for.

    Raises BadCheckpoint naming the file that cannot be used, or NoSpace; `target` is then as it
    was before, and nothing is left beside it.
    """
    jsons, shape = _joined(given)
    found = _tensors(given, shape)
    shards = divide(found, shard_bytes)
    total = sum(tensor.size_bytes for _, tensor in found.values())
    has_room(target.parent, total, _SPARE_BYTES)
    say(f"  {shape.text.layers} layers, {_named(shape)}, {megabytes(total)} in {len(shards)} files")
    partial = target.with_name(f".{target.name}.partial")
    progress = Progress(f"writing {target.name}", total)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        written = list(_write_all(partial, given, jsons, found, shards, progress.at))
        if notice:
            origin = [(given.adapter / "config.json", "config")]
            written.append(write_file(partial / "NOTICE", [notice.encode()], origin))
        checkpoint.read(partial)
        _sync(partial)
        _swap(partial, target)
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            free = free_bytes(target.parent)
            raise NoSpace(folder=target.parent, free_bytes=free, wanted_bytes=total) from problem
        raise BadCheckpoint(path=problem.filename or target, why=str(problem)) from problem
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    progress.done(total)
    return tuple(written)


def _joined(given: Inputs) -> tuple[list[_Json], Shape]:
    """The JSON files of the new folder, and the shape that they tell."""
    config_path, text_path = given.adapter / "config.json", given.text / "config.json"
    config, text = read_json(config_path), read_json(text_path)
    if config.get("audio_model_id"):
        why = f"its audio tower is elsewhere, in {config['audio_model_id']!r}"
        raise BadCheckpoint(path=config_path, why=why)
    if text.get("auto_map"):
        raise BadCheckpoint(path=text_path, why="it needs code of its own, so it is no plain Llama")
    quantised = text.pop("quantization_config", None)
    config = _clean(config)
    config |= {
        "audio_model_id": None,
        "text_model_id": None,
        "text_config": _clean(text),
        "vocab_size": config.get("vocab_size", text.get("vocab_size")),
    }
    if quantised:
        ignore = re_prefixed(quantised.get("ignore") or [])
        config["quantization_config"] = {**quantised, "ignore": ignore}
    shape = configs.parse(f"{config_path} with {text_path}", config)
    places = {name: given.adapter / name for name in CONFIGS}
    places["preprocessor_config.json"] = given.features
    processor = configs.processor(shape)
    configs.compare(places["processor_config.json"], processor, may_lack=True)
    configs.check_companions(places, shape)
    trees = {
        name: _clean(read_json(path)) for name, path in places.items() if name != "tokenizer.json"
    }
    trees["processor_config.json"] |= processor
    # Our own prompt encoder writes the chat format; a template is code that nobody would run.
    trees["tokenizer_config.json"].pop("chat_template", None)
    files = [_Json(name, tree, (places[name],)) for name, tree in trees.items()]
    files[0] = _Json("config.json", config, (config_path, text_path))
    return files, shape


def _clean(tree: dict[str, Any]) -> dict[str, Any]:
    """A config without what leads elsewhere."""
    return {
        key: _clean(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if key not in REMOTE_KEYS
    }


def _tensors(given: Inputs, shape: Shape) -> Found:
    """All tensors by their final names. Raises BadCheckpoint for the first that does not fit."""
    found: dict[str, Any] = dict(read_tensors(given.adapter))
    for name, place in read_tensors(given.text).items():
        found[TEXT_PREFIX + name] = place
    try:
        wanted = expected(shape)
    except ValueError as problem:
        raise BadCheckpoint(path=given.text / "config.json", why=str(problem)) from problem
    for path, why in mismatches(found, wanted):
        name = why.removeprefix("the tensor ")
        owner = given.text if name.startswith(TEXT_PREFIX) else given.adapter
        raise BadCheckpoint(path=path or owner, why=why)
    return found


def _write_all(
    folder: Path,
    given: Inputs,
    jsons: list[_Json],
    found: Found,
    shards: dict[str, list[str]],
    tell: Tell,
) -> Iterator[Written]:
    for name, tree, origins in jsons:
        text = json.dumps(tree, indent=1, ensure_ascii=False) + "\n"
        made_of = [(path, "config") for path in origins]
        yield write_file(folder / name, [text.encode()], made_of)
    copies = [given.adapter / "tokenizer.json", given.adapter / "special_tokens_map.json"]
    copies += [given.text / name for name in _LICENCES]
    for path in copies:
        if path.exists():
            yield write_file(folder / path.name, [path.read_bytes()], [(path, "whole")])
    yield from write(folder, found, shards, tell)


def _named(shape: Shape) -> str:
    return shape.scheme.name if shape.scheme else shape.dtype


def _swap(new: Path, target: Path) -> None:
    """Puts the new folder in place of the old one, if there is one."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
