"""Joining metrics pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.supervision.exporter import join

UP = b"# HELP up Up.\n# TYPE up gauge\nup 1.0\n"
DOWN = b"# HELP down Down.\n# TYPE down counter\ndown_total 2.0\n"


def test_pages_are_joined_unchanged() -> None:
    assert join({"a": UP, "b": DOWN}) == (UP + DOWN, {})


def test_a_last_line_without_its_end_does_not_run_into_the_next_page() -> None:
    page, left_out = join({"a": UP.rstrip(), "b": DOWN})
    assert (page, left_out) == (UP + DOWN, {})


def test_a_process_without_metrics_is_no_error() -> None:
    assert join({"a": b"", "b": UP}) == (UP, {})


def test_a_family_of_another_process_leaves_the_later_page_out() -> None:
    assert join({"a": UP, "b": DOWN + UP}) == (UP, {"b": "collides"})


@pytest.mark.parametrize("broken", [b"up one\n", b'up{a="b} 1\n', b"\xff\xfe\n", b"{} 1 2 3 4\n"])
def test_a_broken_page_is_left_out_and_the_others_stay(broken: bytes) -> None:
    assert join({"a": broken, "b": DOWN}) == (DOWN, {"a": "broken"})


@given(st.binary(max_size=80))
def test_no_bytes_whatever_break_the_page_of_the_others(anything: bytes) -> None:
    page, _ = join({"good": DOWN, "any": anything})
    assert page.startswith(DOWN)
