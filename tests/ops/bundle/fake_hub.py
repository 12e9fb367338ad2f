"""A fake model hub on loopback: the protocol that huggingface_hub uses, with injectable faults.

    /api/models/NAME[/revision/COMMIT]?blobs=True   the listing of a repository
    /NAME/resolve/COMMIT/FILE                       a small file, or a redirect to a large one
    STORE/SHA256                                    large files: another server, as on the real hub

Header names and error codes are those that huggingface_hub checks.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

TOKEN = "hf_madeHereForTests0123456789"
_LARGE_BYTES = 2000  # files of this size or more are in the store


class HubRequest(NamedTuple):
    """A received request. `begin`: the start of the requested range, as text."""

    server: str
    method: str
    path: str
    begin: str
    token: str


@dataclass
class FakeRepository:
    """Commits by hash, each with files by name; `head` is the newest commit."""

    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    head: str = ""

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Add a commit with exactly these files and return its hash."""
        listing = "".join(f"{name}\0{_sha256(content)}\n" for name, content in files.items())
        self.head = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[self.head] = dict(files)
        return self.head


class FakeHub:
    """Serves while its context is entered.

    cut       numbers of bytes after which successive downloads of a file are cut off
    stalled   numbers of bytes after which a download stalls until the hub stops
    swapped   other contents that are served for a file
    lying     commits for which another one is returned
    """

    def __init__(self) -> None:
        self.repositories: dict[str, FakeRepository] = {}
        self.requests: list[HubRequest] = []
        self.cut: dict[str, list[int]] = {}
        self.stalled: dict[str, int] = {}
        self.swapped: dict[str, bytes] = {}
        self.lying: dict[str, str] = {}
        self.stopped = threading.Event()
        self._front = self._server("hub", _Front)
        self._store = self._server("store", _Store)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._front.server_address[1]}"

    @property
    def store(self) -> str:
        return f"http://localhost:{self._store.server_address[1]}"

    def add(self, name: str, files: Mapping[str, bytes], gated: bool = False) -> str:
        """Add a repository, or a commit to an existing one; return the hash of the commit."""
        repository = self.repositories.setdefault(name, FakeRepository(gated))
        return repository.commit(files)

    def add_folder(self, name: str, folder: Path, gated: bool = False) -> str:
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        return self.add(name, files, gated)

    def downloads(self) -> list[str]:
        """Return the paths of all downloads."""
        gets = (r for r in self.requests if r.method == "GET" and not r.path.startswith("/api/"))
        return [request.path for request in gets]

    def __enter__(self) -> Self:
        for server in (self._front, self._store):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for server in (self._front, self._store):
            server.shutdown()
            server.server_close()

    def _server(self, name: str, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        bound = type(handler.__name__, (handler,), {"hub": self, "server_name": name})
        server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
        server.daemon_threads = True
        return server


class _HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    server_name: str

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def answer(self, path: str) -> None:
        raise NotImplementedError

    def _handle(self) -> None:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        begin = self.headers.get("range", "").removeprefix("bytes=").removesuffix("-")
        path = unquote(urlsplit(self.path).path)
        self.token = token
        self.hub.requests.append(HubRequest(self.server_name, self.command, path, begin, token))
        self.answer(path)

    def refuse(self, status: int, code: str) -> None:
        self.reply(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def reply(
        self, status: int, content: bytes, headers: Mapping[str, str], name: str = ""
    ) -> None:
        """Send a response; for a file called `name`, with the faults of the hub."""
        begin = int(self.headers["range"][6:-1]) if "range" in self.headers else 0
        if begin and status == 200:
            status = 206
            headers = {**headers, "Content-Range": f"bytes {begin}-/{len(content)}"}
            content = content[begin:]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cut.get(name):
            self.wfile.write(content[: self.hub.cut[name].pop(0)])
            self.close_connection = True
        elif name in self.hub.stalled:
            self.wfile.write(content[: self.hub.stalled[name]])
            self.wfile.flush()
            self.hub.stopped.wait()
            self.close_connection = True
        else:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


class _Front(_HubHandler):
    def answer(self, path: str) -> None:
        if path.startswith("/api/models/"):
            name, _, commit = path.removeprefix("/api/models/").partition("/revision/")
            self._list(name, commit)
        else:
            name, _, rest = path[1:].partition("/resolve/")
            self._resolve(name, *rest.split("/", 1))

    def _list(self, name: str, revision: str) -> None:
        repository = self.hub.repositories.get(name)
        if not repository:
            return self.refuse(401, "RepoNotFound")
        commit = self.hub.lying.get(revision, revision or repository.head)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound")
        files = repository.commits[commit].items()
        about = {
            "id": name,
            "sha": commit,
            "private": False,
            "gated": "manual" if repository.gated else False,
            "siblings": [_sibling(file, content) for file, content in files],
        }
        return self.reply(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, commit: str, file: str) -> None:
        repository = self.hub.repositories[name]
        if repository.gated and self.token != TOKEN:
            return self.refuse(403 if self.token else 401, "GatedRepo")
        content = repository.commits[commit][file]
        headers = {"X-Repo-Commit": commit}
        if len(content) < _LARGE_BYTES:
            content = self.hub.swapped.get(file, content)
            return self.reply(200, content, {**headers, "ETag": f'"{_git_id(content)}"'}, file)
        headers |= {
            "Location": f"{self.hub.store}/{_sha256(content)}?of={file}",
            "X-Linked-Etag": f'"{_sha256(content)}"',
            "X-Linked-Size": str(len(content)),
        }
        return self.reply(302, b"", headers)


class _Store(_HubHandler):
    def answer(self, path: str) -> None:
        name = urlsplit(self.path).query.removeprefix("of=")
        commits = (commit for r in self.hub.repositories.values() for commit in r.commits.values())
        contents = {_sha256(c): c for commit in commits for c in commit.values()}
        content = self.hub.swapped.get(unquote(name), contents[path[1:]])
        self.reply(200, content, {"Accept-Ranges": "bytes"}, unquote(name))


def _sibling(name: str, content: bytes) -> dict[str, object]:
    about: dict[str, object] = {"rfilename": name, "size": len(content)}
    if len(content) < _LARGE_BYTES:
        return about | {"blobId": _git_id(content)}
    lfs = {"sha256": _sha256(content), "size": len(content), "pointerSize": 134}
    return about | {"blobId": "0" * 40, "lfs": lfs}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
