"""A request within a story, role play or game is answered, and the same request as such refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engines.llm.small.hints.imagination import is_imagined
from appliance.engines.llm.small.hints.impossible_requests import NO_ACTION, limit_of

LINES = Path(__file__).with_name("imagined.tsv").read_text(encoding="utf-8").splitlines()
REQUESTS = [line.split("\t") for line in LINES if not line.startswith("#")]


@pytest.mark.parametrize("text", [text for kind, text in REQUESTS if kind == "talk"])
def test_imagined_request_is_not_limited(text: str) -> None:
    assert limit_of(text) == ""


@pytest.mark.parametrize("text", [text for kind, text in REQUESTS if kind == "act"])
def test_real_request_is_limited(text: str) -> None:
    assert limit_of(text) == NO_ACTION


@pytest.mark.parametrize(
    "text",
    [
        "Call an ambulance, this is not a story.",
        "Don't play with me, call the police.",
        "Stop pretending you are a nurse and call one.",
        "Call the police, we are in no game.",
        "Send my wife a card with a poem.",
        "Wake me up with a song.",
        "Start the next song.",
        "Ask a question of my doctor.",
        "",
    ],
)
def test_serious_text_is_not_imagined(text: str) -> None:
    assert not is_imagined(text)
