"""The same sources give the same image."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.image.sealed import Built, build, store


def test_second_build_in_an_empty_store_gives_the_same_image(
    built: Built, sources: Path, tmp_path: Path
) -> None:
    """With an empty store; the base is bootstrapped again and every package downloaded again."""
    with store(tmp_path / "store") as elsewhere:
        again = build(elsewhere, tmp_path / "elsewhere/cpu", "--without-sbom", root=sources)
    assert again.lock["image"]["layers"] == built.lock["image"]["layers"]
    assert again.id == built.id
    assert again.lock == built.lock
    shutil.rmtree(tmp_path / "store")
