"""Pins in the lock: kept, understood, compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.errors import BadLock, HubChanged
from appliance.weights import manifest
from ops.bundle.hub import Listing, Remote
from ops.bundle.pins import Pin, Pinned, check, compare, pin_of, pinned

NAME, COMMIT, LOCK = "someone/model", "a" * 40, Path("image-manifest.lock")
EMPTY = manifest.Manifest({}, {}, (), {"image": {"id": "kept"}})
PIN = Pin(COMMIT, {"big": Pinned(9, "1" * 64), "small": Pinned(2, "2" * 64)})
BIG, SMALL = Remote("big", 9, "1" * 64, ""), Remote("small", 2, "", "3" * 40)


def listing(*files: Remote) -> Listing:
    return Listing(NAME, COMMIT, False, files)


def test_a_pin_is_read_from_the_lock_as_it_was_written() -> None:
    written = manifest.render(pinned(EMPTY, NAME, PIN))
    found = manifest.parse(written)
    assert pin_of(found, NAME, LOCK) == PIN
    assert found.sealed["image"] == {"id": "kept"}


def test_a_second_pin_leaves_the_first() -> None:
    both = pinned(pinned(EMPTY, NAME, PIN), "another/model", Pin("b" * 40, {}))
    assert pin_of(both, NAME, LOCK) == PIN


def test_what_was_never_used_has_none() -> None:
    assert pin_of(EMPTY, NAME, LOCK) is None


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
def test_a_pin_that_makes_no_sense_is_no_pin(entry: object) -> None:
    damaged = dataclasses.replace(EMPTY, sealed={"hub": {NAME: entry}})
    with pytest.raises(BadLock, match=NAME):
        pin_of(damaged, NAME, LOCK)


def test_the_same_is_the_same() -> None:
    compare(PIN, listing(BIG, SMALL))


def test_a_commit_that_was_only_named_has_no_files_to_compare() -> None:
    compare(Pin(COMMIT, {}), listing(BIG))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ((BIG,), "small of .* not there any more"),
        ((BIG, SMALL, Remote("new", 1, "", "4" * 40)), "new of .* was not there"),
        ((Remote("big", 8, "1" * 64, ""), SMALL), "big of .* 8 bytes in place of 9"),
        ((Remote("big", 9, "5" * 64, ""), SMALL), "big of .* its sha256 is 555"),
    ],
)
def test_a_difference_is_named(files: tuple[Remote, ...], complaint: str) -> None:
    with pytest.raises(HubChanged, match=complaint):
        compare(PIN, listing(*files))


def test_what_arrived_is_compared_too() -> None:
    check(PIN, NAME, "small", "2" * 64)
    with pytest.raises(HubChanged, match="small"):
        check(PIN, NAME, "small", "6" * 64)
