"""The model hub, through its own library: what a repository holds, and one file of it at a time.

The library finds the hub (HF_ENDPOINT or its default), speaks its protocol, retries, and keeps a
token from other hosts. What it does not do since version 2 is go on where an earlier run stopped:
its own download throws away what has arrived. So files are received by its `http_get`, which can
begin anywhere. Nothing of it is ever written to disk but the files asked for.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import urlsplit

from appliance.errors import (
    BadSetting,
    HubChanged,
    HubUnavailable,
    LicenceNotAccepted,
    NoSpace,
    PackageUnavailable,
)
from appliance.weights.seal import sha256_of
from ops.bundle.fetch import free_bytes

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIMEOUT_SECONDS = 30.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

AskToken = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as the hub lists it. Large ones are known by `sha256`, others by git's own id."""

    name: str
    size_bytes: int
    sha256: str
    git_id: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit. `gated`: its files are for who accepted a licence."""

    repository: str
    revision: str
    gated: bool
    files: tuple[Remote, ...]


class Hub:
    """Asks for a token when a repository is gated, once, and sends it for such a one only."""

    def __init__(self, endpoint: str, ask_token: AskToken, token: str = "") -> None:
        """`endpoint`: an address in place of the library's default, or empty.

        Raises PackageUnavailable when the library is not installed.
        """
        if importlib.util.find_spec("huggingface_hub") is None:
            why = "it is not installed here; ops/weights runs this where it is"
            raise PackageUnavailable(package="huggingface_hub", why=why)
        from huggingface_hub import HfApi

        self._api = HfApi(endpoint=endpoint.rstrip("/") or None, token=False)
        self._ask_token = ask_token
        self._token = token

    def listing(self, repository: str, revision: str = "") -> Listing:
        """What the repository holds at a commit, or at its newest.

        Raises HubUnavailable, HubChanged when it is another commit than was asked for, and
        LicenceNotAccepted.
        """
        from huggingface_hub.errors import GatedRepoError

        def ask(token: str) -> Any:
            return self._api.model_info(
                repository,
                revision=revision or None,
                files_metadata=True,
                timeout=_TIMEOUT_SECONDS,
                token=token or False,
            )

        with _told(repository, revision):
            try:
                info = ask("")
            except GatedRepoError:
                info = ask(self._unlocked(repository))
        if not COMMIT.fullmatch(info.sha or ""):
            raise HubUnavailable(repository=repository, why=f"its commit is {info.sha!r}")
        if revision and info.sha != revision:
            why = f"commit {revision} was asked for, and {info.sha} came"
            raise HubChanged(repository=repository, what="The revision", why=why)
        files = tuple(_remote(repository, sibling) for sibling in info.siblings or ())
        return Listing(repository, info.sha, bool(info.gated), files)

    def open_gate(self, listing: Listing) -> None:
        """Tries whether the first file may be had. Raises LicenceNotAccepted, HubUnavailable."""
        if not listing.gated:
            return
        from huggingface_hub import get_hf_file_metadata

        token = self._unlocked(listing.repository)
        with _told(listing.repository, listing.revision):
            get_hf_file_metadata(self._url(listing, listing.files[0].name), token=token)

    def page(self, repository: str) -> str:
        """Where a person reads and accepts a licence."""
        return f"{self._api.endpoint}/{repository}"

    def download(
        self, listing: Listing, file: Remote, target: Path, tell: Callable[[int], None]
    ) -> str:
        """Brings one file to `target`, and returns its sha256.

        It appears there when it is whole and what the hub said that it is. What an earlier run
        received of it is kept beside it as `.partial`, and gone on with. `tell` hears how much of
        it is here, in bytes. Raises HubUnavailable, HubChanged, LicenceNotAccepted, NoSpace.
        """
        if target.is_file():
            sha256, named = _hashes(target, file)
            if named == _name(file):
                return sha256
            target.unlink()
        partial = target.with_name(target.name + ".partial")
        attempts = 2 if partial.exists() else 1  # what another run left may be damaged
        for _ in range(attempts):
            self._receive(listing, file, partial, tell)
            sha256, named = _hashes(partial, file)
            if named == _name(file):
                partial.rename(target)
                return sha256
            partial.unlink()
        what, why = f"{file.name}, as it arrived,", f"{named} in place of {_name(file)}"
        raise HubChanged(repository=listing.repository, what=what, why=why)

    def _receive(
        self, listing: Listing, file: Remote, partial: Path, tell: Callable[[int], None]
    ) -> None:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        token = self._unlocked(listing.repository) if listing.gated else False
        # The bytes themselves: a part of a compressed answer is no part of the file.
        headers = build_hf_headers(token=token) | {"accept-encoding": "identity"}
        with _told(listing.repository, listing.revision, partial.parent, file.size_bytes):
            partial.parent.mkdir(parents=True, exist_ok=True)
            if partial.exists() and partial.stat().st_size > file.size_bytes:
                partial.unlink()
            with partial.open("ab") as out:
                # The hub's own address each time: those of its stores, where it leads to, expire.
                http_get(
                    self._url(listing, file.name),
                    out,
                    resume_size=out.tell(),
                    headers=headers,
                    expected_size=file.size_bytes,
                    displayed_filename=file.name,
                    tqdm_class=_listener(lambda: tell(out.tell())),
                )

    def _url(self, listing: Listing, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(
            listing.repository, name, revision=listing.revision, endpoint=self._api.endpoint
        )

    def _unlocked(self, repository: str) -> str:
        """The token, asked for when there is none yet."""
        address = urlsplit(self._api.endpoint)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            why = "a token is not sent without encryption; use an address with https"
            raise BadSetting(name="HF_ENDPOINT", why=why)
        if not self._token:
            self._token = self._ask_token(repository)
        return self._token


@contextmanager
def _told(
    repository: str, revision: str, folder: Path | None = None, wanted_bytes: int = 0
) -> Iterator[None]:
    """Says in our words what the library could not do."""
    from httpx2 import HTTPError  # the library's client
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as problem:
        why = "the token's account is not among those that its authors let in"
        raise LicenceNotAccepted(repository=repository, why=why) from problem
    except RevisionNotFoundError as problem:
        why = f"it has no revision {revision or 'at all'}"
        raise HubUnavailable(repository=repository, why=why) from problem
    except HfHubHTTPError as problem:
        status = problem.response.status_code if problem.response is not None else 0
        why = {
            401: "there is none of this name that anybody may see, or the token is wrong",
            403: "this token may not read it: give it the right to read gated repositories",
            404: "there is no such repository or file",
        }.get(status, f"the hub answered with {status}")
        raise HubUnavailable(repository=repository, why=why) from problem
    except OSError as problem:
        if problem.errno == errno.ENOSPC and folder:
            free = free_bytes(folder)
            raise NoSpace(folder=folder, free_bytes=free, wanted_bytes=wanted_bytes) from problem
        raise HubUnavailable(repository=repository, why=_short(problem)) from problem
    except HTTPError as problem:
        raise HubUnavailable(repository=repository, why=_short(problem)) from problem


def _short(problem: Exception) -> str:
    text = str(problem) or type(problem).__name__
    return text.splitlines()[0]


def _remote(repository: str, sibling: Any) -> Remote:
    name, size_bytes = sibling.rfilename, sibling.size
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or str(plain) != name or "\\" in name:
        raise HubChanged(repository=repository, what=repr(name), why="it is no plain file name")
    known = _SHA256.fullmatch(sha256) if sha256 else COMMIT.fullmatch(sibling.blob_id or "")
    if not isinstance(size_bytes, int) or size_bytes < 0 or not known:
        why = f"the hub does not say how large {name} is, or what is in it"
        raise HubUnavailable(repository=repository, why=why)
    return Remote(name, size_bytes, sha256, sibling.blob_id or "")


def _name(file: Remote) -> str:
    """What the hub knows a file's content by."""
    return file.sha256 or file.git_id


def _hashes(path: Path, file: Remote) -> tuple[str, str]:
    """The sha256 of what lies there, and its name as the hub would call it."""
    sha256 = sha256_of(path)
    if file.sha256:
        return sha256, sha256
    content = path.read_bytes()  # git's own: SHA-1 over a header and the content
    header = b"blob %d\0" % len(content)
    return sha256, hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _listener(heard: Callable[[], None]) -> Any:
    """A class that stands in for the library's progress bar, and draws none."""

    class Listener:
        def __init__(self, **_: object) -> None:
            heard()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, _: float = 1) -> None:
            heard()

    return Listener
