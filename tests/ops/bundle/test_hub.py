"""The hub client against a fake hub: listing, downloading, resuming, and what it refuses."""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import (
    BadSetting,
    HubChanged,
    HubUnavailable,
    LicenceNotAccepted,
    NoSpace,
    PackageUnavailable,
)
from ops.bundle.hub import Hub, Listing, RemoteFile
from tests.ops.bundle.fake_hub import TOKEN, FakeHub

NAME = "someone/model"
BIG = bytes(range(256)) * 2000
# The library writes 10 MiB at a time; a started chunk is lost when the connection breaks.
CHUNK = 10 << 20
HUGE = bytes(range(256)) * (3 * CHUNK // 256)
FILES = {"config.json": b"{}", "model.safetensors": BIG, "voices/a.pt": b"v" * 3000}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    # Another test of this process may have set it before the library was imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with FakeHub() as hub:
        yield hub


class TokenPrompt:
    """Returns a token and records the repositories it was asked for."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token, self.repositories = token, list[str]()

    def __call__(self, repository: str) -> str:
        self.repositories.append(repository)
        return self.token


@pytest.fixture
def prompt() -> TokenPrompt:
    return TokenPrompt()


@pytest.fixture
def hub(server: FakeHub, prompt: TokenPrompt) -> Hub:
    return Hub(server.endpoint, prompt)


def file_of(listing: Listing, name: str) -> RemoteFile:
    return next(file for file in listing.files if file.name == name)


def download(hub: Hub, folder: Path, name: str = "model.safetensors") -> str:
    listing = hub.listing(NAME)
    return hub.download(listing, file_of(listing, name), folder / name, lambda _: None)


def test_listing_has_commit_sizes_and_hashes(server: FakeHub, hub: Hub) -> None:
    commit = server.add(NAME, FILES)
    listing = hub.listing(NAME)
    assert (listing.revision, listing.gated) == (commit, False)
    assert {file.name: file.size_bytes for file in listing.files} == {
        name: len(content) for name, content in FILES.items()
    }
    assert file_of(listing, "model.safetensors").sha256 == hashlib.sha256(BIG).hexdigest()
    assert file_of(listing, "config.json").sha256 == ""


def test_listing_of_a_pinned_commit_ignores_newer_ones(server: FakeHub, hub: Hub) -> None:
    old = server.add(NAME, FILES)
    new = server.add(NAME, {**FILES, "config.json": b"[]"})
    assert hub.listing(NAME).revision == new
    assert hub.listing(NAME, old).revision == old


@pytest.mark.parametrize("name", FILES)
def test_download_is_complete_and_leaves_no_other_file(
    server: FakeHub, hub: Hub, tmp_path: Path, name: str
) -> None:
    server.add(NAME, FILES)
    assert download(hub, tmp_path, name) == hashlib.sha256(FILES[name]).hexdigest()
    assert (tmp_path / name).read_bytes() == FILES[name]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [Path(name).name]


def test_existing_file_is_not_downloaded_again(server: FakeHub, hub: Hub, tmp_path: Path) -> None:
    server.add(NAME, FILES)
    download(hub, tmp_path)
    server.requests.clear()
    download(hub, tmp_path)
    assert server.downloads() == []


def test_damaged_file_is_downloaded_again(server: FakeHub, hub: Hub, tmp_path: Path) -> None:
    server.add(NAME, FILES)
    download(hub, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * len(BIG))
    download(hub, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == BIG


def test_broken_connection_is_resumed_at_the_last_chunk(
    server: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, {"model.safetensors": HUGE})
    server.cut["model.safetensors"] = [CHUNK + 200_000]
    download(hub, tmp_path)
    begins = [request.begin for request in server.requests if request.server == "store"]
    assert begins == ["", str(CHUNK)]
    assert (tmp_path / "model.safetensors").read_bytes() == HUGE


KILLED = """
import sys
from pathlib import Path
from ops.bundle.hub import Hub
hub = Hub(sys.argv[1], lambda repository: "")
listing = hub.listing("someone/model")
file = next(file for file in listing.files if file.name == "model.safetensors")
hub.download(listing, file, Path(sys.argv[2]), lambda here: None)
"""


def test_download_of_a_killed_run_is_resumed_by_the_next(
    server: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, {"model.safetensors": HUGE})
    server.stalled["model.safetensors"] = 2 * CHUNK + 300_000
    target = tmp_path / "model.safetensors"
    partial = tmp_path / "model.safetensors.partial"
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.endpoint, str(target)])
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size == 2 * CHUNK):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not target.exists()
    server.stalled.clear()
    server.requests.clear()
    download(hub, tmp_path)
    assert [request.begin for request in server.requests if request.server == "store"] == [
        str(2 * CHUNK)
    ]
    assert target.read_bytes() == HUGE and not partial.exists()


def test_damaged_partial_file_is_discarded(server: FakeHub, hub: Hub, tmp_path: Path) -> None:
    server.add(NAME, FILES)
    (tmp_path / "model.safetensors.partial").write_bytes(b"\0" * 1000)
    download(hub, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == BIG


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_changed_byte_is_refused_by_file_name(
    server: FakeHub, hub: Hub, tmp_path: Path, name: str
) -> None:
    server.add(NAME, FILES)
    server.swapped[name] = b"x" + FILES[name][1:]
    with pytest.raises(HubChanged, match=f"The download of {name}"):
        download(hub, tmp_path, name)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_other_commit_than_requested_is_refused(server: FakeHub, hub: Hub) -> None:
    old = server.add(NAME, FILES)
    server.lying[old] = server.add(NAME, {**FILES, "config.json": b"[]"})
    with pytest.raises(HubChanged, match=f"{old} was requested"):
        hub.listing(NAME, old)


def test_unknown_commit_is_named(server: FakeHub, hub: Hub) -> None:
    server.add(NAME, FILES)
    with pytest.raises(HubUnavailable, match=f"no revision {'a' * 40}"):
        hub.listing(NAME, "a" * 40)


def test_unknown_repository_is_named(hub: Hub) -> None:
    with pytest.raises(
        HubUnavailable, match="someone/model cannot be downloaded: it does not exist"
    ):
        hub.listing(NAME)


def test_unreachable_hub_is_an_error_of_one_line() -> None:
    with pytest.raises(HubUnavailable) as caught:
        Hub("http://127.0.0.1:9", lambda _: "").listing(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a//b", "a\\b"])
def test_file_name_outside_the_folder_is_refused(server: FakeHub, hub: Hub, name: str) -> None:
    server.add(NAME, {name: b"x"})
    with pytest.raises(HubChanged, match="not a plain file name"):
        hub.listing(NAME)


def test_token_is_not_sent_for_an_open_repository(
    server: FakeHub, prompt: TokenPrompt, tmp_path: Path
) -> None:
    server.add(NAME, FILES)
    hub = Hub(server.endpoint, prompt, TOKEN)
    hub.check_access(hub.listing(NAME))
    download(hub, tmp_path)
    assert {request.token for request in server.requests} == {""}
    assert prompt.repositories == []


def test_gated_repository_asks_for_the_token_once_and_the_store_never_gets_it(
    server: FakeHub, hub: Hub, prompt: TokenPrompt, tmp_path: Path
) -> None:
    server.add(NAME, FILES, gated=True)
    hub.check_access(hub.listing(NAME))
    download(hub, tmp_path)
    download(hub, tmp_path, "config.json")
    assert prompt.repositories == [NAME]
    assert {request.token for request in server.requests if request.server == "store"} == {""}
    assert TOKEN in {request.token for request in server.requests}
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in stored


def test_account_without_access_is_told_to_accept_the_licence(server: FakeHub) -> None:
    server.add(NAME, FILES, gated=True)
    hub = Hub(server.endpoint, TokenPrompt("hf_another"))
    with pytest.raises(LicenceNotAccepted, match=r"someone/model.*account has no access") as caught:
        hub.check_access(hub.listing(NAME))
    assert "hf_another" not in str(caught.value)


def test_token_is_not_sent_unencrypted(prompt: TokenPrompt) -> None:
    hub = Hub("http://hub.example", prompt)
    with pytest.raises(BadSetting, match=r"HF_ENDPOINT.*without encryption"):
        hub.check_access(Listing(NAME, "a" * 40, True, ()))
    assert prompt.repositories == []


def test_full_disk_during_a_download_is_named(server: FakeHub, hub: Hub, tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.add(NAME, FILES)
    listing = hub.listing(NAME)
    with pytest.raises(NoSpace, match=str(tmp_path)):
        hub.download(listing, file_of(listing, "model.safetensors"), tmp_path / "model", full)


def test_missing_library_is_an_error_that_names_ops_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PackageUnavailable, match=r"huggingface_hub.*ops/weights"):
        Hub("", lambda _: "")
