"""The token store's file: its mode, atomic changes, and changes at the same time."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import pytest

from appliance.access import file
from appliance.access.store import BadStore, NameTaken, Store, new_store


def create(path: Path, name: str) -> None:
    def changed(store: Store | None) -> Store:
        return (store or new_store(secrets.token_bytes)).create(name, 0, secrets.token_bytes)[0]

    file.change(path, changed)


def names(path: Path) -> set[str]:
    store = file.load(path)
    return {token.name for token in store.tokens.values()} if store else set()


def test_file_can_be_read_by_its_owner_only_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    before = os.umask(0)
    try:
        create(path, "ward-1")
        create(path, "ward-2")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(path) == {"ward-1", "ward-2"}
    assert list(tmp_path.iterdir()) == [path]


def test_refused_change_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    create(path, "ward-1")
    before = path.read_bytes()
    with pytest.raises(NameTaken):
        create(path, "ward-1")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("damaged")
    with pytest.raises(BadStore):
        create(path, "ward-1")
    assert path.read_text() == "damaged"


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    threads = [threading.Thread(target=create, args=(path, f"ward-{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(path) == {f"ward-{n}" for n in range(8)}


def test_each_change_gives_another_version(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    versions = [file.version_of(path)]
    for number in range(3):
        create(path, f"ward-{number}")
        versions.append(file.version_of(path))
    assert versions[0] is None and len(set(versions)) == 4
