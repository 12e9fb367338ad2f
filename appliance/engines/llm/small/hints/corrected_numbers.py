"""Corrects digits of a number that the caller has told: "No, it ends in three." No I/O.

Small models repeat the old number, or say that they were not told it. The new one is known, so the
prompt has it after the correction, and after a question for the number:

    My number is five five five, zero one four two.
    No, it ends in three. (The number is five five five, zero one four three.)
    And the first digit is six. (The number is six five five, zero one four three.)
    Not four, nine. (The number is six five five, zero one nine three.)
    What is my number? (The number is six five five, zero one nine three.)
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import ONES

_DIGITS: Final = ONES[:10]
_PLACES_TEXT: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)
_PLACES: Final = tuple(_PLACES_TEXT.split())
_DIGIT = rf"(?:\d|\b(?:{'|'.join(_DIGITS)}|oh)\b)"
_SEPARATOR = r"(?:\s?[,-]\s?|\s)?"
_ALONE = rf"(?!{_SEPARATOR}{_DIGIT})"
# At least two digits, in words or figures.
_NUMBER = re.compile(rf"{_DIGIT}(?:{_SEPARATOR}{_DIGIT})+", re.IGNORECASE)
_IS = r"(?: is|'s| was| should be| must be| has to be| to)?(?: now)?(?: an?)?"
_AT_AN_END = re.compile(
    rf"\b(?P<verb>ends|ending|begins|beginning|starts|starting) (?:in|with|on) (?:an? )?"
    rf"(?P<digit>{_DIGIT}){_ALONE}",
    re.IGNORECASE,
)
_AT_A_PLACE = re.compile(
    rf"\b(?P<place>{'|'.join(_PLACES)}|last but one|second to last|second last|last)"
    rf" (?:digit|number|figure|one){_IS} (?P<digit>{_DIGIT}){_ALONE}",
    re.IGNORECASE,
)
# One digit for another is the whole sentence, because "not five but six" may be about the time.
_OPENING = r"\W*(?:(?:no|sorry|wrong|it(?:'s| is| was)|that(?:'s| is| was)|i (?:said|meant))\b\W*)*"
_ARTICLE = r"(?:(?:it(?:'s| is)|an?|the) )*"
_INSTEAD = tuple(
    re.compile(rf"{_OPENING}{pattern}\W*", re.IGNORECASE)
    for pattern in (
        rf"not {_ARTICLE}(?P<old>{_DIGIT})(?:,? but|,|\.|;)? {_ARTICLE}(?P<digit>{_DIGIT})",
        rf"{_ARTICLE}(?P<digit>{_DIGIT}),? (?:and )?(?:not|instead of) {_ARTICLE}(?P<old>{_DIGIT})",
        rf"the (?P<old>{_DIGIT}) (?:is|should be|must be) {_ARTICLE}(?P<digit>{_DIGIT})",
        rf"change the (?P<old>{_DIGIT}) (?:to|into) {_ARTICLE}(?P<digit>{_DIGIT})",
    )
)
# "No, it is three one five.": a whole number anew
_REPLACES = re.compile(
    r"\W*(?:no|sorry|wrong|actually|wait)\b\W*(?:(?:no|sorry|actually)\b\W*)*"
    r"(?:it(?:'s| is| was)|that(?:'s| is| was)|i (?:meant|said)|it should be)\b",
    re.IGNORECASE,
)
_READ_BACK = re.compile(
    r"\b(?:read|repeat|say|confirm) (?:it|that|the number|my number|this|them)(?: back| again)?"
    r"(?: to me| for me)?(?: again)?(?:,? please)?\W*$",
    re.IGNORECASE,
)
_ASKS_FOR_NUMBER = re.compile(
    r"\b(?:what(?:'s| is| was)(?: now)?|(?:repeat|confirm)(?: to me)?|(?:read|tell|give|say)"
    r"(?: me)?(?: back)?(?: again)?) (?:my|the|that|our) (?P<label>(?:[a-z]+ ){0,2}?)"
    r"(?P<noun>number|code|pin|[a-z]+(?=(?: (?:once more|again|please|now))*\W*$))\b"
    r"(?! (?:of|for|to)\b)",
    re.IGNORECASE,
)
_NAMES_A_NUMBER = frozenset({"number", "code", "pin"})
_ASKS_FOR_DIGITS = re.compile(
    r"\b(?:what|which|tell|say|give|repeat|read)\b.*?\b(?:its|the|my|their|those)"
    r" (?P<end>first|last)"
    r" (?:(?P<many>two|three|four|five) (?:digit|figure|number)s|(?:digit|figure|number))"
    r"(?: of (?:it|that|this))?(?:,? (?:again|please|now))*\W*$",
    re.IGNORECASE,
)


def find_number(text: str) -> str:
    """Return the last number of two or more digits in a text, as it is said; '' if none is."""
    found = _NUMBER.findall(text)
    return found[-1] if found else ""


def replaces_number(text: str) -> bool:
    """Return whether a text gives a whole number anew: "No, it is three one five."."""
    return bool(_REPLACES.match(text.replace("’", "'")))


def corrected_number(text: str, number: str) -> str:
    """Return `number` with the digit that `text` corrects; '' if `text` corrects no digit of it.

    The new digit is in figures or words, as the old one.
    """
    text = text.replace("’", "'")
    digits = list(re.finditer(_DIGIT, number, re.IGNORECASE))
    place, digit = -len(digits) - 1, ""
    if match := _AT_AN_END.search(text):
        place, digit = (-1 if match["verb"].lower().startswith("end") else 0), match["digit"]
    elif match := _AT_A_PLACE.search(text):
        place, digit = _place(match["place"].lower()), match["digit"]
    elif match := next(filter(None, (each.fullmatch(text) for each in _INSTEAD)), None):
        values = [_value(each[0]) for each in digits]
        if values.count(_value(match["old"])) == 1:  # which one else?
            place, digit = values.index(_value(match["old"])), match["digit"]
    if not digit or not -len(digits) <= place < len(digits):
        return ""
    old = digits[place]
    return number[: old.start()] + _like(digit, old[0]) + number[old.end() :]


def asks_to_read_back(text: str) -> bool:
    """Return whether a caller who tells a number asks to hear it."""
    return bool(_READ_BACK.search(text))


def asks_for_number(text: str, told: str) -> bool:
    """Return whether a caller asks for the number that the text `told` has given.

    "What is my phone number?" asks for the number of "My phone number is ...", not of "My room is".
    """
    asked = _ASKS_FOR_NUMBER.search(text.replace("’", "'"))
    if asked is None or not told:
        return False
    label = asked["label"].lower().split()
    if (noun := asked["noun"].lower()) in _NAMES_A_NUMBER:
        words = re.findall(r"\w+", told.lower())
        return all(word in words for word in label)
    name = " ".join((*label, noun))  # "my extension" is a number only if it was told as one
    given = (
        rf"\b(?:my|the|our) {name}(?: number| code)?(?: is|'s| was) {re.escape(find_number(told))}"
    )
    return bool(re.search(given, told.replace("’", "'"), re.IGNORECASE))


def asked_digits(text: str, number: str) -> str:
    """Return the first or last digits of `number` that `text` asks for, as said; '' if none."""
    asked = _ASKS_FOR_DIGITS.search(text.replace("’", "'"))
    digits = re.findall(_DIGIT, number, re.IGNORECASE)
    if asked is None or len(digits) < 2:
        return ""
    many = _DIGITS.index(asked["many"].lower()) if asked["many"] else 1
    if many > len(digits):
        return ""
    return " ".join(digits[:many] if asked["end"].lower() == "first" else digits[-many:])


def _place(name: str) -> int:
    """Return the index of a digit by its name: 'first' -> 0, 'last' -> -1."""
    if name in _PLACES:
        return _PLACES.index(name)
    return -1 if name == "last" else -2


def _value(digit: str) -> int:
    digit = digit.lower()
    if digit.isdigit():
        return int(digit)
    return 0 if digit == "oh" else _DIGITS.index(digit)


def _like(digit: str, old: str) -> str:
    return str(_value(digit)) if old.isdigit() else _DIGITS[_value(digit)]
