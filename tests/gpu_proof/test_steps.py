"""Which steps run, in which order, and the reasons of those that do not."""

from __future__ import annotations

from appliance.gpu_proof.record import Step
from appliance.gpu_proof.steps import (
    STEPS,
    Machine,
    StepPlan,
    next_step,
    not_reached,
    triage,
    unavailable,
)

EVERYTHING = Machine(
    {package for step in STEPS for package in step.packages}, has_model=True, has_checkout=True
)


def plan(name: str, min_seconds: float) -> StepPlan:
    return StepPlan(name, name, name, (), min_seconds, 100.0)


def test_complete_machine_runs_all_steps_in_order_of_worth() -> None:
    to_run, impossible = triage(STEPS, EVERYTHING, {})
    assert [step.name for step in to_run] == [
        "driver", "kokoro", "ultravox", "golden", "engine", "conversation",
    ]  # fmt: skip
    assert impossible == []


def test_rented_machine_without_vllm_runs_the_first_three() -> None:
    machine = Machine(set(EVERYTHING.packages) - {"vllm", "pipecat"}, True, True)
    to_run, impossible = triage(STEPS, machine, {})
    assert [step.name for step in to_run] == ["driver", "kokoro", "ultravox"]
    assert {step.name: step.why for step in impossible} == {
        "golden": "not installed here: vllm",
        "engine": "not installed here: vllm",
        "conversation": "not installed here: vllm, pipecat",
    }
    assert {step.state for step in impossible} == {"unavailable"}


def test_only_the_driver_package_is_enough_for_the_first_step() -> None:
    to_run, _ = triage(STEPS, Machine({"pynvml"}, False, False), {})
    assert [step.name for step in to_run] == ["driver"]


def test_missing_model_and_missing_checkout_are_reasons() -> None:
    kokoro, golden = STEPS[1], STEPS[3]
    assert "no model of Kokoro" in unavailable(kokoro, Machine(EVERYTHING.packages, False, True))
    assert "checkout" in unavailable(golden, Machine(EVERYTHING.packages, True, False))


def test_int8_model_needs_a_converter() -> None:
    machine = Machine(EVERYTHING.packages, True, True, model_packages=("onnx",))
    assert unavailable(STEPS[1], machine) == "not installed here: onnx"


def test_step_measured_earlier_is_not_repeated_and_a_partial_one_is() -> None:
    done = {
        "driver": Step("driver", "measured"),
        "kokoro": Step("kokoro", "partly", "stopped after 20 s"),
    }
    to_run, _ = triage(STEPS, EVERYTHING, done)
    assert [step.name for step in to_run][:2] == ["kokoro", "ultravox"]


def test_step_that_needs_more_time_than_is_left_is_passed_over() -> None:
    long, short = plan("long", 60.0), plan("short", 5.0)
    assert next_step([long, short], 90.0) is long
    assert next_step([long, short], 30.0) is short
    assert next_step([long, short], 4.0) is None
    assert next_step([], 90.0) is None


def test_step_without_time_says_how_much_it_needs() -> None:
    result = not_reached(plan("engine", 120.0), 44.4)
    assert (result.state, result.why) == ("not reached", "needs at least 120 s; 44 s were left")
    assert "0 s were left" in not_reached(plan("engine", 120.0), -3.0).why


def test_first_three_steps_fit_into_three_minutes() -> None:
    assert sum(step.min_seconds for step in STEPS[:3]) <= 120
