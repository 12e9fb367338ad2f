"""The steps of the proof in order of worth, and the decision which one runs next. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from appliance.gpu_proof.record import Step

KOKORO_FOLDER = "kokoro-82m"  # in the folder of weights
KOKORO_MODELS = ("kokoro-v1_0.safetensors", "kokoro-v1.0.int8.onnx")  # any of them
CONVERTER_PACKAGES = ("onnx",)  # to make the first from the second


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step that can be run.

    module         run as `python -m MODULE`
    packages       modules that must be importable
    needs_model    does not run without Kokoro's model
    needs_checkout for code or data that the image does not contain
    min_seconds    with less time than this the step would bring nothing
    max_seconds    after this it is stopped; what it measured until then is kept
    arguments      further arguments of the module
    """

    name: str
    title: str
    module: str
    packages: tuple[str, ...]
    min_seconds: float
    max_seconds: float
    needs_model: bool = False
    needs_checkout: bool = False
    arguments: tuple[str, ...] = ()


_PROJECT = ("pydantic", "structlog", "numpy")

STEPS = (
    StepPlan(
        "driver",
        "NVML: what exporter, guard and planner read; the plan for this card",
        "appliance.gpu_proof.driver",
        ("pynvml",),
        min_seconds=5,
        max_seconds=60,
    ),
    StepPlan(
        "kokoro",
        "Kokoro on PyTorch: same speech as on the CPU, time to audio, callers",
        "appliance.gpu_proof.kokoro",
        (*_PROJECT, "torch", "safetensors", "transformers", "kokoro"),
        min_seconds=40,
        max_seconds=240,
        needs_model=True,
    ),
    StepPlan(
        "ultravox",
        "Ultravox' arithmetic with random weights",
        "appliance.gpu_proof.ultravox",
        ("torch", "transformers"),
        min_seconds=45,
        max_seconds=240,
    ),
    StepPlan(
        "golden",
        "Ultravox under vLLM: equal to the recorded reference",
        "tests.golden.proof",
        (*_PROJECT, "torch", "transformers", "vllm", "tokenizers"),
        min_seconds=90,
        max_seconds=400,
        needs_checkout=True,
    ),
    StepPlan(
        "engine",
        "Ultravox under vLLM: first token, callers, prefix cache, interruption",
        "appliance.gpu_proof.engine_speed",
        (*_PROJECT, "torch", "transformers", "vllm", "tokenizers"),
        min_seconds=120,
        max_seconds=600,
    ),
    StepPlan(
        "conversation",
        "the whole appliance on this machine: voice to voice",
        "appliance.gpu_proof.conversation",
        (*_PROJECT, "torch", "vllm", "pipecat", "fastapi", "spacy", "misaki", "websockets"),
        min_seconds=120,
        max_seconds=600,
    ),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What is there.

    packages      importable modules, of those that a step names
    has_model     Kokoro's model is in the folder of weights
    has_checkout  tests/ and ops/ are there
    model_packages  packages that a step with Kokoro's model needs besides its own
    """

    packages: Collection[str]
    has_model: bool
    has_checkout: bool
    model_packages: tuple[str, ...] = ()


def unavailable(step: StepPlan, machine: Machine) -> str:
    """Why the step cannot run on this machine; empty if it can."""
    needed = (*step.packages, *(machine.model_packages if step.needs_model else ()))
    missing = [package for package in needed if package not in machine.packages]
    if missing:
        return f"not installed here: {', '.join(missing)}"
    if step.needs_model and not machine.has_model:
        return "the folder of weights has no model of Kokoro"
    if step.needs_checkout and not machine.has_checkout:
        return "needs a checkout of the project"
    return ""


def triage(
    steps: Sequence[StepPlan], machine: Machine, done: Mapping[str, Step]
) -> tuple[list[StepPlan], list[Step]]:
    """Split the steps into those to run and those that cannot run here, with the reason.

    A step that was measured completely in an earlier run is in neither list.
    """
    to_run, impossible = [], []
    for step in steps:
        if step.name in done and done[step.name].state == "measured":
            continue
        why = unavailable(step, machine)
        if why:
            impossible.append(Step(step.name, "unavailable", why))
        else:
            to_run.append(step)
    return to_run, impossible


def next_step(waiting: Sequence[StepPlan], remaining_seconds: float) -> StepPlan | None:
    """The first step that fits in the remaining time; None if no step does."""
    return next((step for step in waiting if step.min_seconds <= remaining_seconds), None)


def not_reached(step: StepPlan, remaining_seconds: float) -> Step:
    """The result of a step for which too little time was left."""
    left = max(0.0, remaining_seconds)
    why = f"needs at least {step.min_seconds:.0f} s; {left:.0f} s were left"
    return Step(step.name, "not reached", why)
