"""Headers of safetensors files, valid and invalid."""

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


def test_tensors_are_read_with_their_offsets(tmp_path: Path) -> None:
    path = file(tmp_path, {"b": entry(4, 6), "a": entry(0, 4, [2], "BF16")}, b"aaaabb")
    first, second = read_header(path)
    assert (first.name, first.dtype, first.shape, first.size_bytes) == ("a", "BF16", (2,), 4)
    assert path.read_bytes()[second.begin : second.end] == b"bb"


def test_written_header_equals_that_of_the_library() -> None:
    path = CHECKPOINT / "model.safetensors"
    tensors = read_header(path)
    written = header((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors)
    assert path.read_bytes().startswith(written)
    assert tensors[0].begin == len(written)


ONE = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
INVALID: dict[str, tuple[Any, bytes, str]] = {
    "overlapping": ({"a": entry(0, 4), "b": entry(2, 6)}, b"x" * 6, "b overlaps"),
    "with a gap": ({"a": entry(0, 2), "b": entry(4, 6)}, b"x" * 6, "b follows a gap"),
    "cut short": ({"a": entry(0, 8)}, b"x" * 7, "its header describes"),
    "too long": ({"a": entry(0, 8)}, b"x" * 9, "its header describes"),
    "with a shape of another size": ({"a": entry(0, 8, [3])}, b"x" * 8, "does not match its shape"),
    "of an unknown dtype": ({"a": entry(0, 1, [1], "F4")}, b"x", "unknown dtype"),
    "with a dtype that is an object": ({"a": {**ONE, "dtype": {}}}, b"x", "cannot be read"),
    "with a negative size": ({"a": entry(0, 4, [-2, -2])}, b"x" * 4, "size or offset -2"),
    "with a huge size": ({"a": entry(0, 1 << 60, [1 << 60])}, b"", "size or offset"),
    "with a boolean size": ({"a": entry(0, 1, [True])}, b"x", "size or offset True"),
    "with three offsets": ({"a": {**ONE, "data_offsets": [0, 1, 1]}}, b"x", "invalid shape"),
    "without a shape": ({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"x", "shape"),
    "of a list": ([1], b"", "not an object"),
    "with a name twice": (b'{"a":1,"a":1}', b"", "occurs twice"),
    "that is not JSON": (b"{]", b"", "cannot be read"),
    "too deeply nested": (b"[" * 100_000, b"", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    tree, data, complaint = INVALID[kind]
    with pytest.raises(BadCheckpoint, match=complaint) as caught:
        read_header(file(tmp_path, tree, data))
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 3, 1 << 40, (1 << 64) - 1])
def test_impossible_header_length_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(BadCheckpoint, match="its header length of"):
        read_header(file(tmp_path, {}, b"", length))


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    for content in (data, len(data).to_bytes(8, "little") + data):
        path.write_bytes(content)
        try:
            read_header(path)
        except BadCheckpoint:
            continue


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="No such file"):
        read_header(tmp_path / "model.safetensors")
