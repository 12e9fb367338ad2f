"""The packages of an image, from its SBOM in CycloneDX's JSON format.

Packages are named by package URLs, such as pkg:pypi/numpy@2.1.0 and
pkg:deb/debian/libssl3@3.0.15-1?upstream=openssl&distro=debian-12.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

from appliance.advisories.osv import DEBIAN, PYPI, BadData, normalized


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """A package under the name that advisories use: for Debian that of the source package.

    ecosystem  PyPI, or Debian:RELEASE
    """

    ecosystem: str
    name: str
    version: str

    @property
    def family(self) -> str:
        """PyPI or Debian."""
        return self.ecosystem.partition(":")[0]


def read_sbom(path: Path) -> list[Component]:
    """Return the Python and Debian packages of an SBOM, sorted, without duplicates.

    Raises BadData if it is not one, or lists no package at all.
    """
    try:
        components = json.loads(path.read_text(encoding="utf-8"))["components"]
        listed = {parse_purl(str(component.get("purl", ""))) for component in components}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BadData(f"{path} is not an SBOM in CycloneDX's format: {problem}") from problem
    packages = sorted(package for package in listed if package)
    if not packages:
        raise BadData(f"{path} lists no packages")
    return packages


def parse_purl(purl: str) -> Component | None:
    """Return the package of a package URL; None if it is neither of PyPI nor of Debian.

    Raises ValueError for a Debian package without a release.
    """
    body, _, query = purl.partition("?")
    kind, _, rest = body.removeprefix("pkg:").partition("/")
    path, _, version = rest.rpartition("@")
    name, version = unquote(path.rpartition("/")[2]), unquote(version)
    qualifiers = {key: values[0] for key, values in parse_qs(query).items()}
    if kind == "pypi":
        return Component(PYPI, normalized(PYPI, name), version)
    if kind == "deb":
        release = qualifiers.get("distro", "").removeprefix("debian-")
        if not release.isdigit():
            raise ValueError(f"{purl} names no release of Debian")
        source, _, source_version = qualifiers.get("upstream", "").partition("@")
        return Component(f"{DEBIAN}:{release}", source or name, source_version or version)
    return None
