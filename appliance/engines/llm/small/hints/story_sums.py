"""Works out sums that a caller tells as a story, because small models guess them. No I/O.

"A ticket costs nine pounds. How much are four tickets?" is answered with forty pounds. The result
of common stories is known, as that of other sums (`spoken_sums.py`). Numbers become '#', and the
first of three readings that fits has the result:

    comparison  "Anna has twice as many books as Ben. Ben has #.": a difference, and whose # is told
    product     "A ticket costs #. How much are # tickets?": # of one thing, and how many there are
    sum         "I had # dollars and spent #. How much is left?": its summary, HAS ## PAY ? LEFT

A story that fits none of them has no result (`step_by_step.py`). English, as `llm.language`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import take_numbers, written
from appliance.engines.llm.small.hints.story_words import (
    PERIOD,
    kind_of_question,
    plain_story,
    summary_of,
)

# "his sister is # years younger than", "Anna has twice as many books as", and whose amount is told
_COMPARISON = re.compile(
    r"(?P<who>\w+) [a-z']+ (?:# years? (?P<way>older|younger)(?P<than> than)?"
    r"|(?P<times>twice|half|# times) as \w+(?: \w+)? as)"
    r"(?: (?:(?:my|his|her|our|the) )?(?P<whom>\w+)\b(?! ha[sd]\b))?"
)
_TOLD = re.compile(r"(?P<who>\w+) (?:is|am|are|was|has|have|had|owns?) #(?! years? [oy]| times)")

# One of several things, with its amount: "a ticket costs #", "# cups of tea a day".
_HOLDS: Final = (
    r"(?:costs?|is|are|holds?|contains?|has|have|weighs?|needs?|takes?|lays?|eats?|drinks?|uses?"
    r"|seats?|carry|carries|gets?)"
)
_ONE_HOLDS = re.compile(rf"\b(?:an?|one|each|every|the) ((?:[a-z]+ ){{1,3}}?){_HOLDS} #")
_FOR_ONE = re.compile(r"#(?:(?! and )[^#.,])*?\b(?:in the|an?|per|each|every) (\w+)")
_SEVERAL = re.compile(r"# (\w+)(?: (\w+))?")
# "# pens cost # dollars each", "# bags and each bag has #"
_OF_EACH = re.compile(
    rf"#[^#]* (?:{_HOLDS}|at|for|of|with) #[^#]*\b(?:each|apiece|a piece)\b"
    rf"|#[^#]*\beach (?:[a-z]+ )*{_HOLDS} #"
)
_NO_PRODUCT: Final = ("BUYING", "CHANGE", "EACH", "EARLIER", "LATER", "LEFT", "MORE")
_PERIODS: Final = {
    ("second", "minute"): 60, ("minute", "hour"): 60, ("hour", "day"): 24, ("day", "week"): 7,
    ("night", "week"): 7, ("week", "year"): 52, ("month", "year"): 12,
}  # fmt: skip

_HAS: Final = r"(?:(?:BUY|COST|EARN|GAIN|GET|HAS|SAVE) )+"
_GAINS: Final = r"(?:BUY (?=GAIN))?(?:(?:EARN|GAIN|GET|SAVE) )+"
_LOSES: Final = r"(?!PERIOD \?)(?:(?:COST|GIVE|LOSE|PAY|PERIOD) )+"
# Summaries (`summary_of`), and what to do with their amounts.
_SUMS: Final[dict[str, Callable[..., Fraction]]] = {
    # I had # dollars and spent #. How much is left?
    rf"{_HAS}#[#%] {_LOSES}\? NOW|(?:{_HAS})?#[#%] {_LOSES}\? LEFT": operator.sub,
    # There were # birds and # more came. How many are there?
    rf"{_HAS}#[#%] {_GAINS}\? (?:LEFT|NOW|TOTAL)": operator.add,
    # It was # degrees and fell by #. What is it now?
    rf"{_HAS}#[#%] FALL (?:LOSE )?\? (?:LEFT|NOW|PAY)": operator.sub,
    rf"{_HAS}#[#%] (?:GAIN )?RISE \? (?:NOW|PAY)": operator.add,
    # I have # euros and a book costs #. How much is left if I buy # books?
    r"HAS ## COST \? BUYING #": lambda money, price, many: money - price * many,
    # My son is #. How old will he be in # years?
    r"HAS # \? LATER #": operator.add,
    r"HAS # \? EARLIER #": operator.sub,
    # I pay with # dollars and it costs #. How much change do I get?
    r"(?=.*(?:GIVE|PAY))(?!.*RATE)[A-Z ]*## .*CHANGE": lambda a, b: abs(a - b),
    # I am # and my brother is #. How much older am I?
    r"(?!.*RATE)[A-Z ]*## .*MORE": lambda a, b: abs(a - b),
    # We share # biscuits among # children. How many does each get?
    r"(?=.*SHARE)(?!.*WITH)[A-Z ]*## .*EACH": lambda a, b: max(a, b) / min(a, b),
    # I have # apples and # pears. How many is that in total?
    r"(?!.*(?:PERIOD|RATE))[A-Z ]*##+ \? TOTAL": lambda *amounts: Fraction(sum(amounts)),
    # I bought a coat for # and shoes for #. How much did I spend?
    r"(?:(?:BUY|PAY) )+## (?:(?:BUY|GIVE|PAY) )*\? PAY": operator.add,
    r"(EARN|SAVE) ## (?:\1 )?\? \1": operator.add,
}


def story_result(text: str) -> str:
    """Return the result of the story that `text` tells; '' if it is none or another one."""
    told = plain_story(text)
    if not told.endswith("?") or "#" in told:
        return ""
    # "Which one", "one ticket costs" and "in one day" have no amount, "twice a day" and "$5" have.
    told = re.sub(r"\b(each|every|which|this|that|no|any|the) one\b", r"\1", told)
    told = re.sub(rf"\bone (?=\w+ {_HOLDS} )|(?<=\bin )one (?={PERIOD}\b)", "a ", told)
    told = re.sub(r"\btwice (?=an? )", "two times ", told)
    told = re.sub(r"[$£€] ?(?=\d)", "", told)
    told, amounts = take_numbers(told)
    if below_zero := re.search(r"\bminus (?=#)", told):
        amounts[told[: below_zero.start()].count("#")] *= -1
    story, _, question = told.rpartition(". ") if ". " in told else told.rpartition(", ")
    for read in (_comparison, _product, _sum):
        try:
            result = read(story, question, amounts)
        except ZeroDivisionError:  # shared among nobody
            return ""
        if result is not None:
            return written(result) if result.denominator <= 100 else ""
    return ""


def _comparison(story: str, question: str, amounts: Sequence[Fraction]) -> Fraction | None:
    """Tom is # and his sister is # years younger. How old is his sister?"""
    compared, told = _COMPARISON.search(story), _TOLD.search(story)
    is_asked = kind_of_question(question) in ("", "NOW") and "#" not in question
    if compared is None or told is None or not is_asked:
        return None
    whom = compared["whom"] if compared["than"] or compared["times"] else told["who"]
    of_first = told["who"] == compared["who"]
    of_second = told["who"] == {"me": "i"}.get(whom, whom)
    if of_first == of_second or told["who"] in re.findall(r"\w+", question):
        return None
    known = amounts[story[: told.start()].count("#")]
    by = {"twice": Fraction(2), "half": Fraction(1, 2)}.get(compared["times"])
    if len(amounts) != (2 if by is None else 1):
        return None
    by = by or amounts[story[: compared.start()].count("#")]
    if compared["times"]:
        return known * by if of_second else known / by
    return known + by if (compared["way"] == "older") == of_second else known - by


