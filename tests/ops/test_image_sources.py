"""When the image of an earlier part of the test run is used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image import sealed


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in sealed.SOURCE_FOLDERS:
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner/file").write_text("a line\n")
    for name in sealed.SOURCE_FILES:
        (tmp_path / name).write_text("a line\n")
    return tmp_path


def test_every_change_of_the_sources_changes_their_fingerprint(sources: Path) -> None:
    seen = [sealed.fingerprint(sources)]
    assert sealed.fingerprint(sources) == seen[0]
    paths = [sources / name / "inner/file" for name in sealed.SOURCE_FOLDERS]
    for path in (*paths, *(sources / name for name in sealed.SOURCE_FILES)):
        path.write_text("another line\n")
        seen.append(sealed.fingerprint(sources))
    paths[0].chmod(0o700)
    seen.append(sealed.fingerprint(sources))
    paths[0].rename(paths[0].with_name("renamed"))
    seen.append(sealed.fingerprint(sources))
    assert len(set(seen)) == len(seen)


def test_image_of_the_same_sources_is_built_once(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not again in another process, but after a change and if podman has lost it."""
    built: list[str] = []

    class Store:
        """A host's image store, which says which image has the tag."""

        def __init__(self) -> None:
            self.images: list[str] = []

        def run(self, *command: str) -> object:
            return type("Done", (), {"stdout": "\n".join(self.images[-1:])})()

    host, out = Store(), tmp_path / "out"
    out.mkdir()

    def build(on: Store, out: Path, *, root: Path) -> sealed.Built:
        built.append(sealed.fingerprint(root))
        on.images.append(f"id{len(built)}")
        (out / "image-manifest.lock").write_text(f'{{"image": {{"id": "sha256:{on.images[-1]}"}}}}')
        return sealed.Built(on, sealed.TAG, out)  # type: ignore[arg-type]

    monkeypatch.setattr(sealed, "build", build)
    for _ in range(2):
        assert sealed.build_once(host, out, sources).id == "sha256:id1"  # type: ignore[arg-type]
    (sources / "Dockerfile").write_text("another\n")
    assert sealed.build_once(host, out, sources).id == "sha256:id2"  # type: ignore[arg-type]
    host.images.clear()
    sealed.build_once(host, out, sources)  # type: ignore[arg-type]
    assert len(built) == 3
