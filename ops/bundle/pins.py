"""Pins: the commit of a model repository that is used, and its files, under `hub` in the lock.

A repository that was never used has none. The first run takes the newest commit on trust, writes it
down and says so; from then on a run that finds anything else stops.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from appliance.errors import BadLock, HubChanged
from appliance.weights.manifest import Manifest
from ops.bundle.hub import COMMIT, Listing

KEY = "hub"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Pinned(NamedTuple):
    """What is known of a file: its size in bytes and its sha256 in hex."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A repository's commit and, once all were downloaded, its files by name."""

    revision: str
    files: Mapping[str, Pinned]


def pin_of(manifest: Manifest, repository: str, lock: Path) -> Pin | None:
    """What the lock says of a repository. Raises BadLock when that is not to be understood."""
    tree: Any = manifest.sealed.get(KEY, {})
    try:
        if repository not in tree:
            return None
        entry = tree[repository]
        files = {name: Pinned(**file) for name, file in entry["files"].items()}
        pin = Pin(entry["revision"], files)
        if not COMMIT.fullmatch(pin.revision):
            raise ValueError(f"{pin.revision!r} is no commit hash")
        for name, file in files.items():
            if type(file.size_bytes) is not int or not _SHA256.fullmatch(file.sha256):
                raise ValueError(f"{name} has no such size or sha256")
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise BadLock(path=lock, why=f"hub: {repository}: {problem}") from problem
    return pin


def pinned(manifest: Manifest, repository: str, pin: Pin) -> Manifest:
    """The lock with this pin in place of another."""
    files = {name: file._asdict() for name, file in sorted(pin.files.items())}
    entry = {"revision": pin.revision, "files": files}
    hub = {**manifest.sealed.get(KEY, {}), repository: entry}
    return dataclasses.replace(manifest, sealed={**manifest.sealed, KEY: hub})


def compare(pin: Pin, listing: Listing) -> None:
    """Raises HubChanged naming the first file of which the hub says something else than the pin.

    `listing` holds the files that are wanted.
    """
    if not pin.files:
        return
    there = {file.name: file for file in listing.files}
    for name in sorted(pin.files.keys() ^ there.keys()):
        why = "it was not there" if name in there else "it is not there any more"
        raise HubChanged(repository=listing.repository, what=name, why=why)
    for name, known in pin.files.items():
        file = there[name]
        if file.size_bytes != known.size_bytes:
            why = f"{file.size_bytes:,} bytes in place of {known.size_bytes:,}"
            raise HubChanged(repository=listing.repository, what=name, why=why)
        if file.sha256:
            check(pin, listing.repository, name, file.sha256)


def check(pin: Pin, repository: str, name: str, sha256: str) -> None:
    """Raises HubChanged when a file has another sha256 than the pin says, if it says one."""
    known = pin.files.get(name)
    if known and known.sha256 != sha256:
        why = f"its sha256 is {sha256} in place of {known.sha256}"
        raise HubChanged(repository=repository, what=name, why=why)
