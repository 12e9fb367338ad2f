"""Copying tensors from several files into shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint.folder import INDEX, SINGLE, StoredTensors, read_tensors
from appliance.weights.checkpoint.safetensors import ITEM_BYTES, read_header
from appliance.weights.seal import sha256_of
from ops.bundle import shards
from ops.bundle.shards import WrittenFile, plan_shards, write_shards
from tests.golden.parts import Stored, load, save


@pytest.fixture
def stored(tmp_path: Path) -> StoredTensors:
    """Tensors with items of different sizes, in two files."""
    one = {f"a{n}": Stored("BF16", (n,), bytes([n]) * 2 * n) for n in range(1, 6)}
    two = {"b": Stored("I64", (3,), b"b" * 24), "c": Stored("I8", (7,), b"c" * 7)}
    save(tmp_path / "one.safetensors", one)
    save(tmp_path / "two.safetensors", two)
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    return {tensor.name: (path, tensor) for path in paths for tensor in read_header(path)}


def write_all(stored: StoredTensors, folder: Path, limit_bytes: int = 1000) -> list[WrittenFile]:
    folder.mkdir()
    return list(write_shards(folder, stored, plan_shards(stored, limit_bytes), lambda _: None))


def test_all_tensors_are_copied_into_one_file(stored: StoredTensors, tmp_path: Path) -> None:
    [file] = write_all(stored, tmp_path / "out")
    copied = load(tmp_path / "out" / SINGLE)
    assert copied == {**load(tmp_path / "one.safetensors"), **load(tmp_path / "two.safetensors")}
    assert file.size_bytes == (tmp_path / "out" / SINGLE).stat().st_size
    assert file.sha256 == sha256_of(tmp_path / "out" / SINGLE)
    assert [path.name for path, _ in file.made_of] == ["one.safetensors", "two.safetensors"]


def test_every_tensor_is_aligned_to_its_item_size(stored: StoredTensors, tmp_path: Path) -> None:
    write_all(stored, tmp_path / "out")
    for tensor in read_header(tmp_path / "out" / SINGLE):
        assert tensor.begin % ITEM_BYTES[tensor.dtype] == 0


def test_shards_respect_the_limit_and_are_in_the_index(
    stored: StoredTensors, tmp_path: Path
) -> None:
    files = write_all(stored, tmp_path / "out", limit_bytes=25)
    assert [file.name for file in files[-2:]] == ["model-00004-of-00004.safetensors", INDEX]
    everything = read_tensors(tmp_path / "out")
    assert everything.keys() == stored.keys()
    for path in (tmp_path / "out").glob("*.safetensors"):
        assert sum(tensor.size_bytes for tensor in read_header(path)) <= 25
    index = json.loads((tmp_path / "out" / INDEX).read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == 30 + 24 + 7


def test_tensor_larger_than_the_limit_has_its_own_shard(stored: StoredTensors) -> None:
    groups = plan_shards(stored, 1).values()
    assert [len(group) for group in groups] == [1] * len(stored)


def test_input_that_shrinks_meanwhile_is_named(stored: StoredTensors, tmp_path: Path) -> None:
    (tmp_path / "two.safetensors").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match=r"two\.safetensors.*ended within b"):
        write_all(stored, tmp_path / "out")


def test_progress_grows_to_the_total(
    stored: StoredTensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_CHUNK_BYTES", 4)
    progress: list[int] = []
    (tmp_path / "out").mkdir()
    list(write_shards(tmp_path / "out", stored, plan_shards(stored), progress.append))
    assert progress == sorted(progress)
    assert progress[-1] == 30 + 24 + 7
