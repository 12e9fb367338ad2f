"""Advisories in the format of OSV (schema 1.x): read a folder of them, decide what they affect.

The folder contains `.json` files, or the `all.zip` that OSV offers for each ecosystem, in any
folders. Versions are compared by the rules of their ecosystem: PEP 440 with the package `packaging`
for PyPI, `dpkg --compare-versions` for Debian.
"""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PYPI, DEBIAN = "PyPI", "Debian"

# Compares two versions: negative, zero or positive. Raises ValueError if one is not a version.
Compare = Callable[[str, str], int]


class BadData(ValueError):
    """The advisories, the SBOM or the list of accepted findings cannot be used; the text says why.

    Nothing is skipped in silence: a record that was not read could be the one that matters.
    """


@dataclass(frozen=True, slots=True)
class Affected:
    """The versions of one package that an advisory affects.

    ranges    each the events of a range, as pairs (introduced | fixed | last_affected, VERSION)
    versions  affected versions, in addition to the ranges
    """

    ecosystem: str
    package: str
    ranges: tuple[tuple[tuple[str, str], ...], ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """An advisory.

    aliases   other names of the same vulnerability
    severity  as the database states it, such as HIGH or a CVSS vector; may be empty
    modified  RFC 3339
    """

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: str
    modified: str
    affected: tuple[Affected, ...]


@dataclass(frozen=True, slots=True)
class VersionMatch:
    """Whether a version is affected.

    decided  False if a version in the advisory cannot be compared; it then counts as affected
    fixed    the lowest version in which it is fixed; empty if there is none
    """

    affected: bool
    decided: bool = True
    fixed: str = ""


def read_folder(folder: Path) -> Iterator[Advisory]:
    """Yield all advisories of a folder that were not withdrawn. Raises BadData."""
    if not folder.is_dir():
        raise BadData(f"{folder} is not a folder")
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json" and path.is_file():
            yield from _parse(str(path), path.read_bytes())
        elif path.suffix == ".zip" and path.is_file():
            yield from _read_zip(path)


def _read_zip(path: Path) -> Iterator[Advisory]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".json"):
                    yield from _parse(f"{path}: {name}", archive.read(name))
    except (zipfile.BadZipFile, OSError) as problem:
        raise BadData(f"{path}: {problem}") from problem


def _parse(place: str, content: bytes) -> Iterator[Advisory]:
    try:
        record = json.loads(content)
        if not record.get("withdrawn"):
            yield advisory(record)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        why = f"{type(problem).__name__}: {problem}"
        raise BadData(f"{place} is not an advisory in OSV's format: {why}") from problem


def advisory(record: Mapping[str, Any]) -> Advisory:
    """Convert an OSV record. Raises KeyError, TypeError or ValueError if it is malformed."""
    details = str(record.get("details", "")).strip().splitlines()
    severity = str((record.get("database_specific") or {}).get("severity") or "")
    scores = [str(score["score"]) for score in record.get("severity") or []]
    return Advisory(
        id=str(record["id"]),
        aliases=tuple(map(str, [*(record.get("aliases") or []), *_same(record)])),
        summary=str(record.get("summary") or (details[0] if details else "")),
        severity=severity or (scores[0] if scores else ""),
        modified=str(record["modified"]),
        affected=tuple(_affected(entry) for entry in record.get("affected") or []),
    )


def _same(record: Mapping[str, Any]) -> list[object]:
    """Return the vulnerability that a record of a distribution is about.

    Debian names it under `upstream`, not under `aliases`. An announcement (DSA) names several
    there; it is an alias of none of them, because who accepts one has not accepted the others.
    """
    upstream = list(record.get("upstream") or [])
    return upstream if len(upstream) == 1 else []


def _affected(entry: Mapping[str, Any]) -> Affected:
    package = entry.get("package") or {}
    return Affected(
        ecosystem=str(package.get("ecosystem", "")),
        package=str(package.get("name", "")),
        ranges=tuple(
            tuple((str(kind), str(version)) for event in part["events"] for kind, version in
                  event.items())
            for part in entry.get("ranges") or []
            if part["type"] != "GIT"  # commits say nothing about the versions of packages
        ),
        versions=tuple(map(str, entry.get("versions") or [])),
    )  # fmt: skip


def judge(affected: Affected, version: str, compare: Compare) -> VersionMatch:
    """Decide whether a version is affected, by the evaluation that OSV's schema describes.

    An entry without versions and ranges does not say what it affects, and is not decided.
    """
    if not affected.ranges and not affected.versions:
        return VersionMatch(True, decided=False)
    fixes = [text for part in affected.ranges for kind, text in part if kind == "fixed"]
    fixed, decided, hit = "", True, False
    try:
        later = [text for text in fixes if compare(text, version) > 0]
        fixed = _lowest(later, compare)
    except ValueError:
        decided = False
    for part in affected.ranges:
        try:
            hit = hit or _in_range(part, version, compare)
        except ValueError:
            hit, decided = True, False
    for text in affected.versions:
        try:
            hit = hit or text == version or compare(text, version) == 0
        except ValueError:
            continue  # a version that cannot be parsed is not the installed one
    return VersionMatch(hit, decided, fixed) if hit else VersionMatch(False)


def _in_range(events: Sequence[tuple[str, str]], version: str, compare: Compare) -> bool:
    inside = False
    for kind, text in _sorted(events, compare):
        if kind == "introduced":
            inside = inside or text == "0" or compare(version, text) >= 0
        elif kind == "fixed":
            inside = inside and compare(version, text) < 0
        elif kind == "last_affected":
            inside = inside and compare(version, text) <= 0
        elif kind == "limit":
            inside = inside and (text == "*" or compare(version, text) < 0)
    return inside


def _sorted(
    events: Iterable[tuple[str, str]], compare: Compare
) -> list[tuple[str, str]]:  # fmt: skip
    """Sort events by version. Equal versions keep their order. "0" is below all versions."""
    ordered: list[tuple[str, str]] = []
    for event in events:
        place = len(ordered)
        while place and _is_below(event, ordered[place - 1], compare):
            place -= 1
        ordered.insert(place, event)
    return ordered


def _is_below(one: tuple[str, str], other: tuple[str, str], compare: Compare) -> bool:
    starts = (one == ("introduced", "0"), other == ("introduced", "0"))
    if any(starts):
        return starts[0] and not starts[1]
    if "*" in (one[1], other[1]):
        return False
    return compare(one[1], other[1]) < 0


def _lowest(versions: Sequence[str], compare: Compare) -> str:
    lowest = ""
    for version in versions:
        if not lowest or compare(version, lowest) < 0:
            lowest = version
    return lowest


def compare_pep440(one: str, other: str) -> int:
    """Compare versions of Python packages, without local labels such as +cu128."""
    from packaging.version import Version  # the report "not checked" needs no packages

    first, second = (Version(Version(text).public) for text in (one, other))
    return (first > second) - (first < second)


def compare_debian(one: str, other: str) -> int:
    """Compare versions of Debian packages with dpkg. Raises ValueError if one is not a version."""
    for relation, result in (("lt", -1), ("gt", 1)):
        done = subprocess.run(
            ["dpkg", "--compare-versions", one, relation, other],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or done.stderr:
            raise ValueError(f"{one} or {other}: {done.stderr.strip()}")
        if done.returncode == 0:
            return result
    return 0


def normalized(ecosystem: str, name: str) -> str:
    """Return the name under which packages of an ecosystem are compared (PyPI: PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem == PYPI else name
