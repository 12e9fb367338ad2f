"""Dates: numeric and ISO dates, days, months, weekdays, years, decades, and their ranges."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from appliance.engines.tts.text.fractions import SCORE_BEFORE
from appliance.engines.tts.text.numbers import cardinal, ordinal, year
from appliance.engines.tts.text.rule import Match, Rules, ends_sentence, rule, words

MONTHS: Final = words(
    "January February March April May June July August September October November December"
)
WEEKDAYS: Final = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_DECADES = {
    "10": "tens",
    "20": "twenties",
    "30": "thirties",
    "40": "forties",
    "50": "fifties",
    "60": "sixties",
    "70": "seventies",
    "80": "eighties",
    "90": "nineties",
}
_SHORT_MONTHS = [*(name[:3] for name in MONTHS if name != "May"), "Sept"]
_MONTH = "|".join([*MONTHS, *_SHORT_MONTHS])
_WEEKDAY = "|".join(
    [*WEEKDAYS, "Mon", "Tues", "Tue", "Weds", "Wed", "Thurs", "Thur", "Thu", "Fri", "Sat", "Sun"]
)
_DAY = r"(?:[1-9]|[12]\d|3[01])"
_SUFFIX = r"(?:st|nd|rd|th)?"
_DASH = r"\s?[-–—]\s?"


def month(name: str) -> str:
    """Return the full name of a month: 'Mar' -> 'March'."""
    return next(full for full in MONTHS if full[:3] == name[:3])


def weekday(name: str) -> str:
    """Return the full name of a day of the week: 'Thu' -> 'Thursday'."""
    return next(full for full in WEEKDAYS if full[:2] == name[:2])


def month_day(month_number: int, day: int) -> str:
    """(7, 20) -> 'July twentieth'."""
    return f"{MONTHS[month_number - 1]} {ordinal(day)}"


def _numeric(british: bool) -> Callable[[Match], str]:
    """Return a function that reads dates such as 3/4/2024.

    The day comes first if `british`, or if the first number exceeds 12.
    """

    def read(match: Match) -> str:
        if SCORE_BEFORE.search(match.string, 0, match.start()):  # "Apgar 7/9/10"
            return match[0]
        first, second, year_number = int(match[1]), int(match[2]), int(match[3])
        month_number, day = (second, first) if british or first > 12 else (first, second)
        if month_number > 12:
            month_number, day = day, month_number
        year_number += 2000 if year_number < 50 else 1900 if year_number < 100 else 0
        return _full_date(year_number, month_number, day, match)

    return read


def _iso(match: Match) -> str:
    """'2024-03-05' -> 'March fifth, twenty twenty-four'."""
    return _full_date(int(match[1]), int(match[2]), int(match[3]), match)


def _full_date(year_number: int, month_number: int, day: int, match: Match) -> str:
    if not (1 <= month_number <= 12 and 1 <= day <= 31):
        return match[0]
    return f" {month_day(month_number, day)}, {year(year_number)} "


def _without_year(british: bool) -> Callable[[Match], str]:
    """Return a function that reads '12/25' after "on" or "by" as a date."""

    def read(match: Match) -> str:
        day = _day_of_year(match[2], match[3], british)
        first, second = int(match[2]), int(match[3])
        word = match[1].lower().rstrip(" (:").split()[-1]
        is_fraction = word not in _ONLY_DATES and second <= 4 and first < second
        return match[0] if is_fraction or not day else f"{match[1]}{month_day(*day)}"

    return read


def _day_of_year(first: str, second: str, british: bool) -> tuple[int, int] | None:
    """Return month and day of '12/25', or None if there is no such day."""
    month_number, day = int(first), int(second)
    if british or month_number > 12:
        month_number, day = day, month_number
    return (month_number, day) if 1 <= month_number <= 12 and 1 <= day <= 31 else None


def _days(british: bool) -> Callable[[Match], str]:
    """Return a function that reads '6/1–8/31' as two days, unless they may be fractions."""

    def read(match: Match) -> str:
        numbers = [int(number) for number in match.groups()]
        first = _day_of_year(match[1], match[2], british)
        last = _day_of_year(match[3], match[4], british)
        are_fractions = all(n < d and d in (2, 3, 4, 5, 6, 8, 16, 32) for n, d in _pairs(numbers))
        if not first or not last or first >= last or are_fractions:
            return match[0]
        return f"{month_day(*first)} to {month_day(*last)}"

    return read


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    return [(numbers[0], numbers[1]), (numbers[2], numbers[3])]


def _stop(match: Match) -> str:
    """Return the period if it ends a sentence and does not only mark an abbreviation."""
    if not match[0].endswith("."):
        return ""
    is_full = any(match[0].endswith(name + ".") for name in MONTHS)
    return "." if is_full or ends_sentence(match) else ""


def _month_then_day(match: Match) -> str:
    """'March 5th' -> 'March fifth', 'January 5–7' -> 'January fifth to seventh'."""
    last = f" to {ordinal(match['last'])}" if match["last"] else ""
    return f"{month(match['month'])} {ordinal(match['day'])}{last}"


_DETERMINER_BEFORE = re.compile(
    r"\b(?:the|this|that|an?|each|every|my|your|his|her|its|our|their|next|last)\s$", re.IGNORECASE
)


def _day_then_month(match: Match) -> str:
    """'5 March' -> 'the fifth of March', '5–7 January' -> 'the fifth to seventh of January'."""
    last = f" to {ordinal(match['last'])}" if match["last"] else ""
    has_article = _DETERMINER_BEFORE.search(match.string, 0, match.start())
    the = "" if has_article else "the "
    return f"{the}{ordinal(match['day'])}{last} of {month(match['month'])}{_stop(match)}"


def _month_range(match: Match) -> str:
    return f"{month(match[1])} to {month(match[2])}{_stop(match)}"


def _weekday_range(match: Match) -> str:
    return f"{weekday(match[1])} to {weekday(match[2])}"


def _weekday_list(match: Match) -> str:
    """'Mon/Wed/Fri' -> 'Monday, Wednesday and Friday'."""
    *names, last = (weekday(name) for name in match[0].split("/"))
    return f"{', '.join(names)} and {last}{_stop(match)}"


def _weekday_letters(match: Match) -> str:
    """'M/W/F' -> 'Monday, Wednesday and Friday'."""
    names = {"M": "Mo", "T": "Tu", "W": "We", "F": "Fr"}
    *first, last = (weekday(names.get(part, part)) for part in match[0].split("/"))
    return f"{', '.join(first)} and {last}"


def _short_month(match: Match) -> str:
    return f"{month(match[1])}{_stop(match)}"


def _short_weekday(match: Match) -> str:
    return f"{weekday(match[1])}{_stop(match)}"


def _decade(match: Match) -> str:
    """'80s' -> 'eighties', '1980s' -> 'nineteen eighties', '1800s' -> 'eighteen hundreds'."""
    century, decade = match["century"], match["decade"]
    if not century:
        return _DECADES.get(decade, match[0])
    if decade == "00":
        return "two thousands" if century == "20" else f"{cardinal(century)} hundreds"
    return f"{cardinal(century)} {_DECADES[decade]}"


def _decades(match: Match) -> str:
    return re.sub(r"'?(?P<century>)(?P<decade>[1-9]0)s", _decade, match[0])


def _season(match: Match) -> str:
    """'2025/26' -> 'twenty twenty-five twenty-six', if the years follow each other."""
    if int(match[2]) != (int(match[1]) + 1) % 100:
        return match[0]
    return f"{year(match[1])} {cardinal(match[2])}"


def _first_decade(match: Match) -> str:
    """'1990-2000s' -> 'nineteen nineties to 2000s'; the first end may have its own s."""
    said = re.sub(r"(?P<century>\d\d)(?P<decade>\d0)", _decade, match[1])
    return f"{said if 's' in match[0] else year(match[1])} to "


def _month_of_year(match: Match) -> str:
    """'2025-12' -> 'December twenty twenty-five'; '2011-12' may be two years."""
    if int(match[2]) > int(match[1][2:]):
        return match[0]
    return f"{MONTHS[int(match[2]) - 1]} {year(match[1])}"


def _pressures(match: Match) -> str:
    """'120s/80s' -> 'one twenties over eighties'."""
    if not all(part[-2:] in _DECADES for part in match.groups()):
        return match[0]
    tens = [f"{cardinal(n[:-2]) if n[:-2] else ''} {_DECADES[n[-2:]]}" for n in match.groups()]
    return " over ".join(part.strip() for part in tens)


def _years(match: Match) -> str:
    """'2019–2024' -> 'twenty nineteen to twenty twenty-four', '1914–18' -> '... to eighteen'."""
    first, last = match[1], match[2]
    if len(last) == 2:
        if int(last) <= int(first[2:]):
            return match[0]
        return f"{year(first)} to {cardinal(last)}"
    return f"{year(first)} to {year(last)}" if int(first) < int(last) else match[0]


# Before '12/25' these announce a date; after the others, 3/4 is three quarters.
_ONLY_DATES = frozenset(
    words("on until till due dated of date starting starts closed admitted discharged expires")
)
_BEFORE_DAY = (
    r"on|by|until|till|due|since|dated|after|before|from|thru|through|[a-z]+day,?|week of|as of"
    r"|dates?|starting|starts?|begins?|ending|ends?|effective|closed|open|expires?|exp|admitted"
    r"|discharged|arrive[sd]|departs|seen|see you|born|visit|DOB|LMP|meeting|party"
)
_SEASON = r"Spring|Summer|Fall|Autumn|Winter"
_ENDS_DATE = r"(?:(?:19|20)\d\d|\d{1,2}(?:st|nd|rd|th)?|[AaPp]\.?[Mm]\.?)"


def _dates(british: bool) -> Rules:
    separators = "[/.]" if british else "/"
    return (
        # "2026-01-31T14:30:00Z": the time is left to the rules for times
        rule(
            r"\b(\d{4})-(\d{2})-(\d{2})[T ](\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?"
            r"(Z|[+-]\d{2}:?\d{2})?(?!\w)",
            lambda m: (
                f"{_iso(m).strip()} at {m[4]}{' UTC' if m[5] == 'Z' else ''}"
                if _iso(m) != m[0]
                else m[0]
            ),
        ),
        rule(
            rf"(?<![\w/])(\d{{1,2}}/\d{{1,2}}/\d{{2,4}}){_DASH}(?=\d{{1,2}}/\d{{1,2}}/\d)",
            r"\1 to ",
        ),
        rule(r"(?<![\w-])(\d{4}-\d\d-\d\d)\s?(?:[–—]|\s-\s|/)\s?(?=\d{4}-\d\d-\d\d\b)", r"\1 to "),
        rule(r"(?<![\w-])(\d{4})[-/](\d{2})[-/](\d{2})(?![\w-])", _iso),
        rule(
            rf"(?<![\w/.-])(\d{{1,2}}){separators}(\d{{1,2}}){separators}(\d{{4}}|\d{{2}})\b"
            rf"(?![./-]?\d)",
            _numeric(british),
        ),
        rule(
            r"(?<![\w-])([01]\d|[1-9])-([0-3]\d|[1-9])-((?:19|20)\d{2})(?![\w-])", _numeric(british)
        ),
        rule(r"(?<![\w.])([0-3]?\d)\.([01]?\d)\.((?:19|20)\d{2})(?![\w.]\d)", _numeric(True)),
        rule(
            rf"(?<![\w/.,$])(\d{{1,2}})/(\d{{1,2}}){_DASH}(\d{{1,2}})/(\d{{1,2}})"
            rf"(?![\w/\"″%]|[.,]\d|-[a-z])",
            _days(british),
        ),
        rule(
            rf"\b((?i:{_BEFORE_DAY})[ (:]+)(?!9/11\b)(\d{{1,2}})/(\d{{1,2}})"
            r"(?![\w/\"″%]|\.\d|\s?(?:of|cup|inch|mile|mg|mL|full|tablet|the|patients|time|scale"
            r"|stars|points|correct|right|pain|power|strength|teaspoon|tsp|vision|days)\b|-[a-z])",
            _without_year(british),
        ),
        *_NAMES,
    )


_NAMES: Rules = (
    rule(r"(?<![\w-])((?:19|20)\d\d)-(0[1-9]|1[0-2])(?![\w-])", _month_of_year),
    rule(r"\bM[–-]F\b", "Monday to Friday"),
    rule(r"(?<![\w/])(\d{2,3})s/(\d{2,3})s\b", _pressures),
    rule(
        r"(?<![\w/.,-])(0?[1-9]|1[0-2])/((?:19|20)\d{2})(?![\w/-]|[.,]\d)",
        lambda m: f"{MONTHS[int(m[1]) - 1]} {year(m[2])}",
    ),
    rule(rf"\b(?:{_WEEKDAY})\.?(?:/(?:{_WEEKDAY})\.?)+(?!\w)", _weekday_list),
    rule(
        r"\b(?:M|Tu|T|W|Th|F|Sa|Su)(?:/(?:Tu|T|W|Th|F|Sa|Su))+(?=,?\s(?:at\s)?\d)", _weekday_letters
    ),
    rule(rf"\b((?:{_MONTH})\.?\s{_DAY}{_SUFFIX}){_DASH}(?=(?:{_MONTH})\.?\s{_DAY}\b)", r"\1 to "),
    rule(
        rf"\b({_WEEKDAY})\.?{_DASH}({_WEEKDAY})\b(?!')(?:\.(?=[,;:]|\s[a-z\d(]))?", _weekday_range
    ),
    # the end of a date or time, a dash, and the beginning of the next
    rule(
        rf"(?<![A-Za-z-])({_ENDS_DATE}){_DASH}(?=(?:{_MONTH}|{_WEEKDAY}|{_SEASON})\b(?!-))"
        rf"|((?:{_MONTH})\.?){_DASH}(?={_DAY}{_SUFFIX}\s(?:{_MONTH})\b)",
        lambda m: f"{m[1] or m[2]} to ",
    ),
    rule(rf"(\b(?:19|20)\d\d){_DASH}(?=(?:{_DAY}{_SUFFIX}\s)?(?:{_MONTH})\b)", r"\1 to "),
    rule(
        rf"\b({_WEEKDAY})\.?(\s?&\s?|\sand\s|,\s)({_WEEKDAY})\b\.?(?!')",
        lambda m: f"{weekday(m[1])}{m[2].replace('&', 'and')}{weekday(m[3])}{_stop(m)}",
    ),
    rule(
        rf"\b({_MONTH})\.?{_DASH}({_MONTH})\b(?:\.(?=\s[a-z\d(]))?(?!\s{_DAY}\b(?!\d))",
        _month_range,
    ),
    rule(
        rf"\b(?P<month>{_MONTH})\b\.?\s(?P<day>{_DAY}){_SUFFIX}(?:{_DASH}"
        rf"(?P<last>{_DAY}){_SUFFIX})?\b"
        r"(?![:%\w]|[.,]\d|\s?[ap]\.?m\b|\s(?:percent|people|times|days|weeks|hours|miles|steps"
        r"|meters|feet|blocks)\b)",
        _month_then_day,
    ),
    rule(
        rf"(?<![\w.,/:-])(?P<day>{_DAY}){_SUFFIX}(?:{_DASH}(?P<last>{_DAY}){_SUFFIX})?\s"
        rf"(?:of\s)?(?P<month>{_MONTH})\b(?!\s(?:be|have|not)\b)\.?",
        _day_then_month,
    ),
    rule(rf"\b({'|'.join(_SHORT_MONTHS)})\.(?!\w)", _short_month),
    rule(rf"\b({'|'.join(_SHORT_MONTHS)})(?=\s(?:19|20)\d\d\b|\s'\d\d\b)", lambda m: month(m[1])),
    rule(r"\b(Mon|Tues|Tue|Weds|Wed|Thurs|Thur|Thu|Fri|Sat|Sun)\.(?!\w)", _short_weekday),
    rule(
        r"\b(Mon|Tues|Tue|Weds|Wed|Thurs|Thur|Thu|Fri|Sat|Sun)(?=,?\s(?:\d{1,2}(?::"
        r"|\s?[aApP]\.?[mM]|[.,]|\s?[-–]\s?\d|$)|January|February|March|April|May"
        r"|June|July|August|September|October|November|December|at \d|the \w+ of "
        r"|morning|afternoon|evening|night))",
        lambda m: weekday(m[1]),
    ),
    # no other words
    rule(r"\b(Tues|Tue|Weds|Thurs|Thur|Thu|Fri)\b(?!['-]\w)", lambda m: weekday(m[1])),
    rule(r"(?<=[a-z] )(Wed|Mon)\b(?=[,;]|\sat\b)", lambda m: weekday(m[1])),
    rule(r"\bFY\s?'?(\d{2})\b(?!\d)", lambda m: f"fiscal year {year(2000 + int(m[1]))}"),
    rule(r"\bFY\s?(?=\d{4}\b)", "fiscal year "),
    rule(r"\bc(?:a)?\.\s?(?=[1-9]\d{2,3}\b(?!\s?(?:mL|g|kg|mg|m)\b))", "about "),
    rule(r"(?<=\d(?:st|nd|rd|th))(\s|-)[cC]\.(?=\s|$|,)", r"\1century"),
    rule(r"\b((?:19|20)\d\d)/(\d\d)(?![\w/]|[.,]\d)", _season),
    rule(rf"(?<![\w.,])((?:1\d|20)\d0)s?{_DASH}(?='?(?:(?:1\d|20)\d0|\d0)s\b)", _first_decade),
    rule(r"(?<=\d)\s?(B\.?C\.?E?|C\.?E|A\.?D)\b\.?(?=\W|$)", lambda m: " " + m[1].replace(".", "")),
    rule(r"(?<![\w'])'?(?P<century>1[1-9]|20)(?P<decade>\d0)'?s\b", _decade),
    rule(r"(?<![\w'])'(?P<century>)(?P<decade>[1-9]0)s\b", _decade),
    # "in the 80s and 90s", but "every 30s" is a measure
    rule(
        r"\b(?:[Tt]he|his|her|their|my|your|our|[Ee]arly|[Mm]id|[Ll]ate|[Hh]igh|[Ll]ow|[Uu]pper"
        r"|HR|RR|temps?|eighties"
        r"|[a-z]+ties)[\s-](?:(?:and|or|to)\s)?'?[1-9]0s(?:(?:\s?[-–,]\s?|\s(?:and|or|to"
        r"|through)\s)'?[1-9]0s)*\b",
        _decades,
    ),
    rule(r"(?<![\w'.,/$£€-])((?:1[1-9]|20)\d\d)[-–—]((?:1[1-9]|20)?\d\d)(?![\w/-]|[.,]\d)", _years),
    rule(r"(?<!\w)'0(\d)(?!\w|')", lambda m: f"oh {cardinal(m[1])}"),
    rule(r"(?<!\w)'(?=\d\d(?!\w|'))", ""),
)
AMERICAN: Final = _dates(british=False)
BRITISH: Final = _dates(british=True)
