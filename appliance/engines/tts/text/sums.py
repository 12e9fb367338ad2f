"""Sums: tells a difference from a range, because both are written with a dash.

"10 - 3 = 7" is a difference and "take 2 - 3 tablets" a range. A dash between amounts is a minus
sign where a result follows, where another operator stands in the same sum, or where a question or
a command asks for the result. Everywhere else it is left to the rules for ranges.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.tts.text.numbers import NUMBER, without_separators
from appliance.engines.tts.text.rule import Match, Rules, rule
from appliance.engines.tts.text.units import UNIT

_MONEY = r"[$£€¥]"
_SIGNED = rf"[-−+]?{_MONEY}?(?:{NUMBER})"
# An amount, one in brackets, or a variable.
_TERM: Final = rf"(?:\({_SIGNED}\)|{_SIGNED}(?:\s?{UNIT})?|(?<![\w.'])(?:[a-z]|[A-Z]\d?)(?![\w.']))"
_OPERATOR: Final = r"(?:\s[-–]\s|[-–]|\s?[−+×*÷]\s?|\s/\s)"
_PART = re.compile(rf"(?P<operator>{_OPERATOR})?(?P<term>{_TERM})")
_DASHES = frozenset("-–−")
_EQUALS = rf"(?:=|equals\b)\s?(?:{_TERM}|\?|$)"
_RESULT = re.compile(
    rf"\s(?:is|makes|gives|leaves)\s(?P<result>{_TERM})(?![\w/%-])(?P<ends>\s*(?:[.?!,;]|$))?"
)
_ASKS = re.compile(
    r"\b(?:what(?:'s| is)|how much is|calculate|compute|evaluate|solve|work out|subtract"
    r"|(?:sum|difference)(?: of| is)?)\W*$",
    re.IGNORECASE,
)
# A phrase of a call, whose question began in the phrase before: "How much | is 5 - 3?"
_ASKS_IN_PHRASE = re.compile(r"(?:much )?is\s", re.IGNORECASE)
_ENDS = re.compile(r"\s*(?:[.?!:;)]|,(?!\d)|$)|\s(?:first|now|again|then|please|for me)\b")
_SENTENCE_BEGINS = re.compile(r"(?:^|[.?!:]\s|\b(?:so|and|because|since|then),?\s)$", re.IGNORECASE)
_SENTENCE_ENDS = re.compile(r"\s*[.?!]?(?:\s|$)")


def _read(match: Match) -> str:
    parts = _split(match[0])
    if not any(_is_dash(operator) for operator, _ in parts):
        return match[0]
    before, after = match.string[: match.start()], match.string[match.end() :]
    if not _is_sum(parts, before, after):
        return match[0]
    return "".join(f"{' minus ' if _is_dash(op) else op}{term}" for op, term in parts)


def _split(text: str) -> list[tuple[str, str]]:
    """Return the terms of a sum, each with the operator before it."""
    parts, at = [], 0
    while match := _PART.match(text, at):
        parts.append((match["operator"] or "", match["term"]))
        at = match.end()
    return parts


def _is_dash(operator: str) -> bool:
    return operator.strip() in _DASHES


def _is_sum(parts: list[tuple[str, str]], before: str, after: str) -> bool:
    if re.match(rf"\s?{_EQUALS}", after) or re.search(r"\d\s?(?:=|equals)\s?$", before):
        return True
    operators = [operator for operator, _ in parts[1:]]
    if any(operator in ("-", "–") for operator in operators):
        return False  # without spaces: a code, a date or a range
    values = [_value(term) for _, term in parts]
    are_numbers = None not in values
    if are_numbers and not all(map(_is_dash, operators)):
        return True
    # "What is 10 - 15 mg?" has one unit for both ends of a range.
    if not are_numbers and any(value is not None for value in values):
        return False
    if _ASKS.search(before) and _ENDS.match(after):
        return True
    if are_numbers and _ASKS_IN_PHRASE.fullmatch(before) and after.startswith("?"):
        return True
    begins = bool(_SENTENCE_BEGINS.search(before))
    if result := _RESULT.match(after):
        return _is_result(_value(result["result"]), values) or (begins and bool(result["ends"]))
    is_alone = not before.strip() or before.rstrip()[-1] in ".?!"
    is_alone &= len(parts) == 2 and bool(_SENTENCE_ENDS.fullmatch(after[:2]))
    return is_alone and are_numbers and "–" not in "".join(operators)


def _value(term: str) -> float | None:
    """Return the value of a bare number; None for one with a unit or currency, and a variable."""
    bare = without_separators(term.strip("()")).replace("−", "-")
    return float(bare) if re.fullmatch(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)", bare) else None


def _is_result(result: float | None, values: list[float | None]) -> bool:
    numbers = [value for value in values if value is not None]
    if result is None or len(numbers) < len(values):
        return False
    return abs(numbers[0] - sum(numbers[1:]) - result) < 1e-6


SUMS: Rules = (
    rule(rf"(?<![\w.,/:#$£€¥-])(?<!\d\s){_TERM}(?:{_OPERATOR}{_TERM})+(?![\w/:]|[.,]\d)", _read),
)
