"""The complete appliance with Ultravox under vLLM: the tiny checkpoint, built and sealed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from ops.bundle.__main__ import main as bundle
from tests.e2e.appliance import ROOT, Appliance
from tests.golden.parts import take_apart

MODEL = "ultravox-tiny"


@pytest.fixture(scope="package")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance of the cpu profile, except for its speech-LLM."""
    folder = tmp_path_factory.mktemp("appliance")
    weights, lock = folder / "weights", folder / "image-manifest.lock"
    shutil.copytree(ROOT / "weights", weights, copy_function=_link_or_copy)
    shutil.copy(ROOT / "image-manifest.lock", lock)
    adapter, text, features = take_apart(folder / "downloaded")
    options = {
        "adapter": adapter,
        "text": text,
        "features": features,
        "name": MODEL,
        "weights": weights,
        "lock": lock,
        "cache": folder / "cache",
        "profiles": "cpu,gpu",
    }
    arguments = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    assert bundle(["ultravox", *arguments]) == 0
    settings = {
        "PATHS_WEIGHTS": str(weights),
        "PATHS_LOCK": str(lock),
        "LLM_ENGINE": "vllm",
        "LLM_MODEL": MODEL,
        "LLM_DTYPE": "float32",
        "LLM_REPLY_TOKENS": "24",
        "LLM_RECOVER_SECONDS": "300",
    }
    appliance = Appliance(folder, settings).start(seconds=400)
    yield appliance
    assert appliance.stop() == 0, appliance.tail()


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)
