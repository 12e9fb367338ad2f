"""The switches that keep libraries offline and quiet."""

from __future__ import annotations

import pytest

from appliance import offline
from appliance.errors import BadSetting


def test_switches_override_the_environment() -> None:
    environ = {"HF_HUB_OFFLINE": "0", "HOME": "/root"}
    offline.apply(environ)
    assert environ["HF_HUB_OFFLINE"] == "1"
    assert environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert environ["TRANSFORMERS_OFFLINE"] == "1"
    assert environ["PIPECAT_LOG_LLM_CONTEXT"] == "off"
    assert environ["HOME"] == "/root"


@pytest.mark.parametrize("name", ["PIPECAT_SETUP_FILES", "PIPECAT_SMART_TURN_LOG_DATA"])
def test_variable_that_runs_code_or_records_callers_is_refused(name: str) -> None:
    environ = {name: "x"}
    with pytest.raises(BadSetting, match=name):
        offline.apply(environ)
    assert environ == {name: "x"}
