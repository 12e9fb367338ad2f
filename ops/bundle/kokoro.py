"""Kokoro's published files, which are pickles, into the safetensors files that the appliance reads.

`kokoro-v1_0.pth` holds five modules, each a dictionary of tensors whose names may begin with
`module.` (from training on several cards); `voices/NAME.pt` holds one tensor. Both are loaded with
`weights_only=True`, which makes tensors and containers of them and runs nothing. It has been safe
since PyTorch 2.6 (CVE-2025-32434), so with an older one nothing is loaded.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import pickle
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import BadCheckpoint, PackageUnavailable
from appliance.weights.checkpoint.safetensors import header
from ops.bundle.shards import Written, write_file

Array = NDArray[Any]

CONFIG = "config.json"
PICKLE, MODEL = "kokoro-v1_0.pth", "kokoro-v1_0.safetensors"
VOICES = "voices"
MODULES = frozenset({"bert", "bert_encoder", "decoder", "predictor", "text_encoder"})
PACK_SHAPE = (510, 1, 256)  # a style for each length of text
_SAFE_TORCH = (2, 6)

# A norm without parameters of its own, followed by a linear layer that makes them of the style. The
# package's model has given the norm parameters since, of no effect, which it wants to be loaded.
_STYLED_NORM = re.compile(r"(.*\.(?:norm[12]|adain[12]\.\d+))\.fc\.bias")


def convert(source: Path, target: Path) -> tuple[Written, ...]:
    """Writes config.json, the model and voices/ below `target`; files of these names are replaced.

    Nothing in `target` changes before all is made. Raises BadCheckpoint naming the file that cannot
    be used, or PackageUnavailable where PyTorch is not installed.
    """
    torch = _torch()
    voices = sorted((source / VOICES).glob("*.pt"))
    if not voices:
        raise BadCheckpoint(path=source / VOICES, why="there are no voices")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / VOICES).mkdir(parents=True)
        written = [_config(source / CONFIG, partial / CONFIG)]
        path = source / PICKLE
        tensors = state(path, _numbers(torch, path, _unpickled(torch, path)))
        written.append(_save(partial / MODEL, tensors, path))
        for path in voices:
            pack = _numbers(torch, path, {"voice": _unpickled(torch, path)})
            shape = pack["voice"].shape
            if shape != PACK_SHAPE:
                raise BadCheckpoint(path=path, why=f"a voice of shape {shape}, not {PACK_SHAPE}")
            file = _save(partial / VOICES / f"{path.stem}.safetensors", pack, path)
            written.append(dataclasses.replace(file, name=f"{VOICES}/{file.name}"))
        (target / VOICES).mkdir(parents=True, exist_ok=True)
        for file in written:
            (partial / file.name).replace(target / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return tuple(written)


def state(path: Path, found: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors of the package's model by its own names. Raises BadCheckpoint.

    `found`: names begin with the module's, then perhaps `module.`. Whole numbers are left out: they
    are positions, which the model counts itself.
    """
    modules = {name.partition(".")[0] for name in found}
    if modules != MODULES:
        why = f"it holds {', '.join(sorted(modules)) or 'nothing'}; wanted {sorted(MODULES)}"
        raise BadCheckpoint(path=path, why=why)
    tensors = {}
    for name, values in found.items():
        module, _, rest = name.partition(".")
        if np.issubdtype(values.dtype, np.floating):
            tensors[f"{module}.{rest.removeprefix('module.')}"] = values.astype("<f4", copy=False)
    for name in list(tensors):
        if styled := _STYLED_NORM.fullmatch(name):
            channels = len(tensors[name]) // 2
            tensors.setdefault(f"{styled[1]}.norm.weight", np.ones(channels, "<f4"))
            tensors.setdefault(f"{styled[1]}.norm.bias", np.zeros(channels, "<f4"))
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise BadCheckpoint(path=path, why=f"{name} holds what is no number")
    return tensors


def _config(source: Path, target: Path) -> Written:
    """Copied as it is, when it has what the model is built from."""
    try:
        content = source.read_bytes()
        tree = json.loads(content)
        lacking = {"vocab", "istftnet", "plbert", "n_token"} - tree.keys()
    except (OSError, ValueError, AttributeError) as problem:
        raise BadCheckpoint(path=source, why=str(problem)) from problem
    if lacking:
        raise BadCheckpoint(path=source, why=f"it says nothing of {', '.join(sorted(lacking))}")
    return write_file(target, [content], [(source, "whole")])


def _save(target: Path, tensors: Mapping[str, Array], source: Path) -> Written:
    """Names in order, so that the same tensors make the same bytes with any version of anything."""
    names = sorted(tensors)
    head = header((name, "F32", tensors[name].shape) for name in names)
    chunks = (np.ascontiguousarray(tensors[name], "<f4").tobytes() for name in names)
    return write_file(target, _chain(head, chunks), [(source, "tensors")])


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _torch() -> Any:
    if importlib.util.find_spec("torch") is None:
        why = "it is not installed here; ops/weights runs this where it is"
        raise PackageUnavailable(package="torch", why=why)
    torch = importlib.import_module("torch")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE_TORCH:
        why = f"{torch.__version__} may run code of the pickles that it loads"
        raise PackageUnavailable(package="torch", why=why)
    return torch


def _unpickled(torch: Any, path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, ValueError, EOFError) as problem:
        why = f"it is no file of tensors: {str(problem).strip().splitlines()[0]}"
        raise BadCheckpoint(path=path, why=why) from problem


def _numbers(torch: Any, path: Path, tree: Any, before: str = "") -> dict[str, Array]:
    """The tensors of nested dictionaries, under names joined by dots."""
    found = {}
    if not isinstance(tree, dict):
        raise BadCheckpoint(path=path, why=f"{before or 'it'} is no dictionary of tensors")
    for key, value in tree.items():
        name = f"{before}{key}"
        if isinstance(value, torch.Tensor):
            value = value.detach()
            found[name] = (value.float() if value.is_floating_point() else value).numpy()
        else:
            found |= _numbers(torch, path, value, f"{name}.")
    return found
