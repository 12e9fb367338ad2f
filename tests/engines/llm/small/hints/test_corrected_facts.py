"""A corrected fact of the caller's is recognized."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.corrected_facts import corrects_own_fact


@pytest.mark.parametrize(
    "text",
    [
        "No, my dog is called Bello.",
        "Sorry, my name is Anna.",
        "Actually, our house is red.",
        "Oh wait, my sister lives in Rome.",
    ],
)
def test_corrected_fact(text: str) -> None:
    assert corrects_own_fact(text)


@pytest.mark.parametrize(
    "text",
    [
        "My dog is called Bello.",
        "No, thank you.",
        "No, my dog is called Bello. What is my dog called?",
        "Sorry, I did not understand.",
        "No.",
        "",
    ],
)
def test_other_text(text: str) -> None:
    assert not corrects_own_fact(text)
