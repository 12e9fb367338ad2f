"""Shorthand of clinical notes: "h/o" is history of, "HR 110s" the one tens, "C5/6" C five six."""

from __future__ import annotations

from appliance.engines.tts.text.numbers import cardinal
from appliance.engines.tts.text.rule import Match, Rules, any_of, rule

_SHORTHAND = {
    "h/o": "history of",
    "s/p": "status post",
    "f/u": "follow up",
    "r/o": "rule out",
    "n/v": "nausea and vomiting",
    "w/u": "workup",
    "d/c'd": "discontinued",
    "hx": "history",
    "Hx": "history",
    "dx": "diagnosis",
    "Dx": "diagnosis",
    "PMHx": "past medical history",
    "FHx": "family history",
}
_RATE = r"(?:HR|SBP|DBP|MAP|RR|BP|pulse|heart rate|systolics?|diastolics?|pressures?|sats?|SpO2)"
_PATIENT_DOES = (
    r"(?:is|was|has|had|denies|denied|reports?|reported|states?|stated|presents?|presented|admitted"
    r"|complains|seen|will|needs|with|w/|c/o|s/p|h/o|remains|tolerated|ambulat\w+|alert|stable"
    r"|transferred|discharged|d/c'd|does|did|can|cannot|may|should|refuses|refused|agrees)(?!\w)"
)
_TENS = {
    "0": "hundreds",
    "1": "tens",
    "2": "twenties",
    "3": "thirties",
    "4": "forties",
    "5": "fifties",
    "6": "sixties",
    "7": "seventies",
    "8": "eighties",
    "9": "nineties",
}
_HUNDREDS = ("", "one ", "two ", "three ", "four ")


def tens(match: Match) -> str:
    """'HR 110s' -> 'HR one tens', 'SBP 90s' -> 'SBP nineties'."""
    number = match[2].zfill(3)
    return f"{match[1]}{_HUNDREDS[int(number[0])]}{_TENS[number[1]]}"


def _times_per(match: Match) -> str:
    """'3x/wk' -> 'three times per week'."""
    names = {"d": "day", "w": "week", "m": "month", "y": "year", "h": "hour"}
    count = "once" if match[1] == "1" else f"{cardinal(match[1])} times"
    return f"{count} per {names[match[2][0]]}"


CLINICAL: Rules = (
    rule(rf"\b([Pp])t\b\.?(?=\s{_PATIENT_DOES})", lambda m: f"{m[1]}atient"),
    rule(r"(?<=\b[Tt]he )pt\b\.?(?!\sof\b)|(?<=\b[Tt]his )pt\b\.?", "patient"),
    # "c/o" before a name is an address
    rule(r"\b[Cc]/o\b(?=\s(?:[a-z]|[A-Z]{2}))", "complains of"),
    rule(rf"(?<![\w/])({any_of(_SHORTHAND)})(?![\w/'])\.?", lambda m: _SHORTHAND[m[1]]),
    rule(
        rf"\b({_RATE}\s(?:(?:is|was|were|in|the|now|low|mid|high)[\s-])*)([1-4]?\d0)s\b(?!/)", tens
    ),
    rule(r"(?i:(\b(?:the|low|mid|high|upper|early|late)[\s-]))([12][1-9]0|200)s\b", tens),
    # two levels of the spine: "C5/6", "L5/S1"
    rule(r"\b([CTLS]\d{1,2})/([CTLS]?\d{1,2})\b(?!/)", r"\1 \2"),
    rule(r"\b[Rr]esp\.\s(?=\d)", "respirations "),
    # one tablet without a period: "1 tab po", "2 tab daily"
    rule(
        r"(?<=\d )(tab|cap)"
        r"(?=\s(?:[Pp]\.?[Oo]\b|by|q|daily|every|twice|once|at|[BTQ]ID|b\.i|t\.i))",
        lambda m: "tablet" if m[1] == "tab" else "capsule",
    ),
    # times: "CP x3", "A&Ox4", "Lasix 40 mg x1"
    rule(r"(?<=[A-Za-z)]\s)[x×]\s?(?=\d\b(?![.,:/'\"″-]|\s?[\d%a-z°µ]))", "times "),
    rule(r"(?<=[A-Z])x(?=\d\b)", " times "),
    rule(r"(?<=\s)[x×](?=\d\s(?:now|dose|doses|then|daily|today|and|in|at|on)\b)", "times "),
    # how often: "1x/day", "3×/wk"
    rule(r"(?<![\w.,])(\d)\s?[x×]\s?/\s?(day|d|week|wk|month|mo|year|yr|hour|h)\b", _times_per),
    rule(r"\bD5\s?1/2\s?NS\b", "D five half NS"),
    # weight, volume: "10 % w/w"
    rule(r"(?<=%)\s?w/w\b", " weight by weight"),
    rule(r"(?<=%)\s?w/v\b", " weight by volume"),
    rule(r"(?<=%)\s?v/v\b", " volume by volume"),
    rule(r"(?<=\d)\s?wt\s?%", " percent by weight"),
    rule(r"(?<=\d) u(?=\s(?:of\b|[A-Z]{2}))", " units"),
)
