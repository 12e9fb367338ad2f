"""Writes the wheel of the client, which `pipx install` and `pip install` take without a network.

Usage: python3 ops/client_wheel.py FOLDER

The wheel contains the modules of `client/`, and the program `voice`. It requires exactly the
versions of requirements/client.txt, whose wheels ops/client-folder puts beside it. The same source
gives the same bytes. The format: https://packaging.python.org/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "voice_client"
PYTHONS = ">=3.11,<3.14"  # those whose wheels are in a release
PACKED_AT = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP file can have


def main() -> None:
    """Write the wheel, and print its path."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(write_wheel(ROOT, folder))


def write_wheel(root: Path, folder: Path) -> Path:
    """Write the wheel of the source tree `root` into a folder. Returns its path."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    info = f"{NAME}-{version}.dist-info"
    files = {
        f"client/{path.name}": path.read_bytes() for path in sorted((root / "client").glob("*.py"))
    }
    files[f"{info}/METADATA"] = _metadata(root, version).encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: ops/client_wheel.py\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n"
    )
    program = project["scripts"]["voice"]
    files[f"{info}/entry_points.txt"] = f"[console_scripts]\nvoice = {program}\n".encode()
    files[f"{info}/licenses/LICENSE"] = (root / "LICENSE").read_bytes()
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, PACKED_AT)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return path


def requirements(root: Path) -> list[str]:
    """Return the pinned requirements of the client, such as `numpy==2.4.6`."""
    lock = (root / "requirements/client.txt").read_text(encoding="utf-8")
    return re.findall(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", lock, re.MULTILINE)


def _metadata(root: Path, version: str) -> str:
    lines = [
        "Metadata-Version: 2.4",
        "Name: voice-client",
        f"Version: {version}",
        "Summary: Talk with the voice appliance: voice talk, voice say, voice ask",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        f"Requires-Python: {PYTHONS}",
        *(f"Requires-Dist: {each}" for each in requirements(root)),
    ]
    return "\n".join(lines) + "\n"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
