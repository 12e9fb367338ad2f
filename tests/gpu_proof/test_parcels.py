"""Large files travel in parcels of limited size and arrive unchanged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from appliance.gpu_proof.parcels import CarriedFile, describe, plan, receive, write


@pytest.fixture
def files(tmp_path: Path) -> list[CarriedFile]:
    """Three files of 10, 250 and 0 bytes."""
    source = tmp_path / "source"
    source.mkdir()
    result = []
    for name, size in (("weights/voice.bin", 10), ("weights/model.onnx", 250), ("wheels/e", 0)):
        path = source / name.replace("/", "-")
        path.write_bytes(random.Random(name).randbytes(size))
        result.append(CarriedFile(name, path, size))
    return result


def test_parcels_are_full_and_none_exceeds_the_limit(files: list[CarriedFile]) -> None:
    parcels = plan(files, first_bytes=30, limit_bytes=100)
    assert [sum(part.size_bytes for part in parcel) for parcel in parcels] == [30, 100, 100, 30]


def test_files_arrive_unchanged_as_soon_as_their_last_part_does(
    files: list[CarriedFile], tmp_path: Path
) -> None:
    folders = write(plan(files, 30, 100), tmp_path / "parcels")
    target = tmp_path / "target"
    arrived = receive(folders[0], target)
    assert arrived.complete == ("weights/voice.bin",)
    assert arrived.missing_bytes == {"weights/model.onnx": 230}
    for folder in folders[1:]:
        arrived = receive(folder, target)
    assert arrived.missing_bytes == {}
    for file in files:
        assert (target / file.path).read_bytes() == file.source.read_bytes()


def test_parcels_may_arrive_in_any_order_and_twice(
    files: list[CarriedFile], tmp_path: Path
) -> None:
    folders = write(plan(files, 30, 100), tmp_path / "parcels")
    for folder in (*reversed(folders), folders[0]):
        arrived = receive(folder, tmp_path / "target")
    assert set(arrived.complete) == {file.path for file in files}


def test_damaged_part_is_refused_and_a_second_delivery_is_accepted(
    files: list[CarriedFile], tmp_path: Path
) -> None:
    folders = write(plan(files, 30, 300), tmp_path / "parcels")
    part = next(path for path in folders[1].iterdir() if "model.onnx" in path.name)
    content = part.read_bytes()
    part.write_bytes(bytes(len(content)))
    receive(folders[0], tmp_path / "target")
    with pytest.raises(ValueError, match=r"model\.onnx was damaged"):
        receive(folders[1], tmp_path / "target")
    part.write_bytes(content)
    receive(folders[1], tmp_path / "target")
    assert (tmp_path / "target" / "weights" / "model.onnx").read_bytes() == (
        files[1].source.read_bytes()
    )


def test_description_names_every_transfer_with_its_bytes(files: list[CarriedFile]) -> None:
    first, *_, total = describe(plan(files, 30, 100), checkout_bytes=1000)
    assert first.startswith("call  1:        1,030 bytes")
    assert "the checkout" in first
    assert total == "all     :        1,260 bytes in 4 calls"
