"""The seal: any difference from the lock is refused, naming the file."""

from __future__ import annotations

import dataclasses
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import SealBroken
from appliance.weights import manifest as manifests
from appliance.weights import seal
from appliance.weights.manifest import Manifest
from ops.bundle.fetch import FetchOptions, fetch
from tests.ops.bundle.fake_registry import BIG, make_registry, sha256, source, weight

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, Manifest]:
    registry, manifest = make_registry(tmp_path / "registry")
    folder = tmp_path / "weights"
    fetch(
        folder, manifest, tmp_path / "cache", FetchOptions(), lambda line: None, registry.download
    )
    return folder, manifest


def refused(folder: Path, manifest: Manifest, full: bool = True) -> str:
    with pytest.raises(SealBroken) as caught:
        seal.verify(folder, manifest, "cpu", full)
    return str(caught.value)


def lock_of(content: bytes, path: str = "model.bin") -> Manifest:
    """A manifest that lists exactly one file, correctly."""
    file = weight(path, content, "one", "p==1:m")
    return Manifest({"one": source("one")}, {}, (file,), {})


def test_intact_folder_passes_and_the_report_says_how_much_was_read(
    sealed: tuple[Path, Manifest],
) -> None:
    report = seal.verify(*sealed, "cpu")
    assert (report.files, report.size_bytes) == (3, len(BIG) + 200)
    assert "every byte read" in str(report)
    assert "sizes and names only" in str(seal.verify(*sealed, "cpu", full=False))


def test_changed_byte_is_found_by_the_full_check_only(sealed: tuple[Path, Manifest]) -> None:
    folder, manifest = sealed
    (folder / "big/model.gguf").write_bytes(BIG[:-1] + b"!")
    assert "big/model.gguf was changed" in refused(folder, manifest)
    assert seal.verify(folder, manifest, "cpu", full=False).files == 3


@pytest.mark.parametrize("full", [True, False])
def test_truncated_file_is_found_by_both_checks(sealed: tuple[Path, Manifest], full: bool) -> None:
    folder, manifest = sealed
    (folder / "voices/a.bin").write_bytes(b"short")
    assert "voices/a.bin has 5 bytes instead of 100" in refused(folder, manifest, full)


def test_missing_file_is_named(sealed: tuple[Path, Manifest]) -> None:
    folder, manifest = sealed
    (folder / "voices/b.bin").unlink()
    assert "voices/b.bin is missing" in refused(folder, manifest)


@pytest.mark.parametrize("name", ["extra.txt", "big/model.gguf.partial", "voices/.hidden"])
def test_unlisted_file_is_refused(sealed: tuple[Path, Manifest], name: str) -> None:
    folder, manifest = sealed
    (folder / name).write_text("not sealed")
    assert f"{name} is not listed" in refused(folder, manifest)


def test_missing_folder_and_broken_link_are_refused(
    sealed: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, manifest = sealed
    assert "is missing" in refused(tmp_path / "nowhere", manifest)
    (folder / "link").symlink_to(tmp_path / "nowhere")
    assert "is a broken link" in refused(folder, manifest)


def test_link_to_a_folder_is_refused(sealed: tuple[Path, Manifest], tmp_path: Path) -> None:
    folder, manifest = sealed
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.gguf").write_text("not sealed")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    assert "other is a link to a folder" in refused(folder, manifest)


@pytest.mark.parametrize("full", [True, False])
def test_unreadable_file_is_named(tmp_path: Path, full: bool) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.bin").symlink_to("/proc/self/mem")  # reading its first bytes fails
    assert "model.bin cannot be read: Input/output error" in refused(folder, lock_of(b""), full)


@pytest.mark.parametrize("full", [True, False])
def test_zip_with_a_changed_directory_is_a_changed_file(tmp_path: Path, full: bool) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    content = torch_style_zip()
    (folder / "model.bin").write_bytes(content[:-22] + b"?" + content[-21:])
    assert "model.bin was changed" in refused(folder, lock_of(content), full)


def test_optional_source_is_complete_or_absent(sealed: tuple[Path, Manifest]) -> None:
    folder, manifest = sealed
    voices = dataclasses.replace(manifest.sources["voices"], purpose="test")
    manifest = dataclasses.replace(manifest, sources={**manifest.sources, "voices": voices})
    (folder / "voices/a.bin").unlink()
    assert "voices/a.bin is missing" in refused(folder, manifest)
    (folder / "voices/b.bin").unlink()
    assert seal.verify(folder, manifest, "cpu").files == 1


def torch_style_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": 1}))
    return buffer.getvalue()


def numpy_objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


PICKLES = {
    **{f"protocol {p}": pickle.dumps({"a": [1, 2]}, protocol=p) for p in (2, 3, 4, 5)},
    **{f"protocol {p} dict": pickle.dumps({"a": [1, 2]}, protocol=p) for p in (0, 1)},
    **{f"protocol {p} list": pickle.dumps([1, 2], protocol=p) for p in (0, 1)},
    **{f"protocol {p} call": pickle.dumps(range(3), protocol=p) for p in (0, 1)},
    "torch zip": torch_style_zip(),
    "numpy object array": numpy_objects(),
}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("kind", PICKLES)
def test_listed_pickle_is_refused_by_content(tmp_path: Path, kind: str, full: bool) -> None:
    content = PICKLES[kind]
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.bin").write_bytes(content)
    assert "model.bin is a pickle" in refused(folder, lock_of(content), full)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".PT"])
def test_pickle_suffix_is_refused_with_any_content(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / f"model{suffix}").write_bytes(b"harmless")
    manifest = lock_of(b"harmless", f"model{suffix}")
    assert f"model{suffix} has the suffix of a pickle" in refused(folder, manifest)


def test_sealed_formats_are_not_mistaken_for_pickles() -> None:
    plain_array = io.BytesIO()
    np.save(plain_array, np.zeros((2, 0), dtype=np.float32))
    empty_msgpack_map = b"\x80"
    for head in (
        b"cat\ndog\nRover\n",
        b"GGUF\x03\x00\x00\x00",
        b"\x08\x08\x12",
        plain_array.getvalue(),
        empty_msgpack_map,
    ):
        assert not seal.is_pickle(head)


def test_sha256_is_computed_over_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BIG)
    assert seal.sha256_of(tmp_path / "x") == sha256(BIG)


def test_real_weights_match_the_real_lock() -> None:
    report = seal.verify(ROOT / "weights", manifests.read(ROOT / "image-manifest.lock"), "cpu")
    assert report.size_bytes > 150_000_000
