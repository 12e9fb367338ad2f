#!/usr/bin/env python3
"""Collect the licences of the Python and Debian packages of an image. Connected side only.

    ops/licences.py TREE FOLDER

TREE is the file system of the image. FOLDER gets python/PACKAGE/..., python.txt with a line for
every package, also for one without a licence file, and debian/PACKAGE.txt. Standard library only:
ops/export runs it with the system's Python.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

STATED = re.compile(
    r"(?:License(?:-Expression)?|Classifier: License ::(?: OSI Approved ::)?):? +(.*)"
)
LICENCE_FILE = re.compile(r"((.*/)?licen[cs]e.*|(.*/)?(copying|notice)[^/]*)", re.IGNORECASE)


def dist_infos(tree: Path) -> list[Path]:
    """Return every `*.dist-info` folder on the file system of `tree`, sorted."""
    device = tree.stat().st_dev
    folders = []
    for folder, names, _ in os.walk(tree):
        names[:] = [name for name in names if os.lstat(f"{folder}/{name}").st_dev == device]
        folders += [Path(folder, name) for name in names if name.endswith(".dist-info")]
    return sorted((path for path in folders if not path.is_symlink()), key=str)


def licence_files(dist_info: Path) -> list[str]:
    """Return the paths of the licence files of a package, relative to its `dist-info`, sorted."""
    paths = [path for path in dist_info.rglob("*") if path.is_file() and not path.is_symlink()]
    names = sorted(str(path.relative_to(dist_info)) for path in paths)
    return [name for name in names if LICENCE_FILE.fullmatch(name)]


def stated_licence(dist_info: Path) -> str:
    """Return the licence that the head of METADATA states, or "states none"."""
    try:
        text = (dist_info / "METADATA").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "states none"
    for line in text.split("\n"):
        if not line:
            break
        if match := STATED.match(line):
            return match[1] or "states none"
    return "states none"


def write_python(tree: Path, folder: Path) -> None:
    """Write python.txt and the licence files of every Python package."""
    lines = []
    for dist_info in dist_infos(tree):
        name, files = dist_info.name.removesuffix(".dist-info"), licence_files(dist_info)
        for file in files:
            # The file may exist: another package may contain a copy of this one.
            target = folder / "python" / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dist_info / file, target)
        lines.append(f"{name}: {stated_licence(dist_info)}; {len(files)} files\n")
    (folder / "python.txt").write_text("".join(lines), encoding="utf-8")


def write_debian(tree: Path, folder: Path) -> None:
    """Write the copyright file of every Debian package."""
    for copyright_file in sorted(tree.glob("usr/share/doc/*/copyright")):
        if copyright_file.is_file():
            (folder / "debian").mkdir(parents=True, exist_ok=True)
            target = folder / "debian" / f"{copyright_file.parent.name}.txt"
            shutil.copyfile(copyright_file, target)


def main(arguments: list[str]) -> int:
    """Run the command and return the exit code."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    tree, folder = map(Path, arguments)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_python(tree, folder)
        write_debian(tree, folder)
    except OSError as problem:
        print(f"error: {problem.filename or folder}: {problem.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
