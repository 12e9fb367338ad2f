"""Compare the packages of an image with advisories, and report it.

The report distinguishes "not checked" from "none found": an ecosystem without any advisory in the
data was not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from appliance.advisories.accepted import Accepted
from appliance.advisories.inventory import Component
from appliance.advisories.osv import (
    DEBIAN,
    PYPI,
    Advisory,
    Affected,
    Compare,
    compare_debian,
    compare_pep440,
    judge,
    normalized,
)

SCHEMA = 1
COMPARE: Mapping[str, Compare] = {PYPI: compare_pep440, DEBIAN: compare_debian}
OLD_DAYS = 30  # data that is older than this when a release is written is called old

NOT_COVERED = (
    "libraries that are contained in a wheel, such as those of CUDA, except under the wheel's name",
    "our own code",
    "model files",
    "vulnerabilities that nobody has published, or that were published after the date of the data",
)


@dataclass(frozen=True, slots=True)
class Data:
    """The advisories of an ecosystem that were read: their number, and the newest date."""

    advisories: int
    newest: str


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A vulnerability of a package, under all names that advisories give it.

    ids       sorted
    fixed     the version in which it is fixed; empty if there is none
    decided   False if versions could not be compared, so that it was counted as present
    accepted  the entry that accepts it, which may have expired
    """

    package: Component
    ids: tuple[str, ...]
    summary: str
    severity: str
    fixed: str
    decided: bool
    accepted: Accepted | None = None

    def state(self, today: date) -> str:
        """accepted, expired, fixable or unfixed."""
        if self.accepted:
            return "accepted" if today <= self.accepted.until else "expired"
        return "fixable" if self.fixed or not self.decided else "unfixed"


@dataclass(frozen=True, slots=True)
class VulnerabilityReport:
    """The result.

    why      why nothing was checked; empty if anything was
    data     by ecosystem; an ecosystem of `packages` that is not in it was not checked
    unused   accepted entries that match no finding
    """

    today: date
    packages: tuple[Component, ...]
    data: Mapping[str, Data]
    findings: tuple[Vulnerability, ...] = ()
    unused: tuple[Accepted, ...] = ()
    why: str = ""

    @property
    def unchecked(self) -> list[str]:
        """The ecosystems without data, sorted."""
        return sorted({package.ecosystem for package in self.packages} - set(self.data))

    def count(self, state: str) -> int:
        """Count the findings in a state."""
        return sum(finding.state(self.today) == state for finding in self.findings)

    @property
    def newest(self) -> str:
        """The date of the oldest data, YYYY-MM-DD; empty if nothing was checked."""
        return min((data.newest for data in self.data.values()), default="")[:10]

    @property
    def state(self) -> str:
        """not-checked, partly-checked or checked."""
        if not self.data:
            return "not-checked"
        return "partly-checked" if self.unchecked else "checked"

    @property
    def blocks(self) -> list[str]:
        """Why a release must not be written: findings to be fixed or accepted."""
        texts = {
            "expired": "was accepted until {accepted.until}: decide again",
            "fixable": "is fixed in {fixed}: update the package, or accept it with a reason",
        }
        lines = []
        for finding in self.findings:
            text = texts.get(finding.state(self.today))
            if text and not finding.decided and not finding.accepted:
                text = "may affect it, its versions cannot be compared: accept it with a reason"
            if text:
                what = text.format(accepted=finding.accepted, fixed=finding.fixed)
                package = finding.package
                lines.append(f"{package.name} {package.version}: {finding.ids[0]} {what}")
        return lines


def unchecked(today: date, packages: Sequence[Component], why: str) -> VulnerabilityReport:
    """Return the report of a check that did not take place."""
    return VulnerabilityReport(today, tuple(packages), {}, why=why)


def compare(
    packages: Sequence[Component],
    advisories: Iterable[Advisory],
    accepted: Sequence[Accepted],
    today: date,
    comparisons: Mapping[str, Compare] = COMPARE,
) -> VulnerabilityReport:
    """Compare packages with advisories."""
    by_name: dict[tuple[str, str], list[Component]] = {}
    for package in packages:
        by_name.setdefault((package.ecosystem, package.name), []).append(package)
    ecosystems = {package.ecosystem for package in packages}
    data: dict[str, Data] = {}
    matches: dict[Component, list[Vulnerability]] = {}
    for advisory in advisories:
        for ecosystem in {affected.ecosystem for affected in advisory.affected} & ecosystems:
            old = data.get(ecosystem, Data(0, ""))
            data[ecosystem] = Data(old.advisories + 1, max(old.newest, advisory.modified))
        for affected in advisory.affected:
            name = normalized(affected.ecosystem, affected.package)
            for package in by_name.get((affected.ecosystem, name), ()):
                finding = _find(package, advisory, affected, comparisons[package.family])
                if finding:
                    matches.setdefault(package, []).append(finding)
    findings = [_accept(each, accepted) for group in matches.values() for each in _merge(group)]
    used = {id(finding.accepted) for finding in findings}
    return VulnerabilityReport(
        today,
        tuple(packages),
        data,
        tuple(sorted(findings, key=lambda each: (each.package, each.ids))),
        tuple(entry for entry in accepted if id(entry) not in used) if data else (),
        "" if data else "the folder has no advisories for any of these packages' ecosystems",
    )


def _find(
    package: Component, advisory: Advisory, affected: Affected, compare: Compare
) -> Vulnerability | None:
    verdict = judge(affected, package.version, compare)
    if not verdict.affected:
        return None
    ids = tuple(sorted({advisory.id, *advisory.aliases}))
    return Vulnerability(
        package, ids, advisory.summary, advisory.severity, verdict.fixed, verdict.decided
    )


