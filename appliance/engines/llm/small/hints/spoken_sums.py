"""Works out sums that a caller asks for, because small models get them wrong. No I/O.

"What is seven minus fifteen?" is answered with eight. The result is known, so the prompt has it:

    What is seven minus fifteen? (The result is minus 8.)
    And half of that? (The result is minus 4.)

A question is a sum only if nothing else is in it: "Take two tablets three times a day" is not.
Numbers are in words or figures. English, as `llm.language`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import plain, take_numbers, written
from appliance.engines.llm.small.hints.openings import FILLERS

_PARTS: Final = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "tenth": 10}
_LIMIT: Final = 10**12  # nobody asks for more, and voices read larger numbers badly

_OPENING = re.compile(
    rf"^{FILLERS}"
    r"(?:(?:can|could|would) you (?:please )?)?"
    r"(?:(?:calculate|compute|work out|add up|tell me|do you know|what do (?:you|i) get if"
    r" (?:you|i)|what (?:is|are|do|does|would be|about|if i)|what's|how much (?:is|are|does)"
    r"|how many (?:is|are))\b[, ]*)*(?:the (?:result|answer) of )?"
)
_ENDING = re.compile(
    r"(?: (?:equals?|is|make|makes|please|now|then|altogether|in total|what|together)\b,?)*$"
)
_SYMBOLS = (
    (re.compile(r"(?<=#)\s?(?:\+|plus|and then add)\s?(?=[-#])|\badded to\b"), " + "),
    (re.compile(r"(?<=#)\s?(?:[−–-]|minus|less|take away)\s?(?=#)"), " - "),
    (re.compile(r"(?<=#)\s?(?:[×*x]|times|multiplied by)\s?(?=[-#])"), " * "),
    (re.compile(r"(?<=#)\s?(?:÷|divided by|over)\s?(?=[-#])"), " / "),
)
_FRACTION_OF = rf"(?:(?P<many>#) |an? )?(?P<part>{'|'.join(_PARTS)})s?(?: of)? "
# Each is a whole question without its opening, '#' being a number, and what to do with the numbers.
_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[Sequence[Fraction]], Fraction]], ...]] = (
    (
        re.compile(
            r"(?:subtract|deduct|take(?: away)?) # (?:away )?from #"
            r"|# (?:taken|subtracted) (?:away )?from #"
        ),
        lambda n: n[1] - n[0],
    ),
    (re.compile(r"add # (?:to|and|plus) #|(?:the )?sum of # and #"), lambda n: n[0] + n[1]),
    (
        re.compile(r"multiply # (?:by|and|with) #|(?:the )?product of # and #"),
        lambda n: n[0] * n[1],
    ),
    (re.compile(r"(?:the )?difference (?:between|of) # and #"), lambda n: abs(n[0] - n[1])),
    (re.compile(r"# ?(?:percent|per cent|%) of #"), lambda n: n[0] * n[1] / 100),
    (re.compile(r"(?:double|twice|two times) #|# doubled"), lambda n: 2 * n[-1]),
    (re.compile(r"(?:triple|three times) #|# tripled"), lambda n: 3 * n[-1]),
    (re.compile(r"# squared|(?:the )?square of #"), lambda n: n[0] * n[0]),
)
# How a question continues the sum before it: '#' for the result before is put in these places.
_CONTINUATIONS: Final = (
    (re.compile(r"(?:that |it |this )?(-|\+|plus|times|multiplied by|divided by) ?#"), r"# \1 #"),
    (
        re.compile(r"(?:subtract|deduct|take(?: away)?) #(?: (?:away )?from (?:that|it|this))?"),
        "# - #",
    ),
    (re.compile(r"add #(?: to (?:that|it|this))?"), "# + #"),
    (re.compile(r"multiply (?:that|it|this) by #"), "# * #"),
    (re.compile(r"divide (?:that|it|this) by #"), "# / #"),
)
# "No, minus forty": another sum, not a continuation.
_CORRECTS = re.compile(r"\W*(?:no|sorry|wrong|not)\b", re.IGNORECASE)
_OF_THE_RESULT = re.compile(r"(?:\bof|^double|^triple|^twice|^half) (that|it|this)$")


def sum_result(text: str, before: str = "") -> str:
    """Return the result of the sum that `text` asks for; '' if it is not a sum.

    `before` is the result of the sum that the caller asked for just before, which "that" or "and
    minus ten?" continues. Results are in figures, with "minus" in words, because a voice reads
    them so: 'minus 8', '1,156', 'about 3.33'.
    """
    asked, numbers = take_numbers(plain(text).rstrip(".?!= "))
    asked = _ENDING.sub("", _OPENING.sub("", asked, count=1)).strip(" ,")
    asked = re.sub(r"\b(?:minus|negative|-) ?(?=#)", "-", asked) if asked else ""
    if _CORRECTS.match(text):
        before = ""
    result = _result(asked, numbers, _parsed(before))
    return "" if result is None or abs(result) >= _LIMIT else written(result)


def _result(asked: str, numbers: list[Fraction], before: Fraction | None) -> Fraction | None:
    if before is not None:
        asked, numbers = _with_result_before(asked, numbers, before)
    if match := re.fullmatch(rf"{_FRACTION_OF}#", asked):
        many = numbers[0] if match["many"] else Fraction(1)
        return many / _PARTS[match["part"]] * numbers[-1]
    if re.fullmatch(r"divide # by #", asked):
        asked = "# / #"
    for pattern, work_out in _FORMS:
        if pattern.fullmatch(asked):
            return work_out(numbers)
    return _chain(asked, numbers)


def _with_result_before(
    asked: str, numbers: list[Fraction], before: Fraction
) -> tuple[str, list[Fraction]]:
    """Put the result before where a question continues with it."""
    asked = re.sub(r" more$", "", asked)
    asked = re.sub(r"^halve (?=that|it|this)", "half ", asked)
    for pattern, whole in _CONTINUATIONS:
        if match := pattern.fullmatch(asked):
            return match.expand(whole), [before, *numbers]
    if match := _OF_THE_RESULT.search(asked):
        return f"{asked[: match.start(1)]}#", [*numbers, before]
    return asked, numbers


def _chain(asked: str, numbers: list[Fraction]) -> Fraction | None:
    """Return the value of '# + # * #'; products come first. None if `asked` is something else."""
    for pattern, symbol in _SYMBOLS:
        asked = pattern.sub(symbol, asked)
    asked = re.sub(r"(?<=#) ?-(?=#)", " - ", asked)
    tokens = asked.split()
    if len(tokens) < 3 or len(tokens) % 2 == 0:
        return None
    values: list[Fraction] = []
    operators = tokens[1::2]
    if not set(operators) <= set("+-*/"):
        return None
    for token, number in zip(tokens[::2], numbers, strict=False):
        if token not in ("#", "-#"):
            return None
        values.append(-number if token == "-#" else number)
    if len(values) != len(numbers) or len(values) != len(operators) + 1:
        return None
    terms, signs = [values[0]], []
    for operator, value in zip(operators, values[1:], strict=True):
        if operator in "*/":
            applied = _apply(operator, terms[-1], value)
            if applied is None:
                return None
            terms[-1] = applied
        else:
            signs.append(operator)
            terms.append(value)
    pairs = zip(signs, terms[1:], strict=True)
    return terms[0] + sum(-term if sign == "-" else term for sign, term in pairs)


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction | None:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right if right else None


def _parsed(written: str) -> Fraction | None:
    """Return the value of a result that `sum_result` has written; None if it is not exact."""
    match = re.fullmatch(r"(minus )?([\d,]+(?:\.\d+)?)", written)
    if match is None:
        return None
    value = Fraction(match[2].replace(",", ""))
    return -value if match[1] else value
