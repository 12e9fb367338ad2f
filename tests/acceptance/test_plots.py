"""The plots of the report."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.acceptance import plots
from appliance.acceptance.report import AcceptanceReport, SpokenTurn
from appliance.journal_fields import STAGES

LIMITS = [("p50", 2.0), ("p95", 3.0)]
SHARES = [("p50", 0.5, 2.0), ("p95", 0.95, 3.0)]


def rectangles(svg: str) -> list[dict[str, float]]:
    return [
        {name: float(value) for name, value in element.attrib.items() if name != "fill"}
        for element in ElementTree.fromstring(svg).iter("rect")
    ]


def test_bar_of_a_turn_stacks_its_stages_without_gaps(report: AcceptanceReport) -> None:
    bars = rectangles(plots.latency_by_turn(report.turns, LIMITS))
    assert len(bars) == len(report.turns) * len(STAGES)
    for below, above in pairwise(bars[: len(STAGES)]):
        assert above["y"] + above["height"] == pytest.approx(below["y"], abs=0.2)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_nothing_is_drawn_outside_the_plot(count: int, report: AcceptanceReport) -> None:
    turns = [report.turns[number % 4] for number in range(count)]
    latencies = [turn.latency for turn in turns if turn.latency is not None]
    for svg in (plots.latency_by_turn(turns, LIMITS), plots.distribution(latencies, SHARES)):
        ElementTree.fromstring(svg)
        for x in map(float, re.findall(r'\bc?x="([-\d.]+)"', svg)):
            assert 0 <= x <= plots.WIDTH
        for y in map(float, re.findall(r'\bc?y="([-\d.]+)"', svg)):
            assert 0 <= y <= plots.HEIGHT


def test_distant_limit_does_not_compress_the_data(report: AcceptanceReport) -> None:
    svg = plots.latency_by_turn(report.turns, [("p95", 500.0)])
    assert "limit" not in svg
    assert max(bar["height"] for bar in rectangles(svg)) > 20


def test_turn_without_stages_has_a_number_instead_of_a_bar() -> None:
    svg = plots.latency_by_turn([SpokenTurn("Hello?"), SpokenTurn("Hello?", latency=1.0)], [])
    assert rectangles(svg) == []
    assert ">2</text>" in svg


def test_distribution_shows_percentiles_and_nearby_limits() -> None:
    svg = plots.distribution([1.0, 1.0, 1.0, 4.0], SHARES)
    assert "p50 1.00 s" in svg
    assert "p95 4.00 s" in svg
    assert "p95 limit 3.00 s" in svg


def test_legend_names_every_stage() -> None:
    for stage in STAGES:
        assert stage.replace("_", " ") in plots.legend()


@given(st.floats(0.001, 1e4))
def test_ticks_cover_the_longest_value_in_few_round_steps(longest: float) -> None:
    marks = plots.ticks(longest)
    assert marks[0] == 0
    assert marks[-1] >= longest * 0.999
    assert 2 <= len(marks) <= 8
