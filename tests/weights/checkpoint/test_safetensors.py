"""Headers of safetensors files, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint.safetensors import header, read_header
from tests.golden.parts import CHECKPOINT


def file(folder: Path, tree: object, data: bytes = b"", length: int | None = None) -> Path:
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    path = folder / "model.safetensors"
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "U8") -> object:
    shape = [end - begin] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_found_where_they_lie(tmp_path: Path) -> None:
    path = file(tmp_path, {"b": entry(4, 6), "a": entry(0, 4, [2], "BF16")}, b"aaaabb")
    first, second = read_header(path)
    assert (first.name, first.dtype, first.shape, first.size_bytes) == ("a", "BF16", (2,), 4)
    assert path.read_bytes()[second.begin : second.end] == b"bb"


def test_a_header_we_write_is_the_one_the_library_wrote() -> None:
    path = CHECKPOINT / "model.safetensors"
    tensors = read_header(path)
    ours = header((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors)
    assert path.read_bytes().startswith(ours)
    assert tensors[0].begin == len(ours)


ONE = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
BROKEN: dict[str, tuple[Any, bytes, str]] = {
    "overlapping": ({"a": entry(0, 4), "b": entry(2, 6)}, b"x" * 6, "b overlaps"),
    "with a gap": ({"a": entry(0, 2), "b": entry(4, 6)}, b"x" * 6, "b comes after a gap"),
    "cut short": ({"a": entry(0, 8)}, b"x" * 7, "its header speaks of"),
    "too long": ({"a": entry(0, 8)}, b"x" * 9, "its header speaks of"),
    "with a shape of another size": ({"a": entry(0, 8, [3])}, b"x" * 8, "its shape"),
    "of an unknown dtype": ({"a": entry(0, 1, [1], "F4")}, b"x", "unknown dtype"),
    "with an odd dtype": ({"a": {**ONE, "dtype": {}}}, b"x", "cannot be read"),
    "with a negative size": ({"a": entry(0, 4, [-2, -2])}, b"x" * 4, "size or offset -2"),
    "with a huge size": ({"a": entry(0, 1 << 60, [1 << 60])}, b"", "size or offset"),
    "with a size that is a truth": ({"a": entry(0, 1, [True])}, b"x", "size or offset True"),
    "with three offsets": ({"a": {**ONE, "data_offsets": [0, 1, 1]}}, b"x", "no such shape"),
    "without a shape": ({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"x", "shape"),
    "of a list": ([1], b"", "not an object"),
    "with a name twice": (b'{"a":1,"a":1}', b"", "twice"),
    "that is no JSON": (b"{]", b"", "cannot be read"),
    "deeper than any reader goes": (b"[" * 100_000, b"", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, how: str) -> None:
    tree, data, complaint = BROKEN[how]
    with pytest.raises(BadCheckpoint, match=complaint) as caught:
        read_header(file(tmp_path, tree, data))
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 3, 1 << 40, (1 << 64) - 1])
def test_a_length_that_cannot_be_is_not_believed(tmp_path: Path, length: int) -> None:
    with pytest.raises(BadCheckpoint, match="header of"):
        read_header(file(tmp_path, {}, b"", length))


@given(st.binary(max_size=200))
def test_no_file_makes_it_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    for content in (data, len(data).to_bytes(8, "little") + data):
        path.write_bytes(content)
        try:
            read_header(path)
        except BadCheckpoint:
            continue


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="No such file"):
        read_header(tmp_path / "model.safetensors")
