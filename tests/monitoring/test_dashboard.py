"""The dashboard's layout, units, legends and data source."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.monitoring.shipped import dashboard, panels

CORE = {"stat", "timeseries", "state-timeline", "heatmap"}  # no panel that needs a plugin
PANELS = panels()


def _title(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def test_rows_are_in_order() -> None:
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


def test_panel_ids_and_titles_are_unique() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    titles = [panel["title"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


def test_panels_neither_overlap_nor_leave_the_grid() -> None:
    positions = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    for _, box in positions:
        assert box["w"] > 0 and box["h"] > 0 and 0 <= box["x"] <= 24 - box["w"]
    overlap = [
        (first, second)
        for (first, a), (second, b) in itertools.combinations(positions, 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]
    assert overlap == []


@pytest.mark.parametrize("panel", PANELS, ids=_title)
def test_panel_has_a_unit_and_a_legend_for_each_line(panel: dict[str, Any]) -> None:
    assert panel["type"] in CORE
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["expr"].strip() and target["legendFormat"].strip()


@pytest.mark.parametrize("panel", PANELS, ids=_title)
def test_panel_uses_the_selected_data_source_and_instance(panel: dict[str, Any]) -> None:
    for query in (panel, *panel["targets"]):
        assert query["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert "$instance" in target["expr"]


def test_dashboard_can_be_imported_into_any_grafana() -> None:
    board = dashboard()
    assert board["id"] is None  # Grafana assigns one
    assert board["schemaVersion"] >= 39  # Grafana 11
    variables = board["templating"]["list"]
    assert [(variable["name"], variable["type"]) for variable in variables] == [
        ("datasource", "datasource"),
        ("instance", "query"),
        ("window", "custom"),
    ]
