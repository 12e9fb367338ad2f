"""The model files of the gpu profile from end to end: ops/weights, a fake hub, Kokoro's pickles.

The pickles have the published layout and size; their values are those of the dequantised model.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from appliance.engines.tts.voices import Voices
from appliance.errors import BadCheckpoint
from appliance.settings import load
from appliance.weights import manifest
from ops.bundle.hub_config import KOKORO
from ops.bundle.kokoro import MODEL, MODULES, PICKLE, convert
from tests.engines.tts.conftest import WEIGHTS
from tests.golden.parts import take_apart
from tests.ops.bundle.fake_hub import TOKEN, FakeHub
from tests.ops.bundle.test_weights import ADAPTER, HUB_TOML, LLAMA, NAME, WHISPER
from tests.torch.tiny_gpu import KOKORO_REPOSITORY, KOKORO_TOML, load_file, publish_kokoro

ROOT = Path(__file__).parents[2]
VOICES = ("af_heart", "bm_george")
MODEL_FOLDER = load({"VOICE_PROFILE": "gpu"}).llm.model


@pytest.fixture(scope="module")
def published(torch_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Kokoro as published."""
    folder = tmp_path_factory.mktemp("published")
    publish_kokoro(torch_weights / "kokoro-82m", WEIGHTS / "kokoro-82m/voices", VOICES, folder)
    yield folder
    shutil.rmtree(folder)


def test_converted_pickles_equal_what_the_synthesizer_loads(
    published: Path, torch_weights: Path, tmp_path: Path
) -> None:
    written = convert(published, tmp_path / "kokoro-82m")
    assert {file.name for file in written} == {
        "config.json",
        MODEL,
        *(f"voices/{voice}.safetensors" for voice in VOICES),
    }
    converted = load_file(tmp_path / "kokoro-82m" / MODEL)
    wanted = load_file(torch_weights / "kokoro-82m" / MODEL)
    assert converted.keys() == wanted.keys()
    assert all(torch.equal(converted[name], wanted[name]) for name in wanted)
    before, after = Voices(WEIGHTS / "kokoro-82m/voices"), Voices(tmp_path / "kokoro-82m/voices")
    for voice in VOICES:
        assert np.array_equal(before.style(voice, 40), after.style(voice, 40))


class MaliciousPickle:
    """Creates the folder `marker` if it is unpickled without restrictions."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", [PICKLE, "voices/af_heart.pt"])
def test_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    source, marker = tmp_path / "source", tmp_path / "it-ran"
    write_small_model(source)
    torch.save({"bert": MaliciousPickle(marker)}, source / name)
    with pytest.raises(BadCheckpoint, match=name) as caught:
        convert(source, tmp_path / "target")
    assert "not a file of tensors" in str(caught.value)
    assert not marker.exists() and not (tmp_path / "target").exists()


def write_small_model(folder: Path) -> None:
    """Write a model with one small tensor per module, and one voice."""
    (folder / "voices").mkdir(parents=True)
    tensors = {name: {"module.weight": torch.ones(2)} for name in MODULES}
    torch.save(tensors, folder / PICKLE)
    torch.save(torch.zeros(510, 1, 256), folder / "voices/af_heart.pt")
    config = '{"vocab": {}, "istftnet": {}, "plbert": {}, "n_token": 1}'
    (folder / "config.json").write_text(config, encoding="utf-8")


def test_unusable_file_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write_small_model(source)
    torch.save(torch.zeros(511, 1, 256), source / "voices/af_heart.pt")
    with pytest.raises(BadCheckpoint, match=r"af_heart\.pt.*\(511, 1, 256\)"):
        convert(source, target)
    (source / "config.json").write_text('{"vocab": {}}', encoding="utf-8")
    with pytest.raises(BadCheckpoint, match=r"config\.json.*istftnet"):
        convert(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    write_small_model(tmp_path / "source")
    first = convert(tmp_path / "source", tmp_path / "one")
    second = convert(tmp_path / "source", tmp_path / "two")
    assert [file.sha256 for file in first] == [file.sha256 for file in second]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout that uses this environment, with a lock that lists only the spaCy model."""
    root = tmp_path / "checkout"
    (root / "ops").mkdir(parents=True)
    for name in ("weights", "common.sh"):
        shutil.copy(ROOT / "ops" / name, root / "ops")
    (root / "ops/setup-torch").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    (root / "ops/setup-torch").chmod(0o755)
    for name in ("appliance", "ops/__init__.py", "ops/bundle"):
        (root / name).symlink_to(ROOT / name)
    for name in (".venv", ".venv-torch"):
        (root / name / "bin").mkdir(parents=True)
        python = root / name / "bin/python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)
    lock = manifest.read(ROOT / "image-manifest.lock")
    spacy = lock.of_source("en-core-web-sm")
    keys = {key for weight in spacy for key in weight.packages}
    narrowed = manifest.Manifest(
        {"en-core-web-sm": lock.sources["en-core-web-sm"]},
        {key: lock.packages[key] for key in keys},
        spacy,
        {},
    )
    text = manifest.render(narrowed)
    (root / "image-manifest.lock").write_text(text, encoding="utf-8")
    shutil.copytree(WEIGHTS / "en_core_web_sm", root / "weights-gpu/en_core_web_sm")
    return root


def test_empty_folder_is_filled_verified_and_speaks(published: Path, root: Path) -> None:
    hub_toml = HUB_TOML.replace(NAME, MODEL_FOLDER) + KOKORO_TOML
    (root / "hub.toml").write_text(hub_toml, encoding="utf-8")
    adapter, text, features = take_apart(root / "published")
    with FakeHub() as hub:
        hub.add_folder(KOKORO_REPOSITORY, published)
        hub.add_folder(ADAPTER, adapter)
        hub.add_folder(LLAMA, text, gated=True)
        hub.add_folder(WHISPER, features)
        first = run(root, hub)
        assert "seal intact" in first.stdout and "model sound" in first.stdout, first.stdout
        assert first.returncode == 0, first.stdout + first.stderr
        hub.requests.clear()
        second = run(root, hub)
        assert second.returncode == 0 and hub.requests == [], second.stdout + second.stderr
        assert "model files: up to date" in second.stdout
    lock = manifest.read(root / "image-manifest.lock")
    assert {source.name for source in lock.for_profile("gpu")} == {
        KOKORO,
        MODEL_FOLDER,
        "en-core-web-sm",
    }
    assert len(lock.of_source(KOKORO)) == 2 + len(VOICES)
    files = [path for path in root.rglob("*") if path.is_file() and "published" not in str(path)]
    assert not [path for path in files if path.suffix in (".pt", ".pth")]
    for path in files:
        assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in first.stdout + first.stderr


def run(root: Path, hub: FakeHub) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    environ = {**inherited, "HOME": str(root), "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
    command = ["ops/weights", "--profile", "gpu", "--hub", "hub.toml", "--accept-licences"]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
