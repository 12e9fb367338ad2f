"""Prepare the image of profile gpu with tiny models, where there is no model hub.

    .venv-torch/bin/python -m tests.torch.tiny_gpu FOLDER

FOLDER/repository is then a copy of this repository whose weights-gpu has the real Kokoro, of which
the int8 values are de-quantised, and the Ultravox of tests/golden, which has 0.7 million
parameters. They come through ops/weights from a fake hub. In that copy, `ops/image --profile gpu`
and `ops/export --profile gpu` work as with the real models. Without a GPU the container exits with
code 78 after it has verified its seal.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from appliance.gpu_proof.dequantise import dequantise
from appliance.settings import load
from ops.bundle.kokoro import MODEL, PICKLE
from tests.golden.parts import take_apart
from tests.image import sealed
from tests.ops.bundle.fake_hub import TOKEN, FakeHub
from tests.ops.bundle.test_weights import ADAPTER, HUB_TOML, LLAMA, NAME, WHISPER

load_file = importlib.import_module("safetensors.torch").load_file
ROOT = Path(__file__).parents[2]
KOKORO_REPOSITORY = "h/kokoro"
KOKORO_TOML = f"""
[[repository]]
role = "kokoro"
repository = "{KOKORO_REPOSITORY}"
revision = ""
files = ["config.json", "kokoro-v1_0.pth", "voices/[ab][fm]_*.pt"]
licence = "Apache-2.0"
"""
DOCUMENTS = ("LICENSE", "CHANGELOG.md", "SECURITY.md", "docs")  # that a release contains


def publish_kokoro(model: Path, voices: Path, names: Iterable[str], folder: Path) -> None:
    """Write Kokoro as published: five modules, names prefixed with `module.`, no styled norms.

    model   folder of the model as the synthesizer loads it
    voices  folder of the voices `names` of profile cpu
    """
    modules: dict[str, dict[str, Any]] = {}
    for name, tensor in load_file(model / MODEL).items():
        module, _, rest = name.partition(".")
        if ".norm." not in name:
            modules.setdefault(module, {})[f"module.{rest}"] = tensor
    modules["bert"]["module.embeddings.position_ids"] = torch.arange(512)
    torch.save(modules, folder / PICKLE)
    shutil.copy(model / "config.json", folder)
    (folder / "voices").mkdir()
    for voice in names:
        raw = np.fromfile(voices / f"{voice}.bin", "<f4")
        torch.save(torch.from_numpy(raw.reshape(510, 1, 256)), folder / f"voices/{voice}.pt")


def main(folder: Path) -> int:
    """Prepare the copy; return the exit code of ops/weights."""
    root, published = folder / "repository", folder / "published"
    kokoro = published / "kokoro"
    kokoro.mkdir(parents=True)
    copy_repository(root)
    cpu = ROOT / "weights/kokoro-82m"
    dequantise(cpu, published / "dequantised")
    names = sorted(path.stem for path in (cpu / "voices").glob("*.bin"))
    publish_kokoro(published / "dequantised", cpu / "voices", names, kokoro)
    adapter, text, features = take_apart(published / "ultravox")
    with FakeHub() as hub:
        hub.add_folder(KOKORO_REPOSITORY, kokoro)
        hub.add_folder(ADAPTER, adapter)
        hub.add_folder(LLAMA, text, gated=True)
        hub.add_folder(WHISPER, features)
        command = ["ops/weights", "--profile", "gpu", "--hub", "hub.toml", "--accept-licences"]
        environ = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        code = subprocess.run(command, cwd=root, env=environ, check=False).returncode
    shutil.rmtree(published)
    return code


def copy_repository(root: Path) -> None:
    """Copy what an image and a release are made of, with this repository's environments."""
    sealed.repository(root)
    for name in DOCUMENTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    (root / ".venv-torch").symlink_to(ROOT / ".venv-torch")
    # The environment is there; 3 is NO_VLLM, with which ops/weights goes on.
    setup = root / "ops/setup-torch"
    setup.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    shutil.copytree(ROOT / "weights/en_core_web_sm", root / "weights-gpu/en_core_web_sm")
    model = load({"VOICE_PROFILE": "gpu"}).llm.model
    toml = HUB_TOML.replace(NAME, model) + KOKORO_TOML
    (root / "hub.toml").write_text(toml, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
