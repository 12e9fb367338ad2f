"""Copy tensors of several safetensors files into new shards, chunk by chunk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint.folder import INDEX, SINGLE, StoredTensors
from appliance.weights.checkpoint.safetensors import ITEM_BYTES, header

SHARD_BYTES = 4_500_000_000
_CHUNK_BYTES = 4 << 20

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file: its name in the folder, its size in bytes and its sha256 in hex.

    made_of   input files, each with the part that was used: `whole`, `config` or `tensors`
    """

    name: str
    size_bytes: int
    sha256: str
    made_of: tuple[tuple[Path, str], ...]


def plan_shards(stored: StoredTensors, limit_bytes: int = SHARD_BYTES) -> dict[str, list[str]]:
    """Return the tensors of each shard by file name; a single file if all fit into one.

    Within a shard, tensors are sorted by item size, largest first, then by name, as the safetensors
    library does. So every tensor starts at a multiple of its item size, and torch can map it.
    """
    groups: list[list[str]] = [[]]
    room = limit_bytes
    for name in sorted(stored):
        size_bytes = stored[name][1].size_bytes
        if size_bytes > room and groups[-1]:
            groups.append([])
            room = limit_bytes
        groups[-1].append(name)
        room -= size_bytes
    ordered = [
        sorted(group, key=lambda name: (-ITEM_BYTES[stored[name][1].dtype], name))
        for group in groups
    ]
    if len(ordered) == 1:
        return {SINGLE: ordered[0]}
    count = len(ordered)
    return {
        f"model-{number:05}-of-{count:05}.safetensors": group
        for number, group in enumerate(ordered, 1)
    }


def write_shards(
    folder: Path,
    stored: StoredTensors,
    shards: Mapping[str, Sequence[str]],
    on_progress: OnProgress,
) -> Iterator[WrittenFile]:
    """Copy the tensors into `shards` below `folder`, with an index if there is more than one.

    `on_progress` gets the bytes written so far. Raises BadCheckpoint if an input file becomes
    shorter during the copy.
    """
    done_bytes = 0
    for shard, names in shards.items():
        tensors = [(name, stored[name][1].dtype, stored[name][1].shape) for name in names]

        def chunks(names: Sequence[str] = names) -> Iterator[bytes]:
            nonlocal done_bytes
            for name in names:
                for chunk in _read_tensor(stored, name):
                    yield chunk
                    done_bytes += len(chunk)
                    on_progress(done_bytes)

        origins = dict.fromkeys(stored[name][0] for name in sorted(names))
        made_of = [(path, "tensors") for path in origins]
        yield write_file(folder / shard, chain([header(tensors)], chunks()), made_of)
    if len(shards) > 1:
        shard_of = {name: shard for shard, names in shards.items() for name in names}
        total = sum(tensor.size_bytes for _, tensor in stored.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(shard_of.items()))}
        made_of = [(path, "tensors") for path in dict.fromkeys(p for p, _ in stored.values())]
        yield write_file(folder / INDEX, [json.dumps(index, indent=1).encode()], made_of)


def write_file(
    path: Path, chunks: Iterable[bytes], made_of: Sequence[tuple[Path, str]] = ()
) -> WrittenFile:
    """Write one file, hash it while writing, and flush it to disk."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
        out.flush()
        os.fsync(out.fileno())
    return WrittenFile(path.name, size_bytes, digest.hexdigest(), tuple(made_of))


def _read_tensor(stored: StoredTensors, name: str) -> Iterator[bytes]:
    path, tensor = stored[name]
    with path.open("rb") as file:
        file.seek(tensor.begin)
        left = tensor.size_bytes
        while left:
            chunk = file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise BadCheckpoint(path=path, why=f"it ended within {name} while it was copied")
            left -= len(chunk)
            yield chunk
