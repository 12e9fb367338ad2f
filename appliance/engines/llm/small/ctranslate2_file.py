"""The file format of CTranslate2's models: named tensors."""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def read_weights(data: bytes | mmap.mmap) -> dict[str, Array]:
    """Return the tensors of a CTranslate2 model file by name, as views. Raises ValueError.

    Format: version, name of the model, revision, number of tensors; for each tensor its name, rank,
    dimensions, type and bytes. A name has a 16-bit length and ends with a zero byte.
    """
    types = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
    offset = 4

    def number(code: str) -> int:
        nonlocal offset
        [value] = struct.unpack_from(f"<{code}", data, offset)
        offset += struct.calcsize(f"<{code}")
        return int(value)

    def name() -> str:
        nonlocal offset
        size = number("H")
        offset += size
        return bytes(data[offset - size : offset - 1]).decode()

    variables: dict[str, Array] = {}
    try:
        name()
        number("I")
        for _ in range(number("I")):
            key = name()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = types[number("B")], number("I")
            values = np.frombuffer(data, kind, int(np.prod(shape, dtype=int)), offset)
            variables[key] = values.reshape(shape)
            offset += size
    except (struct.error, KeyError) as problem:
        raise ValueError("not a model file of CTranslate2") from problem
    return variables
