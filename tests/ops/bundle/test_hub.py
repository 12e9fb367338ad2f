"""The hub's library against a hub on loopback: what is listed, received, gone on with, refused."""

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
from ops.bundle.hub import Hub, Listing, Remote
from tests.ops.bundle.hub_made_here import TOKEN, HubMadeHere

NAME = "someone/model"
BIG = bytes(range(256)) * 2000
# The library writes 10 MiB at a time, and what it has of the next is lost with a connection.
PIECE = 10 << 20
HUGE = bytes(range(256)) * (3 * PIECE // 256)
FILES = {"config.json": b"{}", "model.safetensors": BIG, "voices/a.pt": b"v" * 3000}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubMadeHere]:
    # Another test of the same process may have switched it off before the library was imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with HubMadeHere() as started:
        yield started


class Asked:
    """Gives a token, and remembers who it was asked for."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token, self.repositories = token, list[str]()

    def __call__(self, repository: str) -> str:
        self.repositories.append(repository)
        return self.token


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def hub(server: HubMadeHere, asked: Asked) -> Hub:
    return Hub(server.endpoint, asked)


def file_of(listing: Listing, name: str) -> Remote:
    return next(file for file in listing.files if file.name == name)


def download(hub: Hub, folder: Path, name: str = "model.safetensors") -> str:
    listing = hub.listing(NAME)
    return hub.download(listing, file_of(listing, name), folder / name, lambda _: None)


def test_a_listing_says_what_is_there_at_which_commit(server: HubMadeHere, hub: Hub) -> None:
    commit = server.add(NAME, FILES)
    listing = hub.listing(NAME)
    assert (listing.revision, listing.gated) == (commit, False)
    assert {file.name: file.size_bytes for file in listing.files} == {
        name: len(content) for name, content in FILES.items()
    }
    assert file_of(listing, "model.safetensors").sha256 == hashlib.sha256(BIG).hexdigest()
    assert file_of(listing, "config.json").sha256 == ""


def test_a_pinned_commit_stays_although_there_is_a_newer(server: HubMadeHere, hub: Hub) -> None:
    old = server.add(NAME, FILES)
    new = server.add(NAME, {**FILES, "config.json": b"[]"})
    assert hub.listing(NAME).revision == new
    assert hub.listing(NAME, old).revision == old


@pytest.mark.parametrize("name", FILES)
def test_a_file_arrives_as_it_is(server: HubMadeHere, hub: Hub, tmp_path: Path, name: str) -> None:
    server.add(NAME, FILES)
    assert download(hub, tmp_path, name) == hashlib.sha256(FILES[name]).hexdigest()
    assert (tmp_path / name).read_bytes() == FILES[name]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [Path(name).name]


def test_what_is_here_is_not_downloaded_again(
    server: HubMadeHere, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, FILES)
    download(hub, tmp_path)
    server.requests.clear()
    download(hub, tmp_path)
    assert server.downloads() == []


def test_what_is_here_and_damaged_is_downloaded_again(
    server: HubMadeHere, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, FILES)
    download(hub, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * len(BIG))
    download(hub, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == BIG


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    server: HubMadeHere, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, {"model.safetensors": HUGE})
    server.cut["model.safetensors"] = [PIECE + 200_000]
    download(hub, tmp_path)
    begins = [request.begin for request in server.requests if request.server == "store"]
    assert begins == ["", str(PIECE)]
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


def test_a_run_that_was_killed_is_taken_up_by_the_next(
    server: HubMadeHere, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, {"model.safetensors": HUGE})
    server.stalled["model.safetensors"] = 2 * PIECE + 300_000
    target = tmp_path / "model.safetensors"
    partial = tmp_path / "model.safetensors.partial"
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.endpoint, str(target)])
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size == 2 * PIECE):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not target.exists()
    server.stalled.clear()
    server.requests.clear()
    download(hub, tmp_path)
    assert [request.begin for request in server.requests if request.server == "store"] == [
        str(2 * PIECE)
    ]
    assert target.read_bytes() == HUGE and not partial.exists()


def test_a_damaged_rest_of_an_earlier_run_is_thrown_away(
    server: HubMadeHere, hub: Hub, tmp_path: Path
) -> None:
    server.add(NAME, FILES)
    (tmp_path / "model.safetensors.partial").write_bytes(b"\0" * 1000)
    download(hub, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == BIG


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_byte_is_refused_by_name(
    server: HubMadeHere, hub: Hub, tmp_path: Path, name: str
) -> None:
    server.add(NAME, FILES)
    server.swapped[name] = b"x" + FILES[name][1:]
    with pytest.raises(HubChanged, match=f"{name}, as it arrived,"):
        download(hub, tmp_path, name)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_commit_than_was_asked_for_is_refused(server: HubMadeHere, hub: Hub) -> None:
    old = server.add(NAME, FILES)
    server.lying[old] = server.add(NAME, {**FILES, "config.json": b"[]"})
    with pytest.raises(HubChanged, match=f"{old} was asked for"):
        hub.listing(NAME, old)


def test_a_commit_that_is_not_there_is_named(server: HubMadeHere, hub: Hub) -> None:
    server.add(NAME, FILES)
    with pytest.raises(HubUnavailable, match=f"no revision {'a' * 40}"):
        hub.listing(NAME, "a" * 40)


def test_a_repository_that_is_not_there_is_named(hub: Hub) -> None:
    with pytest.raises(HubUnavailable, match="someone/model cannot be had: there is none"):
        hub.listing(NAME)


def test_a_hub_that_does_not_answer_is_an_error_in_one_line() -> None:
    with pytest.raises(HubUnavailable) as caught:
        Hub("http://127.0.0.1:9", lambda _: "").listing(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a//b", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused(server: HubMadeHere, hub: Hub, name: str) -> None:
    server.add(NAME, {name: b"x"})
    with pytest.raises(HubChanged, match="no plain file name"):
        hub.listing(NAME)


def test_an_open_repository_never_sees_the_token(
    server: HubMadeHere, asked: Asked, tmp_path: Path
) -> None:
    server.add(NAME, FILES)
    hub = Hub(server.endpoint, asked, TOKEN)
    hub.open_gate(hub.listing(NAME))
    download(hub, tmp_path)
    assert {request.token for request in server.requests} == {""}
    assert asked.repositories == []


def test_a_gated_one_asks_for_a_token_once_and_its_store_never_sees_it(
    server: HubMadeHere, hub: Hub, asked: Asked, tmp_path: Path
) -> None:
    server.add(NAME, FILES, gated=True)
    hub.open_gate(hub.listing(NAME))
    download(hub, tmp_path)
    download(hub, tmp_path, "config.json")
    assert asked.repositories == [NAME]
    assert {request.token for request in server.requests if request.server == "store"} == {""}
    assert TOKEN in {request.token for request in server.requests}
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in kept


def test_an_account_that_has_not_accepted_the_licence_is_told_so(server: HubMadeHere) -> None:
    server.add(NAME, FILES, gated=True)
    hub = Hub(server.endpoint, Asked("hf_another"))
    with pytest.raises(LicenceNotAccepted, match=r"someone/model.*not among those") as caught:
        hub.open_gate(hub.listing(NAME))
    assert "hf_another" not in str(caught.value)


def test_a_token_is_not_sent_where_anybody_could_read_it(asked: Asked) -> None:
    hub = Hub("http://hub.example", asked)
    with pytest.raises(BadSetting, match=r"HF_ENDPOINT.*without encryption"):
        hub.open_gate(Listing(NAME, "a" * 40, True, ()))
    assert asked.repositories == []


def test_a_disk_that_fills_up_is_named(server: HubMadeHere, hub: Hub, tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.add(NAME, FILES)
    listing = hub.listing(NAME)
    with pytest.raises(NoSpace, match=str(tmp_path)):
        hub.download(listing, file_of(listing, "model.safetensors"), tmp_path / "model", full)


def test_without_the_library_the_error_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PackageUnavailable, match=r"huggingface_hub.*ops/weights"):
        Hub("", lambda _: "")