def _product(story: str, question: str, amounts: Sequence[Fraction]) -> Fraction | None:
    """A ticket costs #. How much are # tickets? I drink # cups a day. How many in a week?"""
    whole = f"{story}. {question}"
    is_other = re.search(r"\b(?:percent|per cent|than|half|not)\b|%", whole)
    if is_other or kind_of_question(question) in _NO_PRODUCT:
        return None
    if _OF_EACH.search(story) and "#" not in question and len(amounts) == 2:
        return amounts[0] * amounts[1]
    ones = {word for words in _ONE_HOLDS.findall(story) for word in words.split()}
    ones |= set(_FOR_ONE.findall(story))
    several = {_stem(word) for words in _SEVERAL.findall(whole) for word in words}
    # The ones that are counted: "a ticket" by "# tickets", or all by "How much are #?"
    counted = {one for one in ones if _stem(one) in several or re.search(r"#\W*$", question)}
    periods = [one for one in ones - counted if re.fullmatch(PERIOD, one)]
    asked_periods = re.findall(rf"\b(?:an?|per|each|every) ({PERIOD})\b", question)
    repeats = len(re.findall(r"# times (?:an?|per|each|every) ", story))
    if counted:
        is_whole = len(amounts) == 2 + repeats and periods == asked_periods
        return math.prod(amounts, start=Fraction(1)) if is_whole else None
    # "# cups a day", "in a week"; "# tablets # times a day", "how many a day"
    many = 1 if repeats and periods == asked_periods else _PERIODS.get((*periods, *asked_periods))
    if len(amounts) != 1 + repeats or many is None:
        return None
    return math.prod(amounts, start=Fraction(many))


def _stem(word: str) -> str:
    """Return what 'box' and 'boxes' have in common."""
    word = {"children": "child", "people": "person"}.get(word, word)
    return re.sub("i$", "y", word.rstrip("es"))


def _sum(story: str, question: str, amounts: Sequence[Fraction]) -> Fraction | None:
    """I had # dollars and spent #. How much is left?"""
    summary = summary_of(story, question)
    work_out = next((work for form, work in _SUMS.items() if re.fullmatch(form, summary)), None)
    if work_out is None or "OTHER" in summary:
        return None
    if "#%" in summary:
        amounts = amounts[0], amounts[0] * amounts[1] / 100
    result = work_out(*amounts)
    return None if result < 0 and "FALL" not in summary else result
