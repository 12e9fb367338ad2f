"""Kokoro-82M in PyTorch: the model of the package `kokoro`, with safetensors weights."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from appliance.engines.tts.audio import Samples
from appliance.engines.tts.synthesizer import TORCH_MODEL, require_file, token_ids
from appliance.engines.tts.voices import VoiceStyle
from appliance.errors import BadSetting


class TorchSynthesizer:
    """The full model in PyTorch, on a GPU or (in tests) on the CPU."""

    streams = False

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        weights = require_file(folder / TORCH_MODEL)
        config = json.loads(require_file(folder / "config.json").read_text(encoding="utf-8"))
        self._ids: Mapping[str, int] = config["vocab"]

        # Imported by name, so that mypy's result does not depend on these packages.
        torch = importlib.import_module("torch")
        load_file = importlib.import_module("safetensors.torch").load_file
        if device == "cpu":
            torch.set_num_threads(threads)
        elif not torch.cuda.is_available():
            raise BadSetting(name="tts.device", why=f"{device!r} is not available to PyTorch")
        self._torch = torch
        self._device = device
        self._model = empty_torch_model(config)
        self._model.load_state_dict(load_file(weights))
        self._model.to(device).eval()

    def stream(self, phonemes: str, style: VoiceStyle, speed: float) -> Iterator[Samples]:
        """See Synthesizer. Yields the phrase as a whole."""
        ids = token_ids(phonemes, self._ids)
        if not ids:
            return
        torch = self._torch
        tokens = torch.tensor([[0, *ids, 0]], dtype=torch.long, device=self._device)
        reference = torch.from_numpy(np.array(style.vector, dtype=np.float32)).to(self._device)
        with torch.inference_mode():
            samples, _ = self._model.forward_with_tokens(tokens, reference, speed)
        yield np.asarray(samples.float().cpu().numpy(), dtype=np.float32)

    def cancel(self) -> None:
        """Do nothing. A GPU finishes a chunk sooner than it could be stopped."""


def empty_torch_model(config: Mapping[str, Any]) -> Any:
    """Return a KModel without weights. Raises BadSetting if `kokoro` is not installed.

    Works around two properties of the package. First, its `__init__` imports the whole pipeline,
    including misaki.espeak, which loads phonemizer and espeakng_loader (GPL-3). `kokoro.model` is
    therefore imported without running `__init__`. Second, KModel's constructor loads weights with
    torch.load from a pickle or from the model hub. It is therefore called with an empty file in
    memory.
    """
    torch = importlib.import_module("torch")
    if "kokoro" not in sys.modules:
        spec = importlib.util.find_spec("kokoro")
        if spec is None or spec.submodule_search_locations is None:
            raise BadSetting(name="tts.backend", why="the package 'kokoro' is not installed")
        package = types.ModuleType("kokoro")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["kokoro"] = package
    no_weights = io.BytesIO()
    torch.save({}, no_weights)
    no_weights.seek(0)
    model_class = importlib.import_module("kokoro.model").KModel
    return model_class(repo_id="local", config=dict(config), model=no_weights)
