"""docs/hardware.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.gpu import page
from appliance.gpu.cards import GIB, KNOWN, Card
from appliance.gpu.reference import ultravox_8b
from appliance.settings import load

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"
GPU = load({"VOICE_PROFILE": "gpu"})


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page.rendered(text) == text, "run: python -m appliance.gpu docs/hardware.md"


def test_the_page_has_every_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in page.TABLES:
        assert text.count(f"<!-- {name}: made by") == 1


def test_the_page_says_what_was_not_measured() -> None:
    assert "Nothing on this page was measured on an L4 or an A10" in PAGE.read_text(
        encoding="utf-8"
    )


def test_a_mark_that_names_no_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        page.rendered("<!-- price: made by python -m appliance.gpu -->\n<!-- end -->")


def test_the_page_does_not_claim_that_fp8_for_the_past_is_taken_where_it_is_not() -> None:
    for line in KNOWN:
        kinds = page.recommended(line.as_card())[0]
        for kind in kinds:
            assert page.plan(line.as_card(), ultravox_8b(kind), GPU).kv_dtype == "bfloat16"


def test_a_plan_in_words_has_the_sum_the_reasons_and_the_limits() -> None:
    l4 = next(line for line in KNOWN if line.name == "NVIDIA L4").as_card()
    told = page.shown(l4, ultravox_8b("fp8"), GPU)
    for expected in ("Kokoro", "headroom", "memory fraction 0.87", "at most 37 tokens", "321 ms"):
        assert expected in told
    assert "not measured" in told


def test_of_an_unknown_card_it_is_said_that_its_speed_is_not_known() -> None:
    unknown = Card("NVIDIA X", 40 * GIB, 40 * GIB, (8, 9), "580")
    assert "how fast: not known" in page.shown(unknown, ultravox_8b("fp8"), GPU)
