"""docs/alerts.md and docs/slo.md agree with the rules, alerts and dashboard."""

from __future__ import annotations

import re

import pytest

from tests.monitoring.shipped import ALERTS, POOL_ALERTS, RECORDS, ROOT, panel_expressions

RUNBOOK = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
OBJECTIVES = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
BUDGETS = dict(
    re.findall(r"^\| (calls|answers|turns) \|.*\| ([\d.]+) % \|$", OBJECTIVES, re.MULTILINE)
)
# Burn rate, long and short window, share of the budget in per cent, severity.
BURN_RATES = [
    (rate, long.replace(" ", ""), short.replace(" ", "").removesuffix("in"), used, severity)
    for rate, long, short, used, severity in re.findall(
        r"^\| ([\d.]+) \| (\d+ \w+) \| (\d+ \w+) \| (\d+) % \| (\w+) \|", OBJECTIVES, re.MULTILINE
    )
]
BOUNDS = dict(re.findall(r"^\| `(cpu|gpu)` \| ([\d.]+) s \|", OBJECTIVES, re.MULTILINE))


ALL_ALERTS = ALERTS | POOL_ALERTS


@pytest.mark.parametrize("name", ALL_ALERTS)
def test_every_alert_has_a_section_with_meaning_and_actions(name: str) -> None:
    file, _, anchor = ALL_ALERTS[name]["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]
    lines = SECTIONS[name].strip().splitlines()
    for item in ("Means", "Do", "Call us"):
        assert f"- **{item}** " in SECTIONS[name]
    assert len(lines) <= 5


def test_sections_are_in_the_order_of_the_alerts() -> None:
    assert list(SECTIONS) == list(ALL_ALERTS)


@pytest.mark.parametrize(
    ("level", "slo"),
    [("instance", "calls"), ("instance", "answers"), ("instance", "turns"), ("pool", "calls")],
)
@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_burn_rate_alerts_follow_the_documented_table(level: str, slo: str, severity: str) -> None:
    """Each rule uses the documented values, and needs three failures in its longest window."""
    labels = {"slo": slo, "severity": severity}
    alerts = POOL_ALERTS if level == "pool" else ALERTS
    [rule] = [alert for alert in alerts.values() if alert["labels"] == labels]
    budget = f"{float(BUDGETS[slo]) / 100:g}"
    rows = [row for row in BURN_RATES if row[-1] == severity]
    limits = re.findall(rf"{level}:\w+:ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", rule["expr"])
    assert limits == [
        (window, rate, budget) for rate, long, short, *_ in rows for window in (long, short)
    ]
    assert re.findall(rf"{level}:\w+:increase(\w+) > ([\d.]+)", rule["expr"]) == [
        (rows[-1][1], "2.5")
    ]
    assert f"{BUDGETS[slo]} %" in rule["annotations"]["description"]


def test_dashboard_shows_the_documented_budgets() -> None:
    panels = {
        title.split(":")[0].lower(): expression
        for title, expression in panel_expressions()
        if "budget left" in title
    }
    assert panels.keys() == BUDGETS.keys()
    for slo, expression in panels.items():
        assert f"/ {float(BUDGETS[slo]) / 100:g}" in expression


def test_latency_bounds_are_the_documented_ones() -> None:
    assert set(BOUNDS) == {"cpu", "gpu"}
    for name, expression in RECORDS.items():
        if "answers_slow" not in name:
            continue
        pairs = re.findall(r'le="([\d.]+)".*?profile="(\w+)"', expression, re.DOTALL)
        assert {profile: float(bound) for bound, profile in pairs} == {
            profile: float(bound) for profile, bound in BOUNDS.items()
        }


def test_burn_rates_are_those_of_the_sre_workbook() -> None:
    """The table agrees with table 5-8 of Google's The Site Reliability Workbook."""
    hours = {"1h": 1, "6h": 6, "3d": 72, "5m": 1 / 12, "30m": 0.5}
    assert len(BURN_RATES) == 3
    for rate, long, short, used, _ in BURN_RATES:
        assert float(rate) * hours[long] / 720 == pytest.approx(int(used) / 100)
        assert hours[long] / hours[short] == pytest.approx(12)
