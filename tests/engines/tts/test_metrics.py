"""All metric series exist from the start."""

from __future__ import annotations

from appliance.engines.tts.metrics import OUTCOMES, TTSMetrics
from appliance.metrics import render


def test_every_label_set_starts_at_zero_with_our_prefix() -> None:
    text = render(TTSMetrics().registry).decode()
    for outcome in OUTCOMES:
        assert f'voice_tts_phrases_total{{outcome="{outcome}"}} 0.0' in text
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("voice_tts_") for line in series)
    assert not any("_created" in line for line in series)
