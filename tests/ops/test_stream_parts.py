"""ops/stream_parts.py: the parts of a release, and their hashes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.hosts import OPS

MIB = 1024 * 1024


def write(folder: Path, stream: bytes, part_bytes: int | str) -> subprocess.CompletedProcess[bytes]:
    """Write a stream to the folders `parts` and `hashes` of `folder`."""
    for name in ("parts", "hashes"):
        (folder / name).mkdir(exist_ok=True)
    program = str(OPS / "stream_parts.py")
    return subprocess.run(
        [sys.executable, program, f"{folder}/parts", f"{folder}/hashes", str(part_bytes)],
        input=stream,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("stream_bytes", "sizes"),
    [
        (0, [0]),
        (1, [1]),
        (3 * MIB, [3 * MIB]),  # the last part is full: no empty one follows
        (3 * MIB + 1, [3 * MIB, 1]),
        (9 * MIB + 5, [3 * MIB, 3 * MIB, 3 * MIB, 5]),
    ],
)
def test_parts_joined_are_the_stream_and_every_hash_is_right(
    tmp_path: Path, stream_bytes: int, sizes: list[int]
) -> None:
    pattern = bytes(range(251))  # its period divides no block, so that a misplaced block is noticed
    stream = (pattern * (stream_bytes // len(pattern) + 1))[:stream_bytes]
    done = write(tmp_path, stream, 3 * MIB)
    assert done.returncode == 0, done.stderr
    parts = sorted((tmp_path / "parts").iterdir())
    assert [part.name for part in parts] == [f"image-{n:03}.part" for n in range(len(sizes))]
    assert [part.stat().st_size for part in parts] == sizes
    assert b"".join(part.read_bytes() for part in parts) == stream
    for part in parts:
        recorded = (tmp_path / "hashes" / f"{part.name}.sha256").read_text().strip()
        assert recorded == hashlib.sha256(part.read_bytes()).hexdigest()


def test_full_disk_is_an_error_and_no_part_gets_its_final_name(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/image-000.part.partial").symlink_to("/dev/full")
    done = write(tmp_path, b"x", 1000)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert not (tmp_path / "parts/image-000.part").exists()


@pytest.mark.parametrize("size", ["0", "-1", "3.9G", ""])
def test_size_that_is_not_a_number_of_bytes_is_refused(tmp_path: Path, size: str) -> None:
    assert write(tmp_path, b"x", size).returncode == 2
    assert list((tmp_path / "parts").iterdir()) == []
