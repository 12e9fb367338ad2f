"""The driver's replies are recorded call by call, and replayed to the code that read them."""

from __future__ import annotations

import json
import sys

import pytest

from appliance.gpu import nvml
from appliance.gpu.readings import NvmlSession
from appliance.gpu_proof.recording import RecordingNvml, ReplayedNvml
from tests.fakes import NVML_A10, NVML_H100, NVML_L4, NVML_MIG, FakeNvml, NvmlAnswers

CARDS = [(NVML_L4,), (NVML_A10, NVML_L4), (NVML_H100,), (NVML_MIG,)]


@pytest.mark.parametrize("cards", CARDS, ids=lambda cards: "+".join(card.uuid for card in cards))
@pytest.mark.parametrize("old", [False, True], ids=["driver", "old driver"])
def test_replay_gives_the_same_cards_and_readings(
    cards: tuple[NvmlAnswers, ...], old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = RecordingNvml(FakeNvml(*cards, old=old))
    monkeypatch.setitem(sys.modules, "pynvml", recording)
    session = NvmlSession()
    readings = session.read()
    session.close()
    listing = nvml.list_cards({})
    calls = json.loads(json.dumps(recording.calls()))

    monkeypatch.setitem(sys.modules, "pynvml", ReplayedNvml(calls))
    assert NvmlSession().read() == readings
    assert nvml.list_cards({}) == listing
    assert listing.cards


def test_call_that_was_not_recorded_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", ReplayedNvml({}))
    assert "does not answer" in nvml.list_cards({}).problem
