"""Which versions an advisory affects."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from appliance.advisories.osv import (
    Affected,
    BadData,
    advisory,
    compare_debian,
    compare_pep440,
    judge,
    read_folder,
)

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not on this machine")


def affected(*events: tuple[str, str], versions: tuple[str, ...] = ()) -> Affected:
    return Affected("PyPI", "example", (events,) if events else (), versions)


FIXED = affected(("introduced", "1.0"), ("fixed", "1.10"))
TWO_BRANCHES = affected(
    ("introduced", "0"), ("fixed", "1.2"), ("introduced", "2.0"), ("fixed", "2.3")
)
UNSORTED = affected(
    ("fixed", "2.3"), ("introduced", "2.0"), ("fixed", "1.2"), ("introduced", "0")
)  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "version", "expected"),
    [
        (FIXED, "0.9", False),
        (FIXED, "1.0", True),
        (FIXED, "1.9", True),  # a comparison of texts would say that 1.9 is above 1.10
        (FIXED, "1.10rc1", True),
        (FIXED, "1.10", False),
        (FIXED, "1.10.post1", False),
        (FIXED, "1.9+cu128", True),
        (FIXED, "1.10+cu128", False),
        (TWO_BRANCHES, "1.1", True),
        (TWO_BRANCHES, "1.2", False),
        (TWO_BRANCHES, "2.0", True),
        (TWO_BRANCHES, "2.3", False),
        (UNSORTED, "1.1", True),
        (UNSORTED, "1.5", False),
        (UNSORTED, "2.2", True),
        (affected(("introduced", "0"), ("last_affected", "1.5")), "1.5", True),
        (affected(("introduced", "0"), ("last_affected", "1.5")), "1.5.1", False),
        (affected(("introduced", "0")), "99", True),
        (affected(("introduced", "0"), ("limit", "*")), "99", True),
        (affected(versions=("1.0", "1.1")), "1.1.0", True),
        (affected(versions=("1.0", "not a version")), "1.2", False),
        (affected(), "1.0", True),  # it does not say what it affects
    ],
)
def test_python_version_in_an_affected_range_is_affected(
    entry: Affected, version: str, expected: bool
) -> None:
    assert judge(entry, version, compare_pep440).affected is expected


def test_fix_of_the_own_branch_is_named() -> None:
    assert judge(TWO_BRANCHES, "1.1", compare_pep440).fixed == "1.2"
    assert judge(TWO_BRANCHES, "2.1", compare_pep440).fixed == "2.3"
    assert judge(affected(("introduced", "0")), "1", compare_pep440).fixed == ""


@pytest.mark.parametrize("version", ["1.0", "2024-custom-build"])
def test_versions_that_cannot_be_compared_count_as_affected(version: str) -> None:
    entry = affected(("introduced", "0"), ("fixed", "not a version"))
    verdict = judge(entry, version, compare_pep440)
    assert (verdict.affected, verdict.decided) == (True, False)


@needs_dpkg
@pytest.mark.parametrize(
    ("version", "fixed", "expected"),
    [
        ("2.36-9+deb12u3", "2.36-9+deb12u4", True),
        ("2.36-9+deb12u4", "2.36-9+deb12u4", False),
        ("2.36-9+deb12u10", "2.36-9+deb12u4", False),
        ("1.0~rc1-1", "1.0-1", True),
        ("1:1.0-1", "2.0-1", False),  # the epoch is compared first
    ],
)
def test_debian_version_below_the_fix_is_affected(version: str, fixed: str, expected: bool) -> None:
    entry = affected(("introduced", "0"), ("fixed", fixed))
    assert judge(entry, version, compare_debian).affected is expected


@needs_dpkg
def test_what_dpkg_does_not_accept_counts_as_affected() -> None:
    entry = affected(("introduced", "0"), ("fixed", "not a version"))
    verdict = judge(entry, "1.0-1", compare_debian)
    assert (verdict.affected, verdict.decided) == (True, False)


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": "PYSEC-0000-1",
        "aliases": ["CVE-0000-1"],
        "modified": "2026-11-01T00:00:00Z",
        "details": "A flaw.\nMore.",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "example"},
                "ranges": [
                    {"type": "GIT", "events": [{"introduced": "0"}]},
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]},
                ],
                "versions": ["1.0"],
            }
        ],
        **changes,
    }


def test_record_of_osv_becomes_an_advisory() -> None:
    made = advisory(record(severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}]))
    assert (made.id, made.aliases, made.summary) == ("PYSEC-0000-1", ("CVE-0000-1",), "A flaw.")
    assert made.severity == "CVSS:3.1/AV:N"
    expected = Affected("PyPI", "example", ((("introduced", "0"), ("fixed", "2")),), ("1.0",))
    assert made.affected == (expected,)


def test_files_and_archives_are_read_and_withdrawn_records_are_not(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.json").write_text(json.dumps(record(id="A")))
    (tmp_path / "one/w.json").write_text(json.dumps(record(id="W", withdrawn="2026-01-01")))
    (tmp_path / "README").write_text("not an advisory")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("b.json", json.dumps(record(id="B")))
    assert sorted(each.id for each in read_folder(tmp_path)) == ["A", "B"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"id": "A"}', '{"id": "A", "modified": 1, '
    '"affected": [{"ranges": [{}]}]}'])  # fmt: skip
def test_record_that_cannot_be_read_is_an_error_and_not_skipped(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadData, match=r"a\.json"):
        list(read_folder(tmp_path))


def test_damaged_archive_and_missing_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="not a folder"):
        list(read_folder(tmp_path / "none"))
    (tmp_path / "all.zip").write_bytes(b"PK damaged")
    with pytest.raises(BadData, match=r"all\.zip"):
        list(read_folder(tmp_path))
