"""The figures."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from appliance.acceptance import page
from appliance.acceptance.report import Report, Sample
from appliance.journal_fields import STAGES

LIMITS = [("p50", 2.0), ("p95", 3.0)]
SHARES = [("p50", 0.5, 2.0), ("p95", 0.95, 3.0)]


def rectangles(svg: str) -> list[dict[str, float]]:
    return [
        {name: float(value) for name, value in one.attrib.items() if name != "fill"}
        for one in ElementTree.fromstring(svg).iter("rect")
    ]


def test_every_turn_is_a_bar_of_its_stages_that_touch(report: Report) -> None:
    bars = rectangles(page.stages(report.turns, LIMITS))
    assert len(bars) == len(report.turns) * len(STAGES)
    for below, above in pairwise(bars[: len(STAGES)]):
        assert above["y"] + above["height"] == pytest.approx(below["y"], abs=0.2)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_nothing_is_drawn_outside_of_the_figure(count: int, report: Report) -> None:
    turns = [report.turns[number % 4] for number in range(count)]
    heard = [turn.latency for turn in turns if turn.latency is not None]
    for svg in (page.stages(turns, LIMITS), page.distribution(heard, SHARES)):
        ElementTree.fromstring(svg)
        for x in map(float, re.findall(r'\bc?x="([-\d.]+)"', svg)):
            assert 0 <= x <= page.WIDTH
        for y in map(float, re.findall(r'\bc?y="([-\d.]+)"', svg)):
            assert 0 <= y <= page.HEIGHT


def test_a_limit_far_away_does_not_press_the_data_into_a_corner(report: Report) -> None:
    svg = page.stages(report.turns, [("p95", 500.0)])
    assert "limit" not in svg
    assert max(bar["height"] for bar in rectangles(svg)) > 20


def test_turns_without_an_answer_leave_their_place_empty() -> None:
    svg = page.stages([Sample("Hello?"), Sample("Hello?", latency=1.0)], [])
    assert rectangles(svg) == []
    assert ">2</text>" in svg


def test_the_median_stands_where_half_of_the_values_are() -> None:
    svg = page.distribution([1.0, 1.0, 1.0, 4.0], SHARES)
    assert "p50 1.00 s" in svg
    assert "p95 4.00 s" in svg
    assert "p95 limit 3.00 s" in svg


def test_the_legend_names_every_stage() -> None:
    for stage in STAGES:
        assert stage.replace("_", " ") in page.legend()
