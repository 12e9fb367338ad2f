"""A report as written by a test run."""

from __future__ import annotations

import pytest

from appliance.acceptance.report import AcceptanceReport, CheckResult, SpokenTurn
from appliance.journal_fields import STAGES

TURNS = [
    SpokenTurn(
        said="What is the capital of France?",
        understood="What is the capital of France?",
        reply="The capital of France is Paris.",
        sounded="the capital of France is Paris",
        outcome="answered",
        latency=latency,
        stages=dict(zip(STAGES, (0.3, 0.05, 0.25, 0.3, latency - 1.0, 0.02), strict=True)),
        voice=voice,
    )
    for latency, voice in ((1.6, "en-us"), (1.7, "en-gb"), (2.9, "en-us"), (1.5, "en-gb"))
]


@pytest.fixture
def report() -> AcceptanceReport:
    about = {
        "time": "2026-11-22T12:00:00+00:00",
        "version": "0.1.0",
        "profile": "gpu",
        "image_id": "sha256:" + "a1" * 32,
        "container": "voice-appliance",
        "lock_sha256": "52" * 32,
        "host": "ward-7 <main>",
        "kernel": "6.1.0",
        "processor": "Some Processor",
        "cores": 8,
        "memory_gib": 62.8,
        "cards": [
            {
                "name": "NVIDIA L4",
                "driver": "580.65.06",
                "uuid": "GPU-1",
                "memory_gib": 22.0,
                "capability": "8.9",
            }
        ],
        "no_card_because": "",
        "settings": {"gateway.max_sessions": "8", "llm.model": "ultravox-v0_5"},
        "changed_settings": ["llm.system_prompt"],
        "url": "ws://127.0.0.1:8765/ws",
        "limits_for": "L4 and unknown GPUs",
    }
    limits = {
        "voice_to_voice_p50": 2.0,
        "voice_to_voice_p95": 3.0,
        "interruption_p95": 0.4,
        "recovery": 300.0,
        "agreement": 0.7,
    }
    results = [
        CheckResult("seal", "pass", "seal intact", "every file"),
        CheckResult("latency", "fail", "p50 9 s", "at most 1.50 s", "Look at <b>the card</b>."),
        CheckResult("latency", "pass", "p95 9 s", "at most 10 s"),
        CheckResult("recovery", "skipped", "only with --kill"),
    ]
    return AcceptanceReport(about, limits, results, TURNS, [0.28, 0.31])
