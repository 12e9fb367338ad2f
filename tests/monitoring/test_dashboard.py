"""The dashboard is one that Grafana shows as it is meant."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.monitoring.shipped import dashboard, panels

CORE = {"stat", "timeseries", "state-timeline", "heatmap"}  # no panel that needs a plugin
PANELS = panels()


def _name(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def test_its_rows_tell_the_story_in_order() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Health",
        "Objectives (docs/slo.md)",
        "Latency",
        "Calls and turns",
        "Engines",
        "Processes",
        "GPU",
        "Seal",
        "Logs",
    ]


def test_every_panel_has_a_number_and_a_title_of_its_own() -> None:
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    titles = [panel["title"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert len(set(titles)) == len(titles)


def test_no_panel_lies_on_another_one_or_sticks_out() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    for _, at in places:
        assert at["w"] > 0 and at["h"] > 0 and 0 <= at["x"] <= 24 - at["w"]
    overlap = [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(places, 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]
    assert overlap == []


@pytest.mark.parametrize("panel", PANELS, ids=_name)
def test_a_panel_has_a_unit_and_says_what_each_line_is(panel: dict[str, Any]) -> None:
    assert panel["type"] in CORE
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["expr"].strip() and target["legendFormat"].strip()


@pytest.mark.parametrize("panel", PANELS, ids=_name)
def test_a_panel_asks_the_chosen_prometheus_about_the_chosen_appliance(
    panel: dict[str, Any],
) -> None:
    for asked in (panel, *panel["targets"]):
        assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert "$instance" in target["expr"]


def test_it_can_be_imported_anywhere() -> None:
    board = dashboard()
    assert board["id"] is None  # Grafana gives it one
    assert board["schemaVersion"] >= 39  # Grafana 11
    assert [it["name"] for it in board["templating"]["list"]] == [
        "datasource",
        "instance",
        "window",
    ]
    assert [it["type"] for it in board["templating"]["list"]] == ["datasource", "query", "custom"]
