"""Pins of repositories in the lock: written, read, compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.errors import BadLock, HubChanged
from appliance.weights import manifest
from ops.bundle.hub import Listing, RemoteFile
from ops.bundle.pins import Pin, PinnedFile, check_file, check_listing, find_pin, set_pin

NAME, COMMIT, LOCK = "someone/model", "a" * 40, Path("image-manifest.lock")
EMPTY = manifest.Manifest({}, {}, (), {"image": {"id": "kept"}})
PIN = Pin(COMMIT, {"big": PinnedFile(9, "1" * 64), "small": PinnedFile(2, "2" * 64)})
BIG, SMALL = RemoteFile("big", 9, "1" * 64, ""), RemoteFile("small", 2, "", "3" * 40)


def listing(*files: RemoteFile) -> Listing:
    return Listing(NAME, COMMIT, False, files)


def test_pin_survives_writing_and_reading() -> None:
    lock = manifest.parse(manifest.render(set_pin(EMPTY, NAME, PIN)))
    assert find_pin(lock, NAME, LOCK) == PIN
    assert lock.extra["image"] == {"id": "kept"}


def test_second_pin_keeps_the_first() -> None:
    both = set_pin(set_pin(EMPTY, NAME, PIN), "another/model", Pin("b" * 40, {}))
    assert find_pin(both, NAME, LOCK) == PIN


def test_unused_repository_has_no_pin() -> None:
    assert find_pin(EMPTY, NAME, LOCK) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"revision": "main", "files": {}},
        {"files": {}},
        {"revision": COMMIT, "files": {"big": {"size_bytes": "9", "sha256": "1" * 64}}},
        {"revision": COMMIT, "files": {"big": {"size_bytes": 9, "sha256": "no"}}},
        {"revision": COMMIT, "files": {"big": {"size_bytes": 9}}},
        [],
    ],
)
def test_invalid_pin_is_a_bad_lock(entry: object) -> None:
    damaged = dataclasses.replace(EMPTY, extra={"hub": {NAME: entry}})
    with pytest.raises(BadLock, match=NAME):
        find_pin(damaged, NAME, LOCK)


def test_listing_equal_to_the_pin_passes() -> None:
    check_listing(PIN, listing(BIG, SMALL))


def test_pin_without_files_accepts_any_listing() -> None:
    check_listing(Pin(COMMIT, {}), listing(BIG))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ((BIG,), "small of .* no longer exists"),
        ((BIG, SMALL, RemoteFile("new", 1, "", "4" * 40)), "new of .* the file is new"),
        ((RemoteFile("big", 8, "1" * 64, ""), SMALL), "big of .* 8 bytes instead of 9"),
        ((RemoteFile("big", 9, "5" * 64, ""), SMALL), "big of .* its sha256 is 555"),
    ],
)
def test_first_difference_is_named(files: tuple[RemoteFile, ...], complaint: str) -> None:
    with pytest.raises(HubChanged, match=complaint):
        check_listing(PIN, listing(*files))


def test_downloaded_file_is_compared_with_the_pin() -> None:
    check_file(PIN, NAME, "small", "2" * 64)
    with pytest.raises(HubChanged, match="small"):
        check_file(PIN, NAME, "small", "6" * 64)
