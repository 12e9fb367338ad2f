"""Reports about turns to the metrics, the log and the client."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.turn_record import MARKS, TurnRecord
from appliance.gateway.turn_report import TurnReporter
from appliance.journal_fields import STAGES
from tests.gateway.captured_log import captured_log

HEADLINE = "voice_turn_response_latency_seconds"
HEARD = "voice_turn_heard_latency_seconds"


class Published:
    """A reporter and its output; `sent` holds the messages to the client."""

    def __init__(self) -> None:
        self.metrics = GatewayMetrics("cpu")
        self.sent: list[dict[str, object]] = []
        self.reporter = TurnReporter(self.metrics, True, self.sent.append)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def stages_sum(self) -> float:
        name = "voice_stage_latency_seconds_sum"
        return sum(self.metric(name, stage=stage) for stage in STAGES)


def session_turn(
    marks: Mapping[str, float] = {}, kind: str = "spoken", outcome: str = "answered"
) -> TurnRecord:
    ended_by = "smart_turn" if kind == "spoken" else ""
    return TurnRecord(1, kind, ended_by, outcome, marks=dict(marks))


ANSWERED = {"speech_stopped": 1.0, "submitted": 1.3, "first_token": 1.5, "sent": 2.0}


@st.composite
def session_turns(draw: st.DrawFn) -> TurnRecord:
    """Generate turns with marks in time order. Any mark except "submitted" may be missing."""
    missing = draw(st.sets(st.sampled_from([mark for mark in MARKS if mark != "submitted"])))
    now, marks = 0.0, {}
    for name in MARKS:
        now += draw(st.floats(0, 5))
        if name not in missing:
            marks[name] = now
    kind = draw(st.sampled_from(["spoken", "typed"]))
    return session_turn(marks, kind, draw(st.sampled_from(["answered", "interrupted", "failed"])))


@given(st.lists(session_turns(), max_size=6))
def test_stage_metrics_sum_to_the_latency_metric_for_any_turns(
    turns: list[TurnRecord],
) -> None:
    published = Published()
    for turn in turns:
        published.reporter.report(turn)
    assert published.stages_sum() == pytest.approx(published.metric(f"{HEADLINE}_sum"), abs=1e-6)


@pytest.mark.parametrize(
    ("turn", "count"),
    [
        (session_turn(ANSWERED), 1),
        (session_turn(ANSWERED, outcome="interrupted"), 1),  # after playback began
        (session_turn({"submitted": 1.3, "first_token": 1.5}, outcome="interrupted"), 0),
        (session_turn({"speech_stopped": 1.0, "submitted": 1.3}, outcome="failed"), 0),
        (session_turn({"submitted": 1.3, "sent": 2.0}, kind="typed"), 0),
    ],
)
def test_latency_is_observed_for_spoken_turns_with_an_audible_reply(
    turn: TurnRecord, count: int
) -> None:
    published = Published()
    published.reporter.report(turn)
    assert published.metric(f"{HEADLINE}_count") == count
    assert published.metric("voice_turns_total", outcome=turn.outcome) == 1


def test_playback_report_is_in_the_metric_and_the_turn_line() -> None:
    published, turn = Published(), session_turn(ANSWERED)
    turn.heard_at = 2.25
    with captured_log() as log:
        published.reporter.report(turn)
    (line,) = _lines(log)
    assert (line["event"], line["response_seconds"], line["heard_seconds"]) == ("turn", 1.0, 1.25)
    assert published.metric(f"{HEARD}_sum") == 1.25


def test_late_playback_report_is_logged_as_a_separate_line() -> None:
    published, turn = Published(), session_turn(ANSWERED)
    with captured_log() as log:
        published.reporter.report(turn)
        turn.heard_at = 2.5
        published.reporter.report_heard(turn)
        published.reporter.report_heard(None)
    reported, heard = _lines(log)
    assert "heard_seconds" not in reported
    assert (heard["event"], heard["turn"], heard["heard_seconds"]) == ("turn heard", 1, 1.5)
    assert (published.metric(f"{HEARD}_count"), published.metric(f"{HEARD}_sum")) == (1, 1.5)


def test_no_latency_is_observed_for_typed_turns() -> None:
    published, turn = Published(), session_turn({"submitted": 1.0, "sent": 1.5}, kind="typed")
    turn.heard_at = 1.6
    published.reporter.report(turn)
    published.reporter.report_heard(turn)
    assert published.metric(f"{HEARD}_count") == published.metric(f"{HEADLINE}_count") == 0


def test_client_gets_turns_but_not_speech_that_was_too_short() -> None:
    published = Published()
    published.reporter.report(session_turn(ANSWERED))
    published.reporter.report(TurnRecord(0, "spoken", outcome="too_short"))
    published.reporter.report(None)
    assert [message["turn"] for message in published.sent] == [1]


def _lines(log: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]
