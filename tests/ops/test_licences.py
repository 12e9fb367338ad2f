"""ops/licences.py: the licences of the packages of an image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.host.hosts import OPS


def write(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(tree: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(OPS / "licences.py"), str(tree), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_package_is_listed_and_its_licence_files_are_copied(tmp_path: Path) -> None:
    tree, folder = tmp_path / "tree", tmp_path / "licences"
    write(
        tree,
        {
            "opt/a-1.dist-info/METADATA": "Name: a\nLicense-Expression: MIT\n\nLicense: other\n",
            "opt/a-1.dist-info/licenses/vendor/NOTICE.txt": "notice",
            "opt/a-1.dist-info/COPYING": "copying",
            "opt/a-1.dist-info/RECORD": "no licence",
            "opt/b-2.dist-info/METADATA": "Classifier: License :: OSI Approved :: BSD License\n",
            "opt/b-2.dist-info/LICENCE": "as the British write it",
            "opt/c-3.dist-info/METADATA": "Name: c\n\nLicense: in the description\n",
            "opt/d-4.dist-info/RECORD": "a package without METADATA",
            "usr/share/doc/libscale/copyright": "BSD-3-Clause\n",
            "usr/share/doc/empty/changelog": "no licence",
        },
    )
    (tree / "opt/a-1.dist-info/LICENSE").symlink_to("/etc/hostname")
    done = run(tree, folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "python.txt").read_text().splitlines() == [
        "a-1: MIT; 2 files",
        "b-2: BSD License; 1 files",
        "c-3: states none; 0 files",
        "d-4: states none; 0 files",
    ]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "python.txt",
        "python/a-1/COPYING",
        "python/a-1/licenses/vendor/NOTICE.txt",
        "python/b-2/LICENCE",
        "debian/libscale.txt",
    }


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "file").write_text("in the way")
    done = run(tmp_path / "tree", tmp_path / "file/licences")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'file'}")
