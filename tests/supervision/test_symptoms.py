"""What is seen of the processes, and what of it is wrong."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from appliance.errors import MissingWeights, ModelSick
from appliance.supervision.policy import Symptom
from appliance.supervision.symptoms import Limits, Sight, Symptoms

LIMITS = Limits(
    silent_seconds=15.0,
    load_seconds=120.0,
    longest_step_seconds=9.0,
    memory_bytes={"gateway": 1000, "tts": 1000},
    growth_seconds=60.0,
    growth_bytes=100,
)


class Time:
    """Looks every five seconds."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.symptoms = Symptoms(limits)
        self.now = 1000.0

    def look(self, sight: Sight, times: int = 1, every: float = 5.0) -> list[Symptom]:
        found: list[Symptom] = []
        for _ in range(times):
            self.now += every
            found += self.symptoms.look(self.now, [sight])
        return found


def sight(name: str = "gateway", pid: int = 7, says: bool | None = True, **more: int) -> Sight:
    """A running program; an engine that answers says that it is ready, too."""
    return Sight(name, "RUNNING", pid, says, bool(says), more.get("memory_bytes", 10))


def causes(found: Iterable[Symptom]) -> list[str]:
    return [symptom.cause for symptom in found]


@pytest.mark.parametrize("name", ["gateway", "llm", "exporter"])
def test_a_process_that_was_up_and_goes_silent_is_found_once(name: str) -> None:
    time = Time()
    assert time.look(sight(name)) == []
    assert time.look(sight(name, says=False), times=2) == []
    assert time.look(sight(name, says=False)) == [Symptom("silent", name, 15.0)]
    assert time.look(sight(name, says=False), times=50) == []


def test_one_answer_in_between_is_enough() -> None:
    time = Time()
    for _ in range(20):
        assert time.look(sight(says=False), times=2) == []
        assert time.look(sight()) == []


def test_an_engine_that_loads_for_long_is_left_alone_whether_it_answers_or_not() -> None:
    time = Time()
    loading = Sight("tts", "STARTING", 7, answers=True, ready=False)
    assert time.look(loading, times=3) == []
    assert time.look(sight("tts", says=False), times=19) == []
    assert time.look(sight("tts")) == []


def test_an_engine_that_loads_for_ever_is_found() -> None:
    time = Time()
    loading = Sight("tts", "RUNNING", 7, answers=True, ready=False)
    assert time.look(loading, times=24) == []
    assert causes(time.look(loading)) == ["not_ready"]


def test_an_engine_that_never_answers_is_found_silent_and_nothing_else() -> None:
    assert causes(Time().look(sight("tts", says=False), times=60)) == ["silent"]


def test_a_gateway_that_waits_for_engines_is_well() -> None:
    waiting = Sight("gateway", "RUNNING", 7, answers=True, ready=False)
    assert Time().look(waiting, times=100) == []


def test_a_new_process_of_the_same_program_begins_anew() -> None:
    time = Time()
    time.look(sight(pid=7))
    time.look(sight(pid=7, says=False), times=2)
    assert time.look(sight(pid=8, says=False), times=20) == []


def test_time_in_which_nobody_looked_does_not_count() -> None:
    time = Time()
    time.look(sight())
    assert time.look(sight(says=False), every=3600.0) == []
    assert causes(time.look(sight(says=False), every=3600.0)) == ["silent"]  # 9 s each


def test_one_question_that_got_lost_is_not_silence() -> None:
    time = Time(Limits(1.0, 120.0, longest_step_seconds=9.0))
    time.look(sight())
    assert time.look(sight(says=False)) == []
    assert causes(time.look(sight(says=False))) == ["silent"]


@pytest.mark.parametrize("state", ["STOPPED", "STOPPING", "BACKOFF", "EXITED"])
def test_what_is_not_to_run_is_not_asked_for(state: str) -> None:
    assert Time().look(Sight("gateway", state), times=100) == []


def test_too_much_memory_is_found_once_the_process_is_up() -> None:
    time = Time()
    loading = Sight("tts", "RUNNING", 7, answers=True, ready=False, memory_bytes=5000)
    assert time.look(loading, times=3) == []
    assert time.look(sight("tts", memory_bytes=1000)) == []
    assert time.look(sight("tts", memory_bytes=1001)) == [
        Symptom("memory", "tts", memory_bytes=1001)
    ]


def test_steady_growth_is_found_below_the_limit() -> None:
    time = Time()
    found = [it for step in range(40) for it in time.look(sight(memory_bytes=10 * step))]
    assert causes(found) == ["memory"]


def test_without_a_limit_memory_is_free() -> None:
    assert Time().look(sight("llm", memory_bytes=10**12), times=50) == []


def test_an_end_is_told_by_supervisord() -> None:
    time = Time()
    time.look(sight("tts"))
    assert causes(time.symptoms.told("tts", "EXITED", None)) == ["exited"]
    assert causes(time.symptoms.told("tts", "BACKOFF", None)) == ["not_started"]
    for state in ("STARTING", "RUNNING", "STOPPING", "STOPPED"):
        assert time.symptoms.told("tts", state, None) == []


def test_an_end_that_was_wanted_is_no_symptom() -> None:
    time = Time()
    time.look(sight("tts"))
    time.symptoms.expect_end("tts")
    assert time.symptoms.told("tts", "EXITED", None) == []
    assert causes(time.symptoms.told("tts", "EXITED", None)) == ["exited"]


def test_what_supervisord_gave_up_is_found_once_whoever_tells_first() -> None:
    told, seen = Time(), Time()
    assert causes(told.symptoms.told("tts", "FATAL", None)) == ["fatal"]
    assert told.look(Sight("tts", "FATAL")) == []
    assert causes(seen.look(Sight("tts", "FATAL"), times=5)) == ["fatal"]


@pytest.mark.parametrize("state", ["EXITED", "BACKOFF", "FATAL"])
def test_a_process_that_said_why_it_will_never_start_is_believed_at_once(state: str) -> None:
    error = MissingWeights(path="model")
    found = Time().symptoms.told("tts", state, error)
    assert found == [Symptom("refused", "tts", error=error)]


@pytest.mark.parametrize("state", ["EXITED", "BACKOFF"])
def test_an_engine_that_ended_as_its_model_was_sick_is_told_from_another_end(state: str) -> None:
    error = ModelSick(engine="llm")
    assert Time().symptoms.told("llm", state, error) == [Symptom("sick", "llm")]


def test_sickness_is_no_reason_to_give_up_and_none_when_the_end_was_wanted() -> None:
    time, error = Time(), ModelSick(engine="llm")
    time.look(sight("llm"))
    time.symptoms.expect_end("llm")
    assert time.symptoms.told("llm", "EXITED", error) == []
    assert causes(time.symptoms.told("llm", "FATAL", error)) == ["fatal"]
