"""The only file that loads Kokoro: phonemes and a style in, 24 kHz speech out.

Two back ends behind one interface: onnxruntime with the int8 model (profile cpu), and the `kokoro`
package's PyTorch model with safetensors weights (profile gpu).
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance import settings
from appliance.errors import BadSetting, MissingWeights

Samples = NDArray[np.float32]
Style = NDArray[np.float32]

FOLDER = "kokoro-82m"
ONNX_MODEL = "kokoro-v1.0.int8.onnx"
TORCH_MODEL = "kokoro-v1_0.safetensors"
MAX_PHONEMES = 510  # the model's context is 512, of which two are the padding around the text


class Cancelled(Exception):
    """`cancel` ended the speech under way."""


class Synthesizer(Protocol):
    """A loaded model. One thread speaks; any thread may cancel."""

    def speak(self, phonemes: str, style: Style, speed: float) -> Samples:
        """Speech at 24 kHz, -1..1, with some silence around it.

        `phonemes`: at most MAX_PHONEMES that the model knows; others are left out, and with none
        left the speech is empty. `style`: 1 x 256. `speed`: 1 is the voice's own pace.
        Raises Cancelled.
        """

    def cancel(self) -> None:
        """Ends the speech under way soon; without any, and on a GPU, it does nothing."""


def load(given: settings.TTSConfig, weights: Path) -> Synthesizer:
    """The back end that the settings name, loaded from the folder of all weights.

    Raises MissingWeights and BadSetting.
    """
    if given.backend == "onnx":
        return OnnxSynthesizer(weights / FOLDER, given.threads)
    if given.backend == "torch":
        return TorchSynthesizer(weights / FOLDER, given.device, given.threads)
    raise BadSetting(name="tts.backend", why=f"{given.backend!r} is neither onnx nor torch")


class OnnxSynthesizer:
    """The int8 model under onnxruntime."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime as ort  # type: ignore[import-untyped]

        from appliance.engines.tts.onnx_graph import fast_graph

        path = _present(folder / ONNX_MODEL)
        self._ids = _vocabulary(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A thread that spins while it waits takes the core from the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        ort.disable_telemetry_events()
        self._ort = ort
        self._run: Any = None  # options of the speech under way
        # Given bytes, a session keeps them for ever (92 MB); a file in memory can be closed.
        with os.fdopen(os.memfd_create("kokoro"), "wb") as file:
            file.write(fast_graph(path, signed_weights=_multiplies_bytes()))
            file.flush()
            self._session = ort.InferenceSession(
                f"/proc/self/fd/{file.fileno()}", options, providers=["CPUExecutionProvider"]
            )

    def speak(self, phonemes: str, style: Style, speed: float) -> Samples:
        """See Synthesizer."""
        ids = _token_ids(phonemes, self._ids)
        if not ids:
            return np.zeros(0, np.float32)
        inputs = {
            "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
            "style": style,
            "speed": np.array([speed], dtype=np.float32),
        }
        run = self._run = self._ort.RunOptions()
        try:
            (samples,) = self._session.run(None, inputs, run)
        except Exception as stopped:
            if run.terminate:
                raise Cancelled from stopped
            raise
        finally:
            self._run = None
        return np.asarray(samples, dtype=np.float32)

    def cancel(self) -> None:
        """See Synthesizer. onnxruntime looks at the flag between two nodes of the graph."""
        run = self._run
        if run is not None:
            run.terminate = True


class TorchSynthesizer:
    """The full model in PyTorch, on a GPU or, in tests, without one."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        weights = _present(folder / TORCH_MODEL)
        config = json.loads(_present(folder / "config.json").read_text(encoding="utf-8"))
        self._ids: Mapping[str, int] = config["vocab"]

        # By name, so that types are checked alike with and without these packages.
        torch = importlib.import_module("torch")
        load_file = importlib.import_module("safetensors.torch").load_file
        if device == "cpu":
            torch.set_num_threads(threads)
        elif not torch.cuda.is_available():
            raise BadSetting(name="tts.device", why=f"{device!r} is not available to PyTorch")
        self._torch = torch
        self._device = device
        self._model = _torch_model(config)
        self._model.load_state_dict(load_file(weights))
        self._model.to(device).eval()

    def speak(self, phonemes: str, style: Style, speed: float) -> Samples:
        """See Synthesizer."""
        ids = _token_ids(phonemes, self._ids)
        if not ids:
            return np.zeros(0, np.float32)
        torch = self._torch
        tokens = torch.tensor([[0, *ids, 0]], dtype=torch.long, device=self._device)
        reference = torch.from_numpy(np.array(style, dtype=np.float32)).to(self._device)
        with torch.inference_mode():
            samples, _ = self._model.forward_with_tokens(tokens, reference, speed)
        return np.asarray(samples.float().cpu().numpy(), dtype=np.float32)

    def cancel(self) -> None:
        """See Synthesizer. A GPU is done before it could be stopped."""


def _torch_model(config: Mapping[str, Any]) -> Any:
    """An empty KModel of the `kokoro` package.

    Two things of the package are gone around. Its `__init__` imports the whole pipeline and with it
    misaki.espeak, which loads phonemizer and espeakng_loader (GPL-3); so its modules are imported
    without running it. And KModel's constructor reads its weights with torch.load, from a pickle
    or from the model hub; so the weights it asks for are an empty file in memory.
    """
    torch = importlib.import_module("torch")
    if "kokoro" not in sys.modules:
        spec = importlib.util.find_spec("kokoro")
        if spec is None or spec.submodule_search_locations is None:
            raise BadSetting(name="tts.backend", why="the package 'kokoro' is not installed")
        package = types.ModuleType("kokoro")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["kokoro"] = package
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    model = importlib.import_module("kokoro.model").KModel
    return model(repo_id="local", config=dict(config), model=nothing)


def _token_ids(phonemes: str, ids: Mapping[str, int]) -> list[int]:
    found = [ids[char] for char in phonemes if char in ids]
    if len(found) > MAX_PHONEMES:
        raise ValueError(f"{len(found)} phonemes; the model takes {MAX_PHONEMES}")
    return found


def _vocabulary(folder: Path) -> Mapping[str, int]:
    path = _present(folder / "vocab.json")
    vocabulary: Mapping[str, int] = json.loads(path.read_text(encoding="utf-8"))["vocab"]
    return vocabulary


def _present(path: Path) -> Path:
    if not path.is_file():
        raise MissingWeights(path=str(path))
    return path


def _multiplies_bytes(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor sums products of u8 and s8 without saturating (x86 VNNI)."""
    if not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)
