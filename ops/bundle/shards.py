"""Tensors out of several safetensors files into the shards of one, without ever holding a model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint.folder import INDEX, WHOLE, Found
from appliance.weights.checkpoint.safetensors import ITEM_BYTES, header

SHARD_BYTES = 4_500_000_000
_CHUNK_BYTES = 4 << 20

Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file: its name in the folder, its size in bytes and sha256 in hex.

    `made_of` are the files it was made of, each with what was done: whole, config or tensors.
    """

    name: str
    size_bytes: int
    sha256: str
    made_of: tuple[tuple[Path, str], ...]


def divide(found: Found, limit_bytes: int = SHARD_BYTES) -> dict[str, list[str]]:
    """Names of the shards, and which tensors go into each; one file where they fit into one.

    Big items come first in a shard and names in order, as the safetensors library has it: every
    tensor then begins at a multiple of its item's size, without which torch cannot map it.
    """
    groups: list[list[str]] = [[]]
    room = limit_bytes
    for name in sorted(found):
        size_bytes = found[name][1].size_bytes
        if size_bytes > room and groups[-1]:
            groups.append([])
            room = limit_bytes
        groups[-1].append(name)
        room -= size_bytes
    ordered = [
        sorted(group, key=lambda name: (-ITEM_BYTES[found[name][1].dtype], name))
        for group in groups
    ]
    if len(ordered) == 1:
        return {WHOLE: ordered[0]}
    count = len(ordered)
    return {
        f"model-{number:05}-of-{count:05}.safetensors": group
        for number, group in enumerate(ordered, 1)
    }


def write(
    folder: Path, found: Found, shards: Mapping[str, Sequence[str]], tell: Tell
) -> Iterator[Written]:
    """Copies the tensors into `shards` below `folder`, and writes the index where it needs one.

    `tell` hears how many bytes are written. Raises BadCheckpoint when a file shrank meanwhile.
    """
    done_bytes = 0
    for shard, names in shards.items():
        tensors = [(name, found[name][1].dtype, found[name][1].shape) for name in names]

        def chunks(names: Sequence[str] = names) -> Iterator[bytes]:
            nonlocal done_bytes
            for name in names:
                for chunk in _copied(found, name):
                    yield chunk
                    done_bytes += len(chunk)
                    tell(done_bytes)

        origins = dict.fromkeys(found[name][0] for name in sorted(names))
        made_of = [(path, "tensors") for path in origins]
        yield write_file(folder / shard, _chain(header(tensors), chunks()), made_of)
    if len(shards) > 1:
        places = {name: shard for shard, names in shards.items() for name in names}
        total = sum(tensor.size_bytes for _, tensor in found.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        made_of = [(path, "tensors") for path in dict.fromkeys(p for p, _ in found.values())]
        yield write_file(folder / INDEX, [json.dumps(index, indent=1).encode()], made_of)


def write_file(
    path: Path, chunks: Iterable[bytes], made_of: Sequence[tuple[Path, str]] = ()
) -> Written:
    """Writes and flushes one file, hashing what goes by."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
        out.flush()
        os.fsync(out.fileno())
    return Written(path.name, size_bytes, digest.hexdigest(), tuple(made_of))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _copied(found: Found, name: str) -> Iterator[bytes]:
    path, tensor = found[name]
    with path.open("rb") as opened:
        opened.seek(tensor.begin)
        left = tensor.size_bytes
        while left:
            chunk = opened.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise BadCheckpoint(path=path, why=f"it ended within {name} while it was copied")
            left -= len(chunk)
            yield chunk
