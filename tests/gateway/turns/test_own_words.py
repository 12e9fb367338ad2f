"""Words out of the loudspeaker are told from a caller's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turns.own_words import fewest_errors, is_own

SAID = "A river is water that flows to the sea. The Seine flows through Paris, and it is long."


@pytest.mark.parametrize(
    "text",
    [
        "A river is water that flows to the sea.",
        "Water that flows to the sea, the Seine",
        "a liver is water that flows to the sea",  # heard wrong
        "flows through Paris, and it’s is long",
    ],
)
@pytest.mark.parametrize("has_echo", [True, False])
def test_repeated_sentence_is_the_bots_own(text: str, has_echo: bool) -> None:
    assert is_own(text, SAID, has_echo)


@pytest.mark.parametrize("text", ["Paris", "to the sea.", "The Seine flows"])
def test_a_few_words_are_the_bots_own_only_where_an_echo_was_heard(text: str) -> None:
    assert is_own(text, SAID, has_echo=True)
    assert not is_own(text, SAID, has_echo=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Stop.",
        "What is the capital of France?",
        "And which river flows through Rome?",
        "Paris is long, and a river is water",  # the bot's words in another order
        "to the sea. Wait, what about lakes?",  # the caller over the echo
    ],
)
@pytest.mark.parametrize("has_echo", [True, False])
def test_a_caller_is_never_the_bot(text: str, has_echo: bool) -> None:
    assert not is_own(text, SAID, has_echo)


@pytest.mark.parametrize("text", ["Coffee.", "Tea.", "A coffee."])
@pytest.mark.parametrize("has_echo", [True, False])
def test_one_of_two_choices_is_an_answer(text: str, has_echo: bool) -> None:
    assert not is_own(text, "Would you like a tea or a coffee?", has_echo)
    assert is_own(text, "I have brought a tea, and a coffee.", has_echo=True)


def test_what_the_bot_said_long_ago_does_not_count() -> None:
    assert not is_own("the seine flows through paris", SAID + " and so on" * 40, has_echo=True)


@given(st.lists(st.sampled_from("abcd"), max_size=6), st.lists(st.sampled_from("abcd"), max_size=9))
def test_errors_are_zero_exactly_for_parts(heard: list[str], own: list[str]) -> None:
    is_part = "".join(heard) in "".join(own)
    assert (fewest_errors(heard, own) == 0) == is_part
    assert fewest_errors(heard, own) <= len(heard)
