"""The list of settings."""

from __future__ import annotations

from appliance.listing import listing
from appliance.settings import Settings, load, walk


def test_every_setting_has_its_value_its_meaning_and_its_default() -> None:
    text = listing(load({"VOICE_GATEWAY_PORT": "9000"}))
    for section, name, _ in walk(Settings()):
        assert f"VOICE_{section}_{name}".upper() + " = " in text
    assert "VOICE_GATEWAY_PORT = 9000\n    port to listen on (default: 8765)" in text
    assert "VOICE_LLM_TOOLS = current_time, end_call" in text
