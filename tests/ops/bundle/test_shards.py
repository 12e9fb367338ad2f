"""Tensors from several files into others, a piece at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint.folder import INDEX, WHOLE, Found, read_tensors
from appliance.weights.checkpoint.safetensors import ITEM_BYTES, read_header
from appliance.weights.seal import sha256_of
from ops.bundle import shards
from ops.bundle.shards import Written, divide, write
from tests.golden.parts import Stored, load, save


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Tensors of all sizes of item, in two files."""
    one = {f"a{n}": Stored("BF16", (n,), bytes([n]) * 2 * n) for n in range(1, 6)}
    two = {"b": Stored("I64", (3,), b"b" * 24), "c": Stored("I8", (7,), b"c" * 7)}
    save(tmp_path / "one.safetensors", one)
    save(tmp_path / "two.safetensors", two)
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    return {tensor.name: (path, tensor) for path in paths for tensor in read_header(path)}


def written(found: Found, folder: Path, limit_bytes: int = 1000) -> list[Written]:
    folder.mkdir()
    return list(write(folder, found, divide(found, limit_bytes), lambda _: None))


def test_all_tensors_arrive_in_one_file_with_their_bytes(found: Found, tmp_path: Path) -> None:
    [file] = written(found, tmp_path / "out")
    arrived = load(tmp_path / "out" / WHOLE)
    assert arrived == {**load(tmp_path / "one.safetensors"), **load(tmp_path / "two.safetensors")}
    assert file.size_bytes == (tmp_path / "out" / WHOLE).stat().st_size
    assert file.sha256 == sha256_of(tmp_path / "out" / WHOLE)
    assert [path.name for path, _ in file.made_of] == ["one.safetensors", "two.safetensors"]


def test_every_tensor_begins_where_its_items_can_be_mapped(found: Found, tmp_path: Path) -> None:
    written(found, tmp_path / "out")
    for tensor in read_header(tmp_path / "out" / WHOLE):
        assert tensor.begin % ITEM_BYTES[tensor.dtype] == 0


def test_no_shard_is_larger_than_it_may_be_and_the_index_knows_them(
    found: Found, tmp_path: Path
) -> None:
    files = written(found, tmp_path / "out", limit_bytes=25)
    assert [file.name for file in files[-2:]] == ["model-00004-of-00004.safetensors", INDEX]
    everything = read_tensors(tmp_path / "out")
    assert everything.keys() == found.keys()
    for path in (tmp_path / "out").glob("*.safetensors"):
        assert sum(tensor.size_bytes for tensor in read_header(path)) <= 25
    index = json.loads((tmp_path / "out" / INDEX).read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == 30 + 24 + 7


def test_a_tensor_larger_than_a_shard_has_one_of_its_own(found: Found) -> None:
    groups = divide(found, 1).values()
    assert [len(group) for group in groups] == [1] * len(found)


def test_a_file_that_shrinks_meanwhile_is_named(found: Found, tmp_path: Path) -> None:
    (tmp_path / "two.safetensors").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match=r"two\.safetensors.*ended within b"):
        written(found, tmp_path / "out")


def test_progress_grows_to_the_whole(
    found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_CHUNK_BYTES", 4)
    heard: list[int] = []
    (tmp_path / "out").mkdir()
    list(write(tmp_path / "out", found, divide(found), heard.append))
    assert heard == sorted(heard)
    assert heard[-1] == 30 + 24 + 7
