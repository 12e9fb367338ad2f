"""The whole appliance with Ultravox under vLLM: the tiny checkpoint, built and sealed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from ops.bundle.__main__ import main as bundle
from tests.e2e.appliance import ROOT, Appliance
from tests.golden.parts import take_apart

NAME = "ultravox-tiny"


@pytest.fixture(scope="package")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Everything as on the cpu profile, but for who hears and answers."""
    folder = tmp_path_factory.mktemp("appliance")
    weights, lock = folder / "weights", folder / "image-manifest.lock"
    shutil.copytree(ROOT / "weights", weights, copy_function=_link)
    shutil.copy(ROOT / "image-manifest.lock", lock)
    adapter, text, features = take_apart(folder / "downloaded")
    arguments = {
        "adapter": adapter,
        "text": text,
        "features": features,
        "name": NAME,
        "weights": weights,
        "lock": lock,
        "cache": folder / "cache",
        "profiles": "cpu,gpu",
    }
    given = [str(word) for name, value in arguments.items() for word in (f"--{name}", value)]
    assert bundle(["ultravox", *given]) == 0
    settings = {
        "PATHS_WEIGHTS": str(weights),
        "PATHS_LOCK": str(lock),
        "LLM_ENGINE": "vllm",
        "LLM_MODEL": NAME,
        "LLM_DTYPE": "float32",
        "LLM_REPLY_TOKENS": "24",
        "LLM_RECOVER_SECONDS": "300",
    }
    running = Appliance(folder, settings).start(seconds=400)
    yield running
    assert running.stop() == 0, running.tail()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copy2(source, target)
