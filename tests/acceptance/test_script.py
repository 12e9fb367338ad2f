"""Whether what was recognised is what was said."""

from __future__ import annotations

from appliance.acceptance.script import agreement, missing, plain


def test_case_and_punctuation_and_how_numbers_are_written_do_not_count() -> None:
    assert plain("It’s 20%, really!") == ["it's", "twenty", "percent", "really"]
    assert agreement("It opened in 1889.", "it opened in eighteen eighty nine") == 1
    assert plain("call 0123456789") == ["call", "0123456789"]


def test_the_same_sentence_agrees_and_another_does_not() -> None:
    said = "The capital of France is Paris."
    assert agreement(said, "the capital of france is paris") == 1
    assert agreement(said, "the capitol of france is paris") > 0.8
    assert agreement(said, "mm hm well goodbye then") == 0
    assert agreement(said, "") == 0
    assert agreement("", "anything") == 0


def test_the_words_in_another_order_are_another_sentence() -> None:
    assert agreement("one two three four", "four three two one") <= 0.25


def test_words_that_are_missing_are_named() -> None:
    assert missing(("capital", "france"), "What is the CAPITAL of Frans?") == ["france"]
    assert missing(("museum|gallery",), "a famous gallery") == []
    assert missing(("peter",), "Peterborough") == ["peter"]
