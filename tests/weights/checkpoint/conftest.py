"""Model folders to spoil: each test has copies of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.bundle.ultravox import build, inputs
from tests.golden.parts import CHECKPOINT, take_apart


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The golden checkpoint."""
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "plain", copy_function=shutil.copyfile))


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Path]:
    """Builds one from its parts; `scheme` quantises the Llama."""

    def make(scheme: str = "", shard_bytes: int = 1 << 40) -> Path:
        folder = tmp_path / f"built-{scheme}-{shard_bytes}"
        given = inputs(*take_apart(tmp_path / f"parts-{scheme}-{shard_bytes}", scheme))
        build(given, folder, shard_bytes=shard_bytes, say=lambda _: None)
        return folder

    return make
