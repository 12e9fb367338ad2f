"""Read and write the headers of safetensors files.

File format (see "Format" in the safetensors README): the length of the header as 8 bytes, little
endian; the header, a JSON object that maps tensor names to dtype, shape and data offsets; the bytes
of all tensors, without gaps. Only headers are read here. Every length is checked before use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import BadCheckpoint

# The largest known header, of a quantised model in a single file, is 0.2 MB. The format allows
# 100 MB.
MAX_HEADER_BYTES = 16_000_000
_MAX_NUMBER = 1 << 48

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file. `begin` and `end` are byte offsets from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin

    @property
    def element_count(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[Tensor, ...]:
    """Return the tensors of a file, sorted by offset.

    Raises BadCheckpoint if the file is truncated, if tensors overlap or leave gaps, or if a
    tensor's size does not match its shape.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size_bytes - 8, MAX_HEADER_BYTES):
                raise BadCheckpoint(
                    path=path, why=f"its header length of {length:,} bytes is invalid"
                )
            text = file.read(length)
    except OSError as problem:
        raise BadCheckpoint(path=path, why=str(problem)) from problem
    try:
        tree = json.loads(text, object_pairs_hook=_unique_keys)
        if not isinstance(tree, dict):
            raise ValueError("it is not an object")
        tree.pop("__metadata__", None)
        tensors = [_parse_tensor(name, entry, 8 + length) for name, entry in tree.items()]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        why = f"its header cannot be read: {type(problem).__name__}: {problem}"
        raise BadCheckpoint(path=path, why=why) from problem
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    offset = 8 + length
    for tensor in tensors:
        if tensor.begin != offset:
            why = "overlaps the previous tensor" if tensor.begin < offset else "follows a gap"
            raise BadCheckpoint(path=path, why=f"{tensor.name} {why}")
        if tensor.size_bytes != tensor.element_count * ITEM_BYTES[tensor.dtype]:
            why = f"{tensor.name} has {tensor.size_bytes:,} bytes, which does not match its shape"
            why += f" {tensor.shape}"
            raise BadCheckpoint(path=path, why=why)
        offset = tensor.end
    if offset != size_bytes:
        why = f"it has {size_bytes:,} bytes, but its header describes {offset:,}"
        raise BadCheckpoint(path=path, why=why)
    return tuple(tensors)


def header(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """Build the length and header of a file with these tensors (name, dtype, shape), in order.

    The header is padded with spaces to a multiple of 8 bytes, as in the safetensors library.
    """
    tree: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + math.prod(shape) * ITEM_BYTES[dtype]
        tree[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a name occurs twice")
    return tree


def _parse_tensor(name: str, entry: dict[str, Any], data_begin: int) -> Tensor:
    dtype = entry["dtype"]
    if dtype not in ITEM_BYTES:
        raise ValueError(f"{name} has the unknown dtype {dtype!r}")
    numbers = [*entry["shape"], *entry["data_offsets"]]
    if len(entry["data_offsets"]) != 2 or len(numbers) > 10:
        raise ValueError(f"{name} has invalid shape or offsets")
    for number in numbers:
        if type(number) is not int or not 0 <= number < _MAX_NUMBER:
            raise ValueError(f"{name} has an invalid size or offset {number!r}")
    *shape, begin, end = numbers
    return Tensor(name, dtype, tuple(shape), data_begin + begin, data_begin + end)
