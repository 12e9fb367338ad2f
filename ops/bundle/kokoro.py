"""Convert Kokoro's published files, which are pickles, to safetensors.

`kokoro-v1_0.pth` contains five modules, each a dictionary of tensors whose names may start with
`module.` (from training on several GPUs); `voices/NAME.pt` contains one tensor. Both are loaded
with `weights_only=True`, which creates only tensors and containers of tensors and runs no code.
That is safe since PyTorch 2.6 (CVE-2025-32434); an older PyTorch is refused.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import pickle
import re
import shutil
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import BadCheckpoint, PackageUnavailable
from appliance.weights.checkpoint.safetensors import header
from ops.bundle.shards import WrittenFile, write_file

Array = NDArray[Any]

CONFIG = "config.json"
PICKLE, MODEL = "kokoro-v1_0.pth", "kokoro-v1_0.safetensors"
VOICES = "voices"
MODULES = frozenset({"bert", "bert_encoder", "decoder", "predictor", "text_encoder"})
PACK_SHAPE = (510, 1, 256)  # one style vector per text length
_SAFE_TORCH = (2, 6)

# A norm without affine parameters; a linear layer computes them from the style vector. The model of
# the `kokoro` package defines unused norm parameters, and requires them when it loads a state dict.
_STYLED_NORM = re.compile(r"(.*\.(?:norm[12]|adain[12]\.\d+))\.fc\.bias")


def convert(source: Path, target: Path) -> tuple[WrittenFile, ...]:
    """Write config.json, the model and voices/ below `target`, replacing files of these names.

    `target` changes only after all files were converted. Raises BadCheckpoint with the unusable
    file, or PackageUnavailable if PyTorch is missing.
    """
    torch = _torch()
    voices = sorted((source / VOICES).glob("*.pt"))
    if not voices:
        raise BadCheckpoint(path=source / VOICES, why="it contains no voices")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / VOICES).mkdir(parents=True)
        written = [_copy_config(source / CONFIG, partial / CONFIG)]
        path = source / PICKLE
        tensors = state_dict(path, _flatten(torch, path, _unpickle(torch, path)))
        written.append(_save(partial / MODEL, tensors, path))
        for path in voices:
            pack = _flatten(torch, path, {"voice": _unpickle(torch, path)})
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


def state_dict(path: Path, published: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors under the names that the `kokoro` package uses. Raises BadCheckpoint.

    published   tensors by module name, an optional `module.` and the name within the module.
                Integers are dropped: they are position ids, which the model computes itself
    """
    modules = {name.partition(".")[0] for name in published}
    if modules != MODULES:
        why = f"it contains {', '.join(sorted(modules)) or 'nothing'} instead of {sorted(MODULES)}"
        raise BadCheckpoint(path=path, why=why)
    tensors = {}
    for name, values in published.items():
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
            raise BadCheckpoint(path=path, why=f"{name} contains NaN or infinity")
    return tensors


def _copy_config(source: Path, target: Path) -> WrittenFile:
    """Copy the config. Raises BadCheckpoint if values that the model needs are missing."""
    try:
        content = source.read_bytes()
        tree = json.loads(content)
        missing = {"vocab", "istftnet", "plbert", "n_token"} - tree.keys()
    except (OSError, ValueError, AttributeError) as problem:
        raise BadCheckpoint(path=source, why=str(problem)) from problem
    if missing:
        raise BadCheckpoint(path=source, why=f"it lacks {', '.join(sorted(missing))}")
    return write_file(target, [content], [(source, "whole")])


def _save(target: Path, tensors: Mapping[str, Array], source: Path) -> WrittenFile:
    """Write tensors sorted by name, so that the bytes do not depend on the version of PyTorch."""
    names = sorted(tensors)
    head = header((name, "F32", tensors[name].shape) for name in names)
    chunks = (np.ascontiguousarray(tensors[name], "<f4").tobytes() for name in names)
    return write_file(target, chain([head], chunks), [(source, "tensors")])


def _torch() -> Any:
    if importlib.util.find_spec("torch") is None:
        why = "it is not installed in this environment; ops/weights uses one that has it"
        raise PackageUnavailable(package="torch", why=why)
    torch = importlib.import_module("torch")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE_TORCH:
        why = f"{torch.__version__} may run code in pickles; 2.6 or newer is needed"
        raise PackageUnavailable(package="torch", why=why)
    return torch


def _unpickle(torch: Any, path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, ValueError, EOFError) as problem:
        why = f"it is not a file of tensors: {str(problem).strip().splitlines()[0]}"
        raise BadCheckpoint(path=path, why=why) from problem


def _flatten(torch: Any, path: Path, tree: Any, prefix: str = "") -> dict[str, Array]:
    """Return the tensors of nested dictionaries, with dotted names."""
    arrays = {}
    if not isinstance(tree, dict):
        raise BadCheckpoint(path=path, why=f"{prefix or 'it'} is not a dictionary of tensors")
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            value = value.detach()
            arrays[name] = (value.float() if value.is_floating_point() else value).numpy()
        else:
            arrays |= _flatten(torch, path, value, f"{name}.")
    return arrays
