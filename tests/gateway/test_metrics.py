"""The gateway's metrics: names, labels, and series that start at zero."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from appliance.errors import EngineFailed, Refused, SessionEnded, catalogue
from appliance.gateway.metrics import GatewayMetrics
from appliance.journal_fields import LEVELS
from appliance.metrics import render

EXPECTED_LABELS = {
    "voice_build_info": {"version", "profile"},
    "voice_ready": set(),
    "voice_ready_changed_timestamp_seconds": set(),
    "voice_draining": set(),
    "voice_closed": set(),
    "voice_sessions_active": set(),
    "voice_sessions_max": set(),
    "voice_sessions_total": {"outcome"},
    "voice_sessions_rejected_total": {"reason"},
    "voice_session_duration_seconds_bucket": {"le"},
    "voice_turns_total": {"outcome"},
    "voice_turn_ends_total": {"by"},
    "voice_speculations_total": {"outcome"},
    "voice_bot_pauses_total": {"outcome"},
    "voice_tool_calls_total": {"outcome"},
    "voice_turn_response_latency_seconds_bucket": {"le"},
    "voice_turn_heard_latency_seconds_bucket": {"le"},
    "voice_stage_latency_seconds_bucket": {"stage", "le"},
    "voice_barge_in_stop_seconds_bucket": {"le"},
    "voice_audio_bytes_total": {"direction"},
    "voice_engine_failures_total": {"engine", "reason"},
    "voice_event_loop_lag_seconds_bucket": {"le"},
    "voice_audit_failing": set(),
    "voice_audit_lines_lost_total": set(),
    "voice_log_events_total": {"level"},
    "voice_tls_certificate_expiry_timestamp_seconds": set(),
    "voice_tls_key_exposed": set(),
    "voice_tokens": set(),
    "voice_token_store_failing": set(),
    "voice_token_weak": {"weakness"},
    "voice_confinement_gap": {"gap"},
}


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics("cpu")


def families(metrics: GatewayMetrics) -> Iterator[Metric]:
    return iter(text_string_to_metric_families(render(metrics.registry).decode()))


def label_sets(metrics: GatewayMetrics, name: str) -> set[tuple[str, ...]]:
    return {
        tuple(value for label, value in sample.labels.items() if label != "le")
        for family in families(metrics)
        for sample in family.samples
        if sample.name == name
    }


def test_metrics_have_the_documented_names_and_labels(metrics: GatewayMetrics) -> None:
    labels = {
        sample.name: set(sample.labels)
        for family in families(metrics)
        for sample in family.samples
        if not sample.name.endswith(("_sum", "_count"))
    }
    assert labels == EXPECTED_LABELS


def test_names_follow_promtool_conventions(metrics: GatewayMetrics) -> None:
    for family in families(metrics):
        assert re.fullmatch(r"voice(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|kb|mb|sec|secs|minutes|percent)(_|$)", family.name)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert not sample.name.endswith("_created")


def test_every_label_value_is_present_from_the_start(metrics: GatewayMetrics) -> None:
    by_reason = {
        kind: {r for r, error in catalogue().items() if issubclass(error, kind)}
        for kind in (Refused, SessionEnded, EngineFailed)
    }
    expected = {
        "voice_sessions_total": by_reason[SessionEnded] | {"left"},
        "voice_sessions_rejected_total": by_reason[Refused],
        "voice_turns_total": {
            "answered",
            "interrupted",
            "nothing_heard",
            "failed",
            "too_short",
            "joined",
        },
        "voice_turn_ends_total": {"smart_turn", "pace", "words", "fallback", "timeout"},
        "voice_speculations_total": {
            "taken",
            "speech_resumed",
            "interrupted",
            "changed",
            "failed",
            "session_ended",
        },
        "voice_tool_calls_total": {"done", "failed", "too_slow", "malformed"},
        "voice_stage_latency_seconds_count": {
            "end_of_turn",
            "hearing",
            "first_token",
            "first_phrase",
            "synthesis",
            "transport",
        },
        "voice_audio_bytes_total": {"in", "out"},
        "voice_log_events_total": set(LEVELS),
    }
    for name, values in expected.items():
        assert label_sets(metrics, name) == {(value,) for value in values}, name
    engine_reasons = itertools.product(("llm", "tts"), by_reason[EngineFailed])
    assert label_sets(metrics, "voice_engine_failures_total") == set(engine_reasons)


def test_every_series_except_the_build_starts_at_zero(metrics: GatewayMetrics) -> None:
    for family in families(metrics):
        for sample in family.samples:
            assert sample.value == (1 if family.name == "voice_build_info" else 0), sample


def test_response_latency_has_buckets_at_the_target_values(metrics: GatewayMetrics) -> None:
    metrics.turn_response_latency_seconds.observe(2.45)
    value = metrics.registry.get_sample_value
    name = "voice_turn_response_latency_seconds_bucket"
    assert value(name, {"le": "2.0"}) == 0
    assert value(name, {"le": "2.5"}) == 1
    assert value(name, {"le": "4.0"}) == 1


def test_two_instances_do_not_share_values() -> None:
    first, second = GatewayMetrics("cpu"), GatewayMetrics("gpu")
    first.sessions_active.set(3)
    assert second.registry.get_sample_value("voice_sessions_active") == 0
