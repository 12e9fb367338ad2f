"""What /readyz says, in words."""

from __future__ import annotations

import pytest

from appliance.acceptance.readiness import told


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (200, '{"ready": true}', ""),
        (503, '{"waiting_for": "tts", "draining": false}', "waiting for tts"),
        (503, '{"waiting_for": "", "draining": true}', "draining: it takes no new calls"),
        (502, "<html>", "/readyz answers 502"),
        (404, '"no"', "/readyz answers 404"),
    ],
)
def test_what_is_waited_for_is_told(status: int, text: str, words: str) -> None:
    assert told(status, text) == words
