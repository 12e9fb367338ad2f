"""From observations to symptoms: silence, readiness, memory, growth and exits."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadSetting, MissingWeights, ModelUnhealthy
from appliance.processes import GUARD, PROGRAMS
from appliance.settings import Settings, load
from appliance.supervision.policy import Symptom
from appliance.supervision.symptoms import (
    GROWTH_SLICES,
    HealthLimits,
    MemoryGrowth,
    Observation,
    SymptomDetector,
)

LIMITS = HealthLimits(
    silent_seconds=15.0,
    load_seconds=120.0,
    max_step_seconds=9.0,
    memory_bytes={"gateway": 1000, "tts": 1000},
    growth_seconds=60.0,
    growth_bytes=100,
)
MB = 1_000_000


class Clock:
    """Simulated time: feeds a detector one observation every five seconds."""

    def __init__(self, limits: HealthLimits = LIMITS) -> None:
        self.detector = SymptomDetector(limits)
        self.now = 1000.0

    def observe(
        self, observation: Observation, times: int = 1, every: float = 5.0
    ) -> list[Symptom]:
        symptoms: list[Symptom] = []
        for _ in range(times):
            self.now += every
            symptoms += self.detector.observe(self.now, [observation])
        return symptoms


def running(
    name: str = "gateway", pid: int = 7, responded: bool | None = True, memory_bytes: int = 10
) -> Observation:
    """Observe a running program. An engine that answers also reports ready."""
    return Observation(name, "RUNNING", pid, responded, bool(responded), memory_bytes)


def loading(name: str = "tts", memory_bytes: int = 0) -> Observation:
    return Observation(name, "RUNNING", 7, responded=True, ready=False, memory_bytes=memory_bytes)


def causes(symptoms: Iterable[Symptom]) -> list[str]:
    return [symptom.cause for symptom in symptoms]


@pytest.mark.parametrize("name", ["gateway", "llm", "exporter"])
def test_process_that_stops_responding_is_reported_once(name: str) -> None:
    clock = Clock()
    assert clock.observe(running(name)) == []
    assert clock.observe(running(name, responded=False), times=2) == []
    assert clock.observe(running(name, responded=False)) == [Symptom("silent", name, 15.0)]
    assert clock.observe(running(name, responded=False), times=50) == []


def test_one_reply_resets_the_silence_timer() -> None:
    clock = Clock()
    for _ in range(20):
        assert clock.observe(running(responded=False), times=2) == []
        assert clock.observe(running()) == []


def test_engine_within_its_load_time_is_healthy_whether_it_responds_or_not() -> None:
    clock = Clock()
    starting = Observation("tts", "STARTING", 7, responded=True, ready=False)
    assert clock.observe(starting, times=3) == []
    assert clock.observe(running("tts", responded=False), times=19) == []
    assert clock.observe(running("tts")) == []


def test_engine_that_never_loads_is_not_ready() -> None:
    clock = Clock()
    assert clock.observe(loading(), times=24) == []
    assert causes(clock.observe(loading())) == ["not_ready"]


def test_engine_that_never_responds_is_reported_only_as_silent() -> None:
    assert causes(Clock().observe(running("tts", responded=False), times=60)) == ["silent"]


def test_gateway_that_waits_for_engines_is_healthy() -> None:
    assert Clock().observe(loading("gateway"), times=100) == []


def test_replacement_process_starts_without_history() -> None:
    clock = Clock()
    clock.observe(running(pid=7))
    clock.observe(running(pid=7, responded=False), times=2)
    assert clock.observe(running(pid=8, responded=False), times=20) == []


def test_time_without_observations_does_not_count() -> None:
    clock = Clock()
    clock.observe(running())
    assert clock.observe(running(responded=False), every=3600.0) == []
    # Each step counts for 9 s.
    assert causes(clock.observe(running(responded=False), every=3600.0)) == ["silent"]


def test_one_lost_health_check_is_not_reported() -> None:
    clock = Clock(HealthLimits(1.0, 120.0, max_step_seconds=9.0))
    clock.observe(running())
    assert clock.observe(running(responded=False)) == []
    assert causes(clock.observe(running(responded=False))) == ["silent"]


@pytest.mark.parametrize("state", ["STOPPED", "STOPPING", "BACKOFF", "EXITED"])
def test_program_that_should_not_run_has_no_symptoms(state: str) -> None:
    assert Clock().observe(Observation("gateway", state), times=100) == []


def test_memory_limit_applies_once_the_process_is_up() -> None:
    clock = Clock()
    assert clock.observe(loading(memory_bytes=5000), times=3) == []
    assert clock.observe(running("tts", memory_bytes=1000)) == []
    assert clock.observe(running("tts", memory_bytes=1001)) == [
        Symptom("memory", "tts", memory_bytes=1001)
    ]


def test_steady_growth_below_the_limit_is_reported() -> None:
    clock = Clock()
    symptoms = [
        symptom for step in range(40) for symptom in clock.observe(running(memory_bytes=10 * step))
    ]
    assert causes(symptoms) == ["memory"]


def test_process_without_a_memory_limit_may_use_any_amount() -> None:
    assert Clock().observe(running("llm", memory_bytes=10**12), times=50) == []


def test_exit_reported_by_supervisord_is_a_symptom() -> None:
    clock = Clock()
    clock.observe(running("tts"))
    assert causes(clock.detector.on_state("tts", "EXITED", None)) == ["exited"]
    assert causes(clock.detector.on_state("tts", "BACKOFF", None)) == ["not_started"]
    for state in ("STARTING", "RUNNING", "STOPPING", "STOPPED"):
        assert clock.detector.on_state("tts", state, None) == []


def test_expected_exit_is_not_a_symptom() -> None:
    clock = Clock()
    clock.observe(running("tts"))
    clock.detector.expect_exit("tts")
    assert clock.detector.on_state("tts", "EXITED", None) == []
    assert causes(clock.detector.on_state("tts", "EXITED", None)) == ["exited"]


def test_program_that_supervisord_gave_up_is_reported_once_by_event_or_observation() -> None:
    by_event, by_observation = Clock(), Clock()
    assert causes(by_event.detector.on_state("tts", "FATAL", None)) == ["fatal"]
    assert by_event.observe(Observation("tts", "FATAL")) == []
    assert causes(by_observation.observe(Observation("tts", "FATAL"), times=5)) == ["fatal"]


@pytest.mark.parametrize("state", ["EXITED", "BACKOFF", "FATAL"])
def test_program_that_recorded_a_start_error_is_reported_as_refused(state: str) -> None:
    error = MissingWeights(path="model")
    symptoms = Clock().detector.on_state("tts", state, error)
    assert symptoms == [Symptom("refused", "tts", error=error)]


@pytest.mark.parametrize("state", ["EXITED", "BACKOFF"])
def test_engine_that_exited_after_invalid_model_output_is_reported_as_sick(state: str) -> None:
    error = ModelUnhealthy(engine="llm")
    assert Clock().detector.on_state("llm", state, error) == [Symptom("sick", "llm")]


def test_unhealthy_model_is_neither_an_expected_exit_nor_a_refusal() -> None:
    clock, error = Clock(), ModelUnhealthy(engine="llm")
    clock.observe(running("llm"))
    clock.detector.expect_exit("llm")
    assert clock.detector.on_state("llm", "EXITED", error) == []
    assert causes(clock.detector.on_state("llm", "FATAL", error)) == ["fatal"]


# Memory growth.


def grows(memory: list[int], min_bytes: int = 100 * MB) -> bool:
    """Return whether growth is detected in `memory`, measured ten times per slice."""
    growth = MemoryGrowth(window_seconds=10.0 * GROWTH_SLICES, min_bytes=min_bytes)
    return any(growth.update(float(second), size) for second, size in enumerate(memory))


def test_steady_leak_is_detected_once_it_is_large_and_the_window_is_full() -> None:
    assert grows([second * 5 * MB for second in range(70)])
    assert not grows([second * 5 * MB for second in range(55)])


def test_slow_leak_is_ignored() -> None:
    assert not grows([second * MB for second in range(300)])


def test_memory_that_rises_and_falls_is_ignored() -> None:
    assert not grows([500 * MB * (second % 7) for second in range(300)])


def test_leak_is_detected_beneath_rising_and_falling_load() -> None:
    assert grows([second * 5 * MB + 400 * MB * (second % 4) for second in range(80)])


def test_one_large_step_is_not_growth() -> None:
    assert not grows([100 * MB] * 60 + [900 * MB] * 200)


def test_pause_in_growth_restarts_detection() -> None:
    rising = [second * 5 * MB for second in range(40)]
    assert not grows([*rising, *[rising[-1]] * 20, *[rising[-1] + size for size in rising]])


def test_zero_disables_growth_detection() -> None:
    assert not grows([second * 50 * MB for second in range(300)], min_bytes=0)


@given(st.lists(st.integers(0, 99 * MB), max_size=200))
def test_growth_below_the_limit_is_never_detected(memory: list[int]) -> None:
    assert not grows(memory)


# Limits from the settings.


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_load_time_exceeds_the_time_supervisord_grants_a_start(profile: str) -> None:
    supervision = load({"VOICE_PROFILE": profile}).supervision
    assert supervision.load_seconds > supervision.start_seconds


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_process_that_dies_right_after_each_start_reaches_the_restart_limit(profile: str) -> None:
    supervision = load({"VOICE_PROFILE": profile}).supervision
    loop_seconds = (supervision.max_restarts + 1) * supervision.start_seconds
    assert loop_seconds < supervision.restart_window_seconds


def test_every_program_except_the_guard_has_a_memory_limit() -> None:
    assert set(HealthLimits.from_settings(Settings()).memory_bytes) == set(PROGRAMS) - {GUARD}


def test_guard_silence_limit_exceeds_one_round_of_checks() -> None:
    settings = Settings()
    others, guard = HealthLimits.from_settings(settings), HealthLimits.for_guard(settings)
    assert guard.silent_seconds >= others.silent_seconds + settings.supervision.check_seconds
    assert guard.memory_bytes == {} and guard.growth_bytes == 0


@pytest.mark.parametrize(
    "name",
    [
        "check_seconds",
        "silent_seconds",
        "load_seconds",
        "growth_seconds",
        "restart_window_seconds",  # in an empty window nothing is counted: an endless loop
    ],
)
def test_zero_seconds_is_rejected(name: str) -> None:
    variable = f"VOICE_SUPERVISION_{name.upper()}"
    with pytest.raises(BadSetting, match=variable):
        load({variable: "0"})
