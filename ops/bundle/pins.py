"""Pin repositories of the model hub to a commit and its files, under `hub` in the lock.

A repository that was never used has no pin. The first run trusts its newest commit, writes it into
the lock and prints a note. Every later run fails if the commit or a file on the hub differs.
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


class PinnedFile(NamedTuple):
    """A file's size in bytes and its sha256 in hex."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Pin:
    """The commit of a repository and, after the first download, its files by name."""

    revision: str
    files: Mapping[str, PinnedFile]


def find_pin(manifest: Manifest, repository: str, lock: Path) -> Pin | None:
    """Return the pin of a repository. Raises BadLock if the entry in the lock is invalid."""
    tree: Any = manifest.extra.get(KEY, {})
    try:
        if repository not in tree:
            return None
        entry = tree[repository]
        files = {name: PinnedFile(**file) for name, file in entry["files"].items()}
        pin = Pin(entry["revision"], files)
        if not COMMIT.fullmatch(pin.revision):
            raise ValueError(f"{pin.revision!r} is not a commit hash")
        for name, file in files.items():
            if type(file.size_bytes) is not int or not _SHA256.fullmatch(file.sha256):
                raise ValueError(f"{name} has an invalid size or sha256")
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise BadLock(path=lock, why=f"hub: {repository}: {problem}") from problem
    return pin


def set_pin(manifest: Manifest, repository: str, pin: Pin) -> Manifest:
    """Return the lock with this pin of a repository."""
    files = {name: file._asdict() for name, file in sorted(pin.files.items())}
    entry = {"revision": pin.revision, "files": files}
    hub = {**manifest.extra.get(KEY, {}), repository: entry}
    return dataclasses.replace(manifest, extra={**manifest.extra, KEY: hub})


def check_listing(pin: Pin, listing: Listing) -> None:
    """Raise HubChanged with the first file of `listing` that differs from the pin.

    `listing` must contain only the requested files.
    """
    if not pin.files:
        return
    listed = {file.name: file for file in listing.files}
    for name in sorted(pin.files.keys() ^ listed.keys()):
        why = "the file is new" if name in listed else "the file no longer exists"
        raise HubChanged(repository=listing.repository, what=name, why=why)
    for name, pinned in pin.files.items():
        file = listed[name]
        if file.size_bytes != pinned.size_bytes:
            why = f"{file.size_bytes:,} bytes instead of {pinned.size_bytes:,}"
            raise HubChanged(repository=listing.repository, what=name, why=why)
        if file.sha256:
            check_file(pin, listing.repository, name, file.sha256)


def check_file(pin: Pin, repository: str, name: str, sha256: str) -> None:
    """Raise HubChanged if the pin has a different sha256 for this file."""
    pinned = pin.files.get(name)
    if pinned and pinned.sha256 != sha256:
        why = f"its sha256 is {sha256} instead of {pinned.sha256}"
        raise HubChanged(repository=repository, what=name, why=why)
