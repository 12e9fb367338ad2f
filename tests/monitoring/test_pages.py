"""The two pages that the alerts lean on: what to do about each, and what is promised."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from appliance.settings import Settings, walk
from tests.monitoring.shipped import ALERTS, RECORDS, ROOT, shown

RUNBOOK = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
PROMISES = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
BUDGETS = dict(
    re.findall(r"^\| (calls|answers|turns) \|.*\| ([\d.]+) % \|$", PROMISES, re.MULTILINE)
)
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


def test_what_the_page_tells_to_type_exists() -> None:
    asked = set(re.findall(r"`voicectl ([a-z-]+)", RUNBOOK))
    voicectl = (ROOT / "ops" / "voicectl").read_text(encoding="utf-8")
    assert {verb for verb in asked if not re.search(rf"^# .*\b{verb}\b", voicectl, re.M)} == set()
    known = {f"VOICE_{section}_{name}".upper() for section, name, _ in walk(Settings())}
    assert set(re.findall(r"VOICE_[A-Z_]+", RUNBOOK)) - known == set()


def test_the_budgets_are_those_of_the_page() -> None:
    assert set(BUDGETS) == {"calls", "answers", "turns"}
    for name, rule in ALERTS.items():
        if (slo := rule["labels"].get("slo")) is not None:
            used = set(re.findall(r"> (?:14\.4|6|1) \* ([\d.]+)", rule["expr"]))
            assert used == {f"{float(BUDGETS[slo]) / 100:g}"}, name
            assert f"{BUDGETS[slo]} %" in rule["annotations"]["description"]
    panels = {title.split(":")[0].lower(): it for title, it in shown() if "budget left" in title}
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
    rows = re.findall(
        r"^\| ([\d.]+) \| (\d+ \w+) \| (\d+ \w+) \| (\d+) % \|", PROMISES, re.MULTILINE
    )
    hours = {"1 h": 1, "6 h": 6, "3 d": 72, "5 min": 1 / 12, "30 min": 0.5}
    assert len(rows) == 3
    for rate, long, short, used in rows:
        assert float(rate) * hours[long] / 720 == pytest.approx(int(used) / 100)
        assert hours[long] / hours[short] == pytest.approx(12)


@pytest.mark.parametrize("slo", ["calls", "answers", "turns"])
def test_windows_come_in_the_pairs_of_the_page(slo: str) -> None:
    pairs = {("1h", "5m"), ("6h", "30m"), ("3d", "6h")}
    used = [
        windows
        for rule in ALERTS.values()
        if rule["labels"].get("slo") == slo
        for windows in pairwise(re.findall(r":ratio_rate(\w+) >", rule["expr"]))
    ]
    assert pairs <= set(used)
