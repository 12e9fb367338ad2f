"""Descriptions of /readyz responses."""

from __future__ import annotations

import pytest

from appliance.acceptance.ready import describe_obstacle


@pytest.mark.parametrize(
    ("status", "body", "description"),
    [
        (200, '{"ready": true}', ""),
        (503, '{"waiting_for": "tts", "draining": false}', "waiting for tts"),
        (503, '{"waiting_for": "", "draining": true}', "draining: new calls are refused"),
        (503, '{"waiting_for": "", "draining": false, "closed": true}', ""),
        (503, '{"waiting_for": "tts", "draining": false, "closed": true}', "waiting for tts"),
        (502, "<html>", "/readyz returns 502"),
        (404, '"no"', "/readyz returns 404"),
    ],
)
def test_obstacle_is_described(status: int, body: str, description: str) -> None:
    assert describe_obstacle(status, body) == description
