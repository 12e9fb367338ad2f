"""The same sources give the same image; a changed line of code changes only the top layer."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.image.sealed import Built, build, repository, store


def test_second_build_in_an_empty_store_gives_the_same_image(
    built: Built, sources: Path, tmp_path: Path
) -> None:
    """With an empty store; the base is bootstrapped again and every package downloaded again."""
    with store(tmp_path / "store") as elsewhere:
        again = build(elsewhere, tmp_path / "elsewhere/cpu", root=sources)
    assert again.lock["image"]["layers"] == built.lock["image"]["layers"]
    assert again.id == built.id
    assert again.lock == built.lock
    shutil.rmtree(tmp_path / "store")


def test_changed_line_of_code_changes_one_small_layer(
    built: Built, sources: Path, tmp_path: Path
) -> None:
    root = repository(tmp_path / "repository", sources)
    with (root / "appliance/__init__.py").open("a") as opened:
        opened.write("\n# one more line\n")
    after = build(
        built.host, built.out.with_name("after"), root=root, tag="localhost/voice-appliance:new"
    )
    assert after.id != built.id
    layers = zip(built.lock["image"]["layers"], after.lock["image"]["layers"], strict=True)
    changed = [new for old, new in layers if old["diff_id"] != new["diff_id"]]
    assert [layer["holds"] for layer in changed] == ["our code"]
    print(f"a code fix ships {changed[0]['size_bytes'] / 1e6:.1f} MB uncompressed")
    assert changed[0]["size_bytes"] < 20e6
    built.host.must("podman", "rmi", "--force", after.tag)
