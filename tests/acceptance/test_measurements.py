"""The latencies of an acceptance test can be compared with those of a GPU proof."""

from __future__ import annotations

import dataclasses
import json

import pytest

from appliance.acceptance.measurements import to_record
from appliance.acceptance.report import AcceptanceReport
from appliance.gpu_proof.record import Record, Step, compare, from_tree, summarise, to_tree


def test_latencies_of_the_turns_and_the_card_are_in_the_record(report: AcceptanceReport) -> None:
    record = to_record(report)
    assert record.machine["card"] == "NVIDIA L4 (22.0 GiB)"
    assert record.machine["driver"] == "580.65.06"
    (step,) = record.steps
    values = {each.title: each for each in step.measurements}
    heard = sorted(1000 * turn.latency for turn in report.turns if turn.latency is not None)
    assert values["voice to voice"].n == len(heard)
    assert heard[0] <= values["voice to voice"].median <= heard[-1]
    assert values["interruption until silence"].median == pytest.approx(295)
    assert from_tree(json.loads(json.dumps(to_tree(record)))) == record


def test_record_has_the_latency_of_each_voice(report: AcceptanceReport) -> None:
    (step,) = to_record(report).steps
    counts = {
        each.conditions["voice"]: each.n
        for each in step.measurements
        if each.name == "voice to voice" and each.conditions
    }
    assert counts == {"en-gb": 2, "en-us": 2}


def test_record_can_be_compared_with_that_of_a_proof(report: AcceptanceReport) -> None:
    proof = Record(
        "gpu-proof", "0.1.0", "", {},
        (Step("conversation", "measured",
              measurements=(summarise("voice to voice", [500.0], "ms"),)),),
    )  # fmt: skip
    (only,) = compare(proof, to_record(report))
    assert only.base.name == "voice to voice"


def test_question_without_an_audible_answer_makes_the_record_partial(
    report: AcceptanceReport,
) -> None:
    turns = [dataclasses.replace(report.turns[0], latency=None), *report.turns]
    silent = sum(turn.latency is None for turn in turns)
    (step,) = to_record(dataclasses.replace(report, turns=turns)).steps
    assert (step.state, step.why) == ("partly", f"{silent} questions were not answered aloud")


def test_report_without_a_conversation_has_a_reason(report: AcceptanceReport) -> None:
    (step,) = to_record(dataclasses.replace(report, turns=(), barge_in_stop_seconds=())).steps
    assert step.state == "unavailable"
    assert "not run" in step.why
