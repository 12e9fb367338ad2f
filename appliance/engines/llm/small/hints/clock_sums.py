"""Works out times of the day that a caller asks for, because small models guess them. No I/O.

    It leaves at two and arrives at half past five. How long is it? -> 3 hours and 30 minutes
    It is three o'clock. What time will it be in four hours? -> 7 o'clock

Times are of a clock with twelve hours: from ten to six are eight hours. English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import NUMBER, ONES, number_value, plain

_MOST_CHARS: Final = 300
_HALF_DAY: Final = 720  # minutes
_HOURS: Final = ONES[1:13]
_HOUR: Final = rf"(?:{'|'.join(sorted(_HOURS, key=len)[::-1])}|1[0-2]|[1-9])"
_MINUTE: Final = (
    r"(?:five|ten|fifteen|twenty(?: five)?|thirty(?: five)?|forty(?: five)?|fifty(?: five)?)"
)
_TIME: Final = (
    rf"(?:(?P<part>half|a quarter|quarter|{_MINUTE}|\d\d?)(?: minutes)? (?P<side>past|to)"
    rf" (?P<near>{_HOUR})"
    rf"|(?P<hour>{_HOUR})(?::(?P<figures>[0-5]\d)| (?P<minute>{_MINUTE}))?(?: o'clock)?"
    r"|(?P<twelve>noon|midnight|midday))\b(?! (?:hours?|minutes?|days?|people|and a half|percent))"
)
_AT: Final = r"\b(?:at|from|until|till|since|it is|it's|it was|between|now)(?: about| exactly)?"
_AT_TIME = re.compile(rf"{_AT} {_TIME}")
_TO_TIME = re.compile(rf"\b(?:to|and) {_TIME}")
_SPAN = re.compile(
    rf"(?:(?P<hours>{NUMBER}|an?)(?P<half> and a half)? hours?(?: and a (?P<part>half|quarter))?"
    rf"(?: and (?P<more>{NUMBER}) minutes)?|(?P<half_hour>half an hour)"
    rf"|(?P<quarter>a quarter of an hour)|(?P<minutes>{NUMBER}) minutes)"
)
_ASKS_HOW_LONG = re.compile(r"\bhow (?:long|many hours)\b[^.?]*\?\W*$")
_ASKS_WHEN = re.compile(r"\b(?:when|what time|at what time|how late)\b[^.?]*\?\W*$")
_BACKWARDS = re.compile(r"\b(?:ago|before|earlier)\b")
_SPAN_IN_PLACE = re.compile(
    r"\b(?:in|for|after|takes?|took|lasts?|lasted|is|later|ago|before|earlier) SPAN"
    r"|SPAN (?:later|long|ago|before|earlier|from)"
)
_OTHER_CLOCK = re.compile(r"\b(?:[ap]\.?m|percent|day|days|week|weeks|\d{3,}|[2-9]\d|1[3-9])\b")


def clock_result(text: str) -> str:
    """Return the time or the hours that `text` asks for; '' if it asks for something else."""
    told = plain(text)
    if len(told) > _MOST_CHARS:
        return ""
    if _ASKS_HOW_LONG.search(told):
        return _duration(told)
    return _end(told) if _ASKS_WHEN.search(told) else ""


def _duration(told: str) -> str:
    """From # to #: how long? Two times, and no other number."""
    if _OTHER_CLOCK.search(re.sub(r":\d\d", "", told)):
        return ""
    times = list(_AT_TIME.finditer(told))
    if len(times) == 1 and (second := _TO_TIME.match(told[times[0].end() :].lstrip())):
        times.append(second)
    if len(times) != 2:
        return ""
    rest = told
    for time in times:
        rest = rest.replace(time[0], "", 1)
    if re.search(NUMBER, rest):
        return ""
    minutes = (_minutes(times[1]) - _minutes(times[0])) % _HALF_DAY
    return _spoken_span(minutes) if minutes else ""


def _end(told: str) -> str:
    """It starts at # and takes #: when does it end? One time and one span, and no other number."""
    span = _SPAN.search(told)
    if span is None or _OTHER_CLOCK.search(told[: span.start()] + told[span.end() :]):
        return ""
    told = f"{told[: span.start()]}SPAN{told[span.end() :]}"
    times = list(_AT_TIME.finditer(told))
    if len(times) != 1 or re.search(NUMBER, told.replace(times[0][0], "", 1)):
        return ""
    length = _length(span) * (-1 if _BACKWARDS.search(told) else 1)
    if not _SPAN_IN_PLACE.search(told):
        return ""
    return _spoken_time((_minutes(times[0]) + length) % _HALF_DAY)


def _minutes(time: re.Match[str]) -> int:
    """Return the minutes since twelve."""
    if time["twelve"]:
        return 0
    if time["near"]:
        part = time["part"]
        named = {"half": 30, "quarter": 15, "a quarter": 15}.get(part)
        minutes = int(number_value(part)) if named is None else named
        return _hour(time["near"]) + (minutes if time["side"] == "past" else -minutes)
    if time["figures"]:
        return _hour(time["hour"]) + int(time["figures"])
    return _hour(time["hour"]) + (int(number_value(time["minute"])) if time["minute"] else 0)


def _hour(name: str) -> int:
    hour = int(name) if name.isdigit() else _HOURS.index(name) + 1
    return hour % 12 * 60


def _length(span: re.Match[str]) -> int:
    """Return the minutes of a span."""
    if span["half_hour"]:
        return 30
    if span["quarter"]:
        return 15
    if span["minutes"]:
        return int(number_value(span["minutes"]))
    hours = 1 if span["hours"] in ("a", "an") else int(number_value(span["hours"]))
    part = {"half": 30, "quarter": 15}.get(span["part"] or "", 0) + (30 if span["half"] else 0)
    return hours * 60 + part + (int(number_value(span["more"])) if span["more"] else 0)


def _spoken_span(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    parts = [f"{hours} hour{'s' * (hours != 1)}"] * bool(hours)
    parts += [f"{rest} minutes"] * bool(rest)
    return " and ".join(parts)


def _spoken_time(minutes: int) -> str:
    hour, rest = divmod(minutes, 60)
    return f"{hour or 12}:{rest:02}" if rest else f"{hour or 12} o'clock"