def _merge(findings: Sequence[Vulnerability]) -> list[Vulnerability]:
    """Join the findings of a package that share a name: databases describe the same one."""
    merged: list[Vulnerability] = []
    for finding in findings:
        same = [each for each in merged if set(each.ids) & set(finding.ids)]
        merged = [each for each in merged if each not in same]
        group = [*same, finding]
        merged.append(
            Vulnerability(
                finding.package,
                tuple(sorted({name for each in group for name in each.ids})),
                next((each.summary for each in group if each.summary), ""),
                next((each.severity for each in group if each.severity), ""),
                next((each.fixed for each in group if each.fixed), ""),
                all(each.decided for each in group),
            )
        )
    return merged


def _accept(finding: Vulnerability, accepted: Sequence[Accepted]) -> Vulnerability:
    """Add the entry that accepts a finding; of several, the one that holds longest."""
    package = finding.package
    matching = [
        entry
        for entry in accepted
        if entry.id in finding.ids and normalized(package.family, entry.package) == package.name
    ]
    entry = max(matching, key=lambda entry: entry.until, default=None)
    fields = (finding.package, finding.ids, finding.summary, finding.severity)
    return Vulnerability(*fields, finding.fixed, finding.decided, entry)


# The report


def line(report: VulnerabilityReport) -> str:
    """Return the report as one line."""
    if report.state == "not-checked":
        return f"known vulnerabilities: NOT CHECKED ({report.why})"
    counts = ", ".join(
        f"{report.count(state)} {name}"
        for state, name in (
            ("fixable", "to fix"),
            ("expired", "with an expired acceptance"),
            ("unfixed", "without a fix"),
            ("accepted", "accepted"),
        )
    )
    text = f"known vulnerabilities: {counts}; advisories of {report.newest}"
    if report.newest and date.fromisoformat(report.newest) < report.today - _OLD:
        text += ", which are old"
    if report.unchecked:
        text += f"; NOT CHECKED: {', '.join(report.unchecked)}"
    return text


_OLD = timedelta(days=OLD_DAYS)


def to_json(report: VulnerabilityReport) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "schema": SCHEMA,
        "state": report.state,
        "why": report.why,
        "checked_on": report.today.isoformat(),
        "summary": line(report),
        "data": {
            ecosystem: {"advisories": data.advisories, "newest": data.newest}
            for ecosystem, data in sorted(report.data.items())
        },
        "not_checked": report.unchecked,
        "not_covered": list(NOT_COVERED),
        "findings": [
            {
                "ecosystem": finding.package.ecosystem,
                "package": finding.package.name,
                "version": finding.package.version,
                "ids": list(finding.ids),
                "severity": finding.severity,
                "summary": finding.summary,
                "fixed": finding.fixed,
                "decided": finding.decided,
                "state": finding.state(report.today),
                "reason": finding.accepted.reason if finding.accepted else "",
                "until": finding.accepted.until.isoformat() if finding.accepted else "",
            }
            for finding in report.findings
        ],
        "unused": [{"id": entry.id, "package": entry.package} for entry in report.unused],
        "packages": [
            {"ecosystem": each.ecosystem, "name": each.name, "version": each.version}
            for each in report.packages
        ],
    }


_TITLES = {
    "expired": "Accepted, but the acceptance has expired",
    "fixable": "To fix, or to accept",
    "unfixed": "Without a fix",
    "accepted": "Accepted",
}


def to_markdown(report: VulnerabilityReport) -> str:
    """Return the report for people."""
    lines = ["# Known vulnerabilities", "", f"{line(report)}.", ""]
    lines += [f"Checked on {report.today}.", "", "| ecosystem | packages | advisories | newest |"]
    lines += ["|---|---|---|---|"]
    for ecosystem in sorted({package.ecosystem for package in report.packages}):
        count = sum(package.ecosystem == ecosystem for package in report.packages)
        data = report.data.get(ecosystem)
        cells = f"{data.advisories} | {data.newest[:10]}" if data else "**not checked** | -"
        lines.append(f"| {ecosystem} | {count} | {cells} |")
    lines += ["", "Not covered:", "", *(f"- {text}" for text in NOT_COVERED), ""]
    for state, title in _TITLES.items():
        findings = [each for each in report.findings if each.state(report.today) == state]
        if findings:
            lines += [
                f"## {title}",
                "",
                "| package | version | names | severity | fixed in | what |",
            ]
            lines += ["|---|---|---|---|---|---|", *map(_row, findings), ""]
    if report.unused:
        lines += ["## Accepted, but not found", ""]
        lines += [f"- {entry.package}: {entry.id}" for entry in report.unused]
    return "\n".join(lines).rstrip() + "\n"


def _row(finding: Vulnerability) -> str:
    what = finding.summary
    if not finding.decided:
        what += " (its versions cannot be compared, so it counts as present)"
    if finding.accepted:
        what += f" **Accepted until {finding.accepted.until}:** {finding.accepted.reason}"
    cells = (
        finding.package.name,
        finding.package.version,
        ", ".join(finding.ids),
        finding.severity or "not stated",
        finding.fixed or "-",
        what,
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def to_env(report: VulnerabilityReport) -> str:
    """Return the lines of release.env, from which ops/import prints the summary."""
    values = {"ADVISORIES": report.state, "ADVISORIES_NEWEST": report.newest or "none"}
    values |= {
        f"ADVISORIES_{state.upper()}": str(report.count(state))
        for state in ("fixable", "expired", "unfixed", "accepted")
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())
