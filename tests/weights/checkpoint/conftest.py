"""Model folders for tests to damage, one copy per test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.bundle.ultravox import build, find_inputs
from tests.golden.parts import CHECKPOINT, take_apart


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The golden checkpoint."""
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "plain", copy_function=shutil.copyfile))


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Path]:
    """Builds the golden checkpoint from its parts; `scheme` quantises the Llama."""

    def make(scheme: str = "", shard_bytes: int = 1 << 40) -> Path:
        folder = tmp_path / f"built-{scheme}-{shard_bytes}"
        inputs = find_inputs(*take_apart(tmp_path / f"parts-{scheme}-{shard_bytes}", scheme))
        build(inputs, folder, shard_bytes=shard_bytes, report=lambda _: None)
        return folder

    return make
