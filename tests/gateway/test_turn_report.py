"""What the metrics and the log are told of turns."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turn_record import MARKS, STAGES, TurnRecord
from appliance.gateway.turn_report import TurnReport
from appliance.metrics import GatewayMeters
from tests.gateway.conftest import logged

HEADLINE = "voice_turn_response_latency_seconds"
HEARD = "voice_turn_heard_latency_seconds"


class Office:
    """A report with its meters; `shown` is what the caller's screen got."""

    def __init__(self) -> None:
        self.meters = GatewayMeters("cpu")
        self.shown: list[dict[str, object]] = []
        self.report = TurnReport(self.meters, True, self.shown.append)

    def metric(self, name: str, **labels: str) -> float:
        return self.meters.registry.get_sample_value(name, labels) or 0.0

    def stages_sum(self) -> float:
        name = "voice_stage_latency_seconds_sum"
        return sum(self.metric(name, stage=stage) for stage in STAGES)


def turn(
    marks: Mapping[str, float] = {}, kind: str = "spoken", outcome: str = "answered"
) -> TurnRecord:
    by = "smart_turn" if kind == "spoken" else ""
    return TurnRecord(1, kind, by, outcome, marks=dict(marks))


ANSWERED = {"speech_ended": 1.0, "asked": 1.3, "first_token": 1.5, "sent": 2.0}


@st.composite
def records(draw: st.DrawFn) -> TurnRecord:
    """Any turn: with any marks missing but that of the question, in the order of time."""
    missing = draw(st.sets(st.sampled_from([mark for mark in MARKS if mark != "asked"])))
    now, marks = 0.0, {}
    for name in MARKS:
        now += draw(st.floats(0, 5))
        if name not in missing:
            marks[name] = now
    kind = draw(st.sampled_from(["spoken", "typed"]))
    return turn(marks, kind, draw(st.sampled_from(["answered", "interrupted", "failed"])))


@given(st.lists(records(), max_size=6))
def test_on_the_page_the_stages_sum_to_the_headline_whatever_came_of_the_turns(
    told: list[TurnRecord],
) -> None:
    office = Office()
    for record in told:
        office.report.tell(record)
    assert office.stages_sum() == pytest.approx(office.metric(f"{HEADLINE}_sum"), abs=1e-6)


@pytest.mark.parametrize(
    ("record", "count"),
    [
        (turn(ANSWERED), 1),
        (turn(ANSWERED, outcome="interrupted"), 1),  # cut off, but only after it had begun
        (turn({"asked": 1.3, "first_token": 1.5}, outcome="interrupted"), 0),
        (turn({"speech_ended": 1.0, "asked": 1.3}, outcome="failed"), 0),
        (turn({"asked": 1.3, "sent": 2.0}, kind="typed"), 0),
    ],
)
def test_a_spoken_turn_that_was_answered_aloud_has_a_latency(
    record: TurnRecord, count: int
) -> None:
    office = Office()
    office.report.tell(record)
    assert office.metric(f"{HEADLINE}_count") == count
    assert office.metric("voice_turns_total", outcome=record.outcome) == 1


def test_what_the_client_heard_is_in_the_metric_and_in_the_line_of_the_turn() -> None:
    office, record = Office(), turn(ANSWERED)
    record.sounded_at = 2.25
    with logged() as log:
        office.report.tell(record)
    (line,) = _lines(log)
    assert (line["event"], line["response_seconds"], line["heard_seconds"]) == ("turn", 1.0, 1.25)
    assert office.metric(f"{HEARD}_sum") == 1.25


def test_what_the_client_said_later_is_a_line_of_its_own() -> None:
    office, record = Office(), turn(ANSWERED)
    with logged() as log:
        office.report.tell(record)
        record.sounded_at = 2.5
        office.report.tell_heard(record)
        office.report.tell_heard(None)
    told, heard = _lines(log)
    assert "heard_seconds" not in told
    assert (heard["event"], heard["turn"], heard["heard_seconds"]) == ("turn heard", 1, 1.5)
    assert (office.metric(f"{HEARD}_count"), office.metric(f"{HEARD}_sum")) == (1, 1.5)


def test_of_typed_turns_no_latency_is_measured() -> None:
    office, record = Office(), turn({"asked": 1.0, "sent": 1.5}, kind="typed")
    record.sounded_at = 1.6
    office.report.tell(record)
    office.report.tell_heard(record)
    assert office.metric(f"{HEARD}_count") == office.metric(f"{HEADLINE}_count") == 0


def test_a_caller_sees_the_turn_and_not_what_was_too_short_to_be_one() -> None:
    office = Office()
    office.report.tell(turn(ANSWERED))
    office.report.tell(TurnRecord(0, "spoken", outcome="too_short"))
    office.report.tell(None)
    assert [shown["turn"] for shown in office.shown] == [1]


def _lines(log: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]
