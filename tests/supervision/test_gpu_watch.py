"""A card that was here is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.gpu.cards import Card
from appliance.gpu.nvml import Found
from appliance.settings import LLMConfig, Settings, TTSConfig
from appliance.supervision.gpu_watch import HANGS, Answer, Asking, CardWatch, wanted
from tests.supervision.dummies import until


def card(uuid: str) -> Card:
    return Card("NVIDIA L4", 24, 24, (8, 9), "580", uuid=uuid)


BOTH = Found((card("GPU-1"), card("GPU-2")))
ONE = Found((card("GPU-1"),))
NONE = Found((), "the driver cannot be asked: Unknown Error")


def causes(watch: CardWatch, *found: Found) -> list[str]:
    """What is said of answers that come one after the other."""
    told = [watch.look(Answer(float(at), it)) for at, it in enumerate(found, 1)]
    return [symptom.why for symptoms in told for symptom in symptoms]


def watching(*expected: str) -> CardWatch:
    return CardWatch(expected, silent_seconds=15.0, step_seconds=5.0)


def test_a_machine_that_never_had_a_card_misses_none() -> None:
    watch = watching()
    assert causes(watch, NONE, NONE, NONE) == []
    assert [watch.look(None) for _ in range(20)] == [[]] * 20


def test_one_of_two_cards_that_goes_is_named() -> None:
    assert causes(watching(), BOTH, ONE, ONE) == ["the driver no longer knows GPU-2"]


def test_a_driver_that_cannot_be_asked_any_more_has_lost_the_card() -> None:
    assert causes(watching(), ONE, NONE, NONE) == [NONE.why]


def test_one_hiccup_is_no_loss() -> None:
    assert causes(watching(), ONE, NONE, ONE, NONE, ONE) == []


def test_a_driver_that_hangs_has_lost_the_card() -> None:
    watch, answer = watching(), Answer(1.0, ONE)
    told = [watch.look(answer) for _ in range(4)]
    assert [len(symptoms) for symptoms in told] == [0, 0, 0, 1]
    assert told[-1][0].why == HANGS


def test_the_next_guard_knows_which_cards_were_here() -> None:
    first = watching()
    causes(first, BOTH)
    assert causes(watching(*first.expected), NONE, NONE) == [NONE.why]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Settings(), False),
        (replace(Settings(), tts=TTSConfig(backend="torch", device="cuda")), True),
        (replace(Settings(), llm=LLMConfig(engine="vllm")), True),
    ],
)
def test_only_a_card_that_something_runs_on_counts(given: Settings, expected: bool) -> None:
    assert wanted(given) == expected


def test_the_driver_is_asked_again_and_again() -> None:
    answers = iter([BOTH, ONE])
    asking = Asking(lambda: next(answers, ONE), 0.01)
    asking.start()
    until(lambda: asking.answer is not None and asking.answer.found == ONE)
