"""Client of the model hub, on top of huggingface_hub: list a repository, download a file.

The library chooses the hub's address (HF_ENDPOINT or its default), retries, and does not send the
token to other hosts. Since version 2 its download functions delete partial files and cannot resume
the download of an earlier run. So this client uses the library's `http_get`, which can start at any
offset. Only the requested files are written to disk.
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
class RemoteFile:
    """A file in the hub's listing. Large files have a `sha256`, others only git's blob id."""

    name: str
    size_bytes: int
    sha256: str
    git_id: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit.

    gated   downloads require an account that accepted the licence
    """

    repository: str
    revision: str
    gated: bool
    files: tuple[RemoteFile, ...]


class Hub:
    """A connection to the hub. Asks for a token once, and sends it for gated repositories only."""

    def __init__(self, endpoint: str, ask_token: AskToken, token: str = "") -> None:
        """Create the client. `endpoint`: an address other than the library's default, or empty.

        Raises PackageUnavailable if the library is not installed.
        """
        if importlib.util.find_spec("huggingface_hub") is None:
            why = "it is not installed in this environment; ops/weights uses one that has it"
            raise PackageUnavailable(package="huggingface_hub", why=why)
        from huggingface_hub import HfApi

        self._api = HfApi(endpoint=endpoint.rstrip("/") or None, token=False)
        self._ask_token = ask_token
        self._token = token

    def listing(self, repository: str, revision: str = "") -> Listing:
        """List a repository at a commit; default: its newest commit.

        Raises HubUnavailable, LicenceNotAccepted, and HubChanged if the hub returns a different
        commit.
        """
        from huggingface_hub.errors import GatedRepoError

        def request(token: str) -> Any:
            return self._api.model_info(
                repository,
                revision=revision or None,
                files_metadata=True,
                timeout=_TIMEOUT_SECONDS,
                token=token or False,
            )

        with _translate_errors(repository, revision):
            try:
                info = request("")
            except GatedRepoError:
                info = request(self._require_token(repository))
        if not COMMIT.fullmatch(info.sha or ""):
            raise HubUnavailable(repository=repository, why=f"its commit is {info.sha!r}")
        if revision and info.sha != revision:
            why = f"commit {revision} was requested, {info.sha} was returned"
            raise HubChanged(repository=repository, what="The revision", why=why)
        files = tuple(_parse_file(repository, sibling) for sibling in info.siblings or ())
        return Listing(repository, info.sha, bool(info.gated), files)

    def check_access(self, listing: Listing) -> None:
        """Check that the token grants access to a gated repository.

        Raises LicenceNotAccepted and HubUnavailable.
        """
        if not listing.gated:
            return
        from huggingface_hub import get_hf_file_metadata

        token = self._require_token(listing.repository)
        with _translate_errors(listing.repository, listing.revision):
            get_hf_file_metadata(self._url(listing, listing.files[0].name), token=token)

    def page(self, repository: str) -> str:
        """Return the address of the page where a user can read and accept the licence."""
        return f"{self._api.endpoint}/{repository}"

    def download(
        self, listing: Listing, file: RemoteFile, target: Path, on_progress: Callable[[int], None]
    ) -> str:
        """Download one file to `target` and return its sha256.

        The file is received as `.partial`, verified and then renamed; a partial file of an earlier
        run is resumed. `on_progress` gets the bytes received so far. Raises HubUnavailable,
        HubChanged, LicenceNotAccepted and NoSpace.
        """
        if target.is_file():
            sha256, hub_hash = _hashes(target, file)
            if hub_hash == _expected_hash(file):
                return sha256
            target.unlink()
        partial = target.with_name(target.name + ".partial")
        attempts = 2 if partial.exists() else 1  # the partial file of another run may be damaged
        for _ in range(attempts):
            self._receive(listing, file, partial, on_progress)
            sha256, hub_hash = _hashes(partial, file)
            if hub_hash == _expected_hash(file):
                partial.rename(target)
                return sha256
            partial.unlink()
        what = f"The download of {file.name}"
        why = f"{hub_hash} instead of {_expected_hash(file)}"
        raise HubChanged(repository=listing.repository, what=what, why=why)

    def _receive(
        self, listing: Listing, file: RemoteFile, partial: Path, on_progress: Callable[[int], None]
    ) -> None:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        token = self._require_token(listing.repository) if listing.gated else False
        # Without compression, because a partial compressed response is not a partial file.
        headers = build_hf_headers(token=token) | {"accept-encoding": "identity"}
        with _translate_errors(
            listing.repository, listing.revision, partial.parent, file.size_bytes
        ):
            partial.parent.mkdir(parents=True, exist_ok=True)
            if partial.exists() and partial.stat().st_size > file.size_bytes:
                partial.unlink()
            with partial.open("ab") as out:
                # Always the hub's own address: it redirects to addresses that expire.
                http_get(
                    self._url(listing, file.name),
                    out,
                    resume_size=out.tell(),
                    headers=headers,
                    expected_size=file.size_bytes,
                    displayed_filename=file.name,
                    tqdm_class=_progress_class(lambda: on_progress(out.tell())),
                )

    def _url(self, listing: Listing, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(
            listing.repository, name, revision=listing.revision, endpoint=self._api.endpoint
        )

    def _require_token(self, repository: str) -> str:
        """Return the token; prompt for it once. Raises BadSetting for a hub without TLS."""
        address = urlsplit(self._api.endpoint)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            why = "a token is not sent without encryption; use an https address"
            raise BadSetting(name="HF_ENDPOINT", why=why)
        if not self._token:
            self._token = self._ask_token(repository)
        return self._token


@contextmanager
def _translate_errors(
    repository: str, revision: str, folder: Path | None = None, wanted_bytes: int = 0
) -> Iterator[None]:
    """Translate the library's errors to those of the appliance."""
    from httpx2 import HTTPError  # the library's client
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as problem:
        why = "the token's account has no access; accept the licence on the repository's page"
        raise LicenceNotAccepted(repository=repository, why=why) from problem
    except RevisionNotFoundError as problem:
        why = f"it has no revision {revision}" if revision else "it has no revision"
        raise HubUnavailable(repository=repository, why=why) from problem
    except HfHubHTTPError as problem:
        status = problem.response.status_code if problem.response is not None else 0
        why = {
            401: "it does not exist or is private, or the token is wrong",
            403: "the token needs the permission to read gated repositories",
            404: "the repository or file does not exist",
        }.get(status, f"the hub answered with {status}")
        raise HubUnavailable(repository=repository, why=why) from problem
    except OSError as problem:
        if problem.errno == errno.ENOSPC and folder:
            free = free_bytes(folder)
            raise NoSpace(folder=folder, free_bytes=free, wanted_bytes=wanted_bytes) from problem
        raise HubUnavailable(repository=repository, why=_first_line(problem)) from problem
    except HTTPError as problem:
        raise HubUnavailable(repository=repository, why=_first_line(problem)) from problem


def _first_line(problem: Exception) -> str:
    text = str(problem) or type(problem).__name__
    return text.splitlines()[0]


def _parse_file(repository: str, sibling: Any) -> RemoteFile:
    name, size_bytes = sibling.rfilename, sibling.size
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
        raise HubChanged(repository=repository, what=repr(name), why="not a plain file name")
    is_hashed = _SHA256.fullmatch(sha256) if sha256 else COMMIT.fullmatch(sibling.blob_id or "")
    if not isinstance(size_bytes, int) or size_bytes < 0 or not is_hashed:
        why = f"the hub does not list the size or the hash of {name}"
        raise HubUnavailable(repository=repository, why=why)
    return RemoteFile(name, size_bytes, sha256, sibling.blob_id or "")


def _expected_hash(file: RemoteFile) -> str:
    """Return the hash that the hub lists for the content."""
    return file.sha256 or file.git_id


def _hashes(path: Path, file: RemoteFile) -> tuple[str, str]:
    """Return the sha256 of a file, and the hash that the hub would list for it."""
    sha256 = sha256_of(path)
    if file.sha256:
        return sha256, sha256
    content = path.read_bytes()  # git's id: SHA-1 of a header and the content
    header = b"blob %d\0" % len(content)
    return sha256, hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _progress_class(on_update: Callable[[], None]) -> Any:
    """Return a replacement for the library's progress bar that calls `on_update`."""

    class Progress:
        def __init__(self, **_: object) -> None:
            on_update()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, _: float = 1) -> None:
            on_update()

    return Progress
