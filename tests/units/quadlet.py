"""podman's quadlet, from this machine or from Debian 13, because Debian 12's podman lacks it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

PROGRAM = Path("usr/libexec/podman/quadlet")
CACHED = Path(__file__).resolve().parents[2] / ".cache" / "quadlet"
SOURCES = """\
Types: deb
URIs: {mirror}
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def program() -> Path:
    """Return the path of quadlet, after fetching it with apt if needed (35 MB, 2 MB are kept).

    Installs nothing. Raises OSError or subprocess.SubprocessError if it cannot be fetched.
    """
    for place in (Path("/") / PROGRAM, CACHED):
        if place.exists():
            return place
    CACHED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHED.parent) as scratch:
        folder = Path(scratch)
        _fetch(folder)
        [package] = folder.glob("podman_*.deb")
        _run(folder, "dpkg-deb", "--extract", package.name, ".")
        (folder / PROGRAM).rename(CACHED)
    return CACHED


def _fetch(folder: Path) -> None:
    """Download podman's package into the folder, with an apt that sees only Debian 13."""
    wanted = ("Identifier: Packages", "Release: bookworm", "Component: main")
    mirrors = _run(folder, "apt-get", "indextargets", "--format", "$(SITE)", *wanted).splitlines()
    if not mirrors:
        raise OSError("apt knows no mirror of Debian 12")
    (folder / "debian13.sources").write_text(SOURCES.format(mirror=mirrors[0]), encoding="utf-8")
    settings = {
        "Dir::State": folder,
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder,
        "Dir::Etc::SourceList": folder / "debian13.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", *(f"--option={name}={value}" for name, value in settings.items())]
    (folder / "lists" / "partial").mkdir(parents=True)
    _run(folder, *apt, "update")
    _run(folder, *apt, "download", "podman")


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout
