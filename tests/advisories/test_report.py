"""What the report says, with made-up advisories about made-up packages."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.advisories import __main__ as command
from appliance.advisories import accepted, inventory, report
from appliance.advisories.inventory import Component
from appliance.advisories.osv import BadData

TODAY = date(2026, 11, 28)
PURLS = (
    "pkg:pypi/Flawed_Package@1.0",
    "pkg:pypi/sound@3.1+cu128",
    "pkg:deb/debian/libflaw1@1.0-1%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=flaw",
    "pkg:deb/debian/other@2.0-1?arch=amd64&distro=debian-12",
    "pkg:generic/python@3.11.2",
)


def osv(name: str, ecosystem: str, package: str, *events: dict[str, str]) -> dict[str, Any]:
    return {
        "id": name,
        "modified": "2026-11-20T10:00:00Z",
        "summary": f"a flaw | of {package}",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, *events]}],
            }
        ],
    }


PYTHON = osv("GHSA-1", "PyPI", "flawed.package", {"fixed": "1.1"}) | {"aliases": ["CVE-1"]}
SAME = osv("PYSEC-1", "PyPI", "flawed-package") | {"aliases": ["CVE-1"]}
SYSTEM = osv("DEBIAN-CVE-2", "Debian:12", "flaw") | {"upstream": ["CVE-2"]}
OTHER_RELEASE = osv("DEBIAN-CVE-3", "Debian:13", "flaw")
UNRELATED = osv("GHSA-4", "PyPI", "elsewhere")
ENTRY = """
[[accepted]]
id = "CVE-1"
package = "flawed_package"
reason = "Nothing calls it."
until = {until}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an SBOM and an empty folder of advisories."""
    components = [{"name": "x", "purl": purl} for purl in PURLS] + [{"name": "no purl"}]
    (tmp_path / "sbom.json").write_text(json.dumps({"components": components}))
    (tmp_path / "advisories").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def provide(folder: Path, *records: dict[str, Any]) -> None:
    for record in records:
        (folder / f"advisories/{record['id']}.json").write_text(json.dumps(record))


def run(folder: Path, *options: str | Path, today: date = TODAY) -> int:
    arguments = ["--sbom", folder / "sbom.json", "--into", folder / "out", *options]
    return command.main(list(map(str, arguments)), today)


def check(folder: Path, *options: str | Path, today: date = TODAY) -> int:
    return run(folder, "--advisories", folder / "advisories", *options, today=today)


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "out/vulnerabilities.json").read_text()))


def page(folder: Path) -> str:
    return (folder / "out/vulnerabilities.md").read_text()


def env(folder: Path) -> dict[str, str]:
    lines = (folder / "out/vulnerabilities.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def accept(folder: Path, until: date) -> Path:
    path = folder / "accepted.toml"
    path.write_text(ENTRY.format(until=until))
    return path


def test_packages_are_named_as_advisories_name_them(folder: Path) -> None:
    assert inventory.read_sbom(folder / "sbom.json") == [
        Component("Debian:12", "flaw", "1.0-1+deb12u1"),
        Component("Debian:12", "other", "2.0-1"),
        Component("PyPI", "flawed-package", "1.0"),
        Component("PyPI", "sound", "3.1+cu128"),
    ]


def test_version_of_the_source_package_is_used() -> None:
    purl = "pkg:deb/debian/gcc-12-base@12.2.0-14?distro=debian-12&upstream=gcc-12%4012.2.0-15"
    assert inventory.parse_purl(purl) == Component("Debian:12", "gcc-12", "12.2.0-15")


def test_finding_with_a_fix_fails_and_names_the_fix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provide(folder, PYTHON)
    assert check(folder) == 1
    assert "flawed-package 1.0: CVE-1 is fixed in 1.1" in capsys.readouterr().out
    (finding,) = result(folder)["findings"]
    assert (finding["state"], finding["ids"]) == ("fixable", ["CVE-1", "GHSA-1"])
    assert "| flawed-package | 1.0 | CVE-1, GHSA-1 | not stated | 1.1 | a flaw \\| of" in page(
        folder
    )


@pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not on this machine")
def test_finding_without_a_fix_is_listed_and_does_not_fail(folder: Path) -> None:
    provide(folder, SYSTEM, OTHER_RELEASE, UNRELATED)
    assert check(folder) == 0
    (finding,) = result(folder)["findings"]
    assert (finding["package"], finding["state"]) == ("flaw", "unfixed")
    assert "CVE-2" in finding["ids"]


def test_databases_that_describe_the_same_vulnerability_are_one_finding(folder: Path) -> None:
    provide(folder, SAME, PYTHON)
    check(folder)
    (finding,) = result(folder)["findings"]
    assert finding["ids"] == ["CVE-1", "GHSA-1", "PYSEC-1"]
    assert finding["fixed"] == "1.1"


def test_accepting_one_vulnerability_of_an_announcement_does_not_accept_the_others(
    folder: Path,
) -> None:
    two = [
        PYTHON,
        osv("GHSA-9", "PyPI", "flawed-package", {"fixed": "1.2"}) | {"aliases": ["CVE-9"]},
    ]
    announcement = osv("DSA-1", "PyPI", "flawed-package", {"fixed": "1.2"})
    provide(folder, *two, announcement | {"upstream": ["CVE-1", "CVE-9"]})
    assert check(folder, "--accepted", accept(folder, TODAY)) == 1
    states = {tuple(each["ids"]): each["state"] for each in result(folder)["findings"]}
    assert states == {
        ("CVE-1", "GHSA-1"): "accepted",
        ("CVE-9", "GHSA-9"): "fixable",
        ("DSA-1",): "fixable",
    }


def test_finding_that_cannot_be_decided_fails(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provide(folder, osv("CVE-7", "PyPI", "flawed-package", {"fixed": "not a version"}))
    assert check(folder) == 1
    assert "CVE-7 may affect it" in capsys.readouterr().out
    assert "cannot be compared, so it counts as present" in page(folder)


def test_accepted_finding_does_not_fail_and_the_page_says_why(folder: Path) -> None:
    provide(folder, PYTHON)
    assert check(folder, "--accepted", accept(folder, TODAY)) == 0
    assert "**Accepted until 2026-11-28:** Nothing calls it." in page(folder)
    assert result(folder)["findings"][0]["state"] == "accepted"


def test_expired_acceptance_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provide(folder, SAME)  # without a fix, it would not fail if it had never been accepted
    path = accept(folder, TODAY - timedelta(days=1))
    assert check(folder, "--accepted", path) == 1
    assert "was accepted until 2026-11-27: decide again" in capsys.readouterr().out
    assert env(folder)["ADVISORIES_EXPIRED"] == "1"


def test_acceptance_without_a_finding_is_reported(folder: Path) -> None:
    provide(folder, UNRELATED)
    assert check(folder, "--accepted", accept(folder, TODAY)) == 0
    assert result(folder)["unused"] == [{"id": "CVE-1", "package": "flawed_package"}]
    assert "Accepted, but not found" in page(folder)


def test_without_advisories_nothing_was_checked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert "NOT CHECKED (there were no advisories to compare with)" in said
    assert result(folder)["state"] == "not-checked"
    assert result(folder)["not_checked"] == ["Debian:12", "PyPI"]
    assert page(folder).count("**not checked**") == 2
    assert env(folder)["ADVISORIES"] == "not-checked"
    for text in (said, page(folder)):
        assert "0 to fix" not in text


def test_without_an_sbom_nothing_was_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--into", str(tmp_path)], TODAY) == 0
    assert "NOT CHECKED (there is no SBOM)" in capsys.readouterr().out


def test_folder_without_data_for_an_ecosystem_leaves_it_unchecked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provide(folder, UNRELATED)
    assert check(folder) == 0
    said = capsys.readouterr().out
    assert "0 to fix" in said
    assert "NOT CHECKED: Debian:12" in said
    assert result(folder)["state"] == "partly-checked"


def test_empty_folder_is_not_a_clean_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder) == 0
    assert "NOT CHECKED (the folder has no advisories" in capsys.readouterr().out
    assert env(folder)["ADVISORIES"] == "not-checked"


def test_report_names_the_data_and_calls_old_data_old(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provide(folder, UNRELATED)
    check(folder)
    data = result(folder)["data"]
    assert data == {"PyPI": {"advisories": 1, "newest": "2026-11-20T10:00:00Z"}}
    assert env(folder)["ADVISORIES_NEWEST"] == "2026-11-20"
    assert "old" not in capsys.readouterr().out
    check(folder, today=TODAY + timedelta(days=report.OLD_DAYS))
    assert "advisories of 2026-11-20, which are old" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        ('reason = "Nothing calls it."', 'reason = " "'),
        ('reason = "Nothing calls it."', ""),
        ("until = 2026-11-28", 'until = "2026-11-28"'),
        ("until = 2026-11-28", "until = 2026-11-28T10:00:00"),
        ("until = 2026-11-28", ""),
        ("[[accepted]]", "[[acepted]]"),
        ("[[accepted]]", "[accepted]"),
        ("[[accepted]]", "[["),
    ],
)
def test_acceptance_needs_a_reason_and_a_date(folder: Path, change: tuple[str, str]) -> None:
    path = accept(folder, TODAY)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(BadData, match=r"accepted\.toml"):
        accepted.read(path)
    provide(folder, PYTHON)
    assert check(folder, "--accepted", path) == 2


def test_unreadable_sbom_and_advisories_are_errors(folder: Path) -> None:
    provide(folder, PYTHON)
    (folder / "advisories/broken.json").write_text("{")
    assert check(folder) == 2
    (folder / "advisories/broken.json").unlink()
    (folder / "sbom.json").write_text('{"components": []}')
    assert check(folder) == 2
    assert not (folder / "out/vulnerabilities.json").exists()


def test_shipped_list_of_accepted_findings_can_be_read() -> None:
    accepted.read(Path(__file__).parents[2] / "ops/accepted-vulnerabilities.toml")
