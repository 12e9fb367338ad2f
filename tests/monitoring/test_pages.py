"""The two pages that the alerts lean on: what to do about each, and what is promised."""

from __future__ import annotations

import re

import pytest

from tests.monitoring.shipped import ALERTS, RECORDS, ROOT, shown

RUNBOOK = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
PROMISES = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
BUDGETS = dict(
    re.findall(r"^\| (calls|answers|turns) \|.*\| ([\d.]+) % \|$", PROMISES, re.MULTILINE)
)
# Burn rate, long and short window, part of the budget in per cent, severity.
BURN_RATES = [
    (rate, long.replace(" ", ""), short.replace(" ", "").removesuffix("in"), used, severity)
    for rate, long, short, used, severity in re.findall(
        r"^\| ([\d.]+) \| (\d+ \w+) \| (\d+ \w+) \| (\d+) % \| (\w+) \|", PROMISES, re.MULTILINE
    )
]
BOUNDS = dict(re.findall(r"^\| `(cpu|gpu)` \| ([\d.]+) s \|", PROMISES, re.MULTILINE))


@pytest.mark.parametrize("name", ALERTS)
def test_whoever_is_woken_finds_what_it_means_and_what_to_do(name: str) -> None:
    file, _, anchor = ALERTS[name]["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]
    lines = SECTIONS[name].strip().splitlines()
    assert [word for word in ("Means", "Do", "Call us") if f"- **{word}** " in SECTIONS[name]] == [
        "Means",
        "Do",
        "Call us",
    ]
    assert len(lines) <= 5


def test_there_is_no_section_for_an_alert_that_is_gone() -> None:
    assert list(SECTIONS) == list(ALERTS), "all of them, in the order of alerts.yml"


@pytest.mark.parametrize("slo", ["calls", "answers", "turns"])
@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_the_alerts_on_a_budget_are_those_of_the_page(slo: str, severity: str) -> None:
    """Rates, pairs of windows and budget, and that three have to be bad within the longest."""
    labels = {"slo": slo, "severity": severity}
    [rule] = [it for it in ALERTS.values() if it["labels"] == labels]
    budget = f"{float(BUDGETS[slo]) / 100:g}"
    rows = [row for row in BURN_RATES if row[-1] == severity]
    limits = re.findall(r"instance:\w+:ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", rule["expr"])
    assert limits == [
        (window, rate, budget) for rate, long, short, *_ in rows for window in (long, short)
    ]
    assert re.findall(r"instance:\w+:increase(\w+) > ([\d.]+)", rule["expr"]) == [
        (rows[-1][1], "2.5")
    ]
    assert f"{BUDGETS[slo]} %" in rule["annotations"]["description"]


def test_the_dashboard_shows_what_is_left_of_the_budgets_of_the_page() -> None:
    panels = {title.split(":")[0].lower(): it for title, it in shown() if "budget left" in title}
    assert panels.keys() == BUDGETS.keys()
    for slo, expression in panels.items():
        assert f"/ {float(BUDGETS[slo]) / 100:g}" in expression


def test_the_latencies_are_those_of_the_page() -> None:
    assert set(BOUNDS) == {"cpu", "gpu"}
    for expression in (it for name, it in RECORDS.items() if "answers_slow" in name):
        pairs = re.findall(r'le="([\d.]+)".*?profile="(\w+)"', expression, re.DOTALL)
        assert {profile: float(bound) for bound, profile in pairs} == {
            profile: float(bound) for profile, bound in BOUNDS.items()
        }


def test_the_burn_rates_are_those_of_the_workbook() -> None:
    """Rate, long window, short window, part of 30 days' budget: table 5-8."""
    hours = {"1h": 1, "6h": 6, "3d": 72, "5m": 1 / 12, "30m": 0.5}
    assert len(BURN_RATES) == 3
    for rate, long, short, used, _ in BURN_RATES:
        assert float(rate) * hours[long] / 720 == pytest.approx(int(used) / 100)
        assert hours[long] / hours[short] == pytest.approx(12)
