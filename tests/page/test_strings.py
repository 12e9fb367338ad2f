"""The page's words: complete in every language."""

from __future__ import annotations

import re

import pytest

from appliance import errors
from tests.page.strings import LANGUAGES, strings_of


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_language_has_words_for_every_reason_of_the_gateway(tag: str) -> None:
    problems = strings_of(tag)["problems"]
    classes = [*errors.Refused.__subclasses__(), *errors.SessionEnded.__subclasses__()]
    assert {each.reason for each in classes} <= set(problems)


def test_languages_have_the_same_words_with_the_same_values() -> None:
    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {name: shape(each) for name, each in value.items()}
        if isinstance(value, list):
            return [shape(each) for each in value]
        return sorted(re.findall(r"\{\w+\}", str(value)))

    first, *others = (shape(strings_of(tag)) for tag in LANGUAGES)
    for other in others:
        assert other == first
