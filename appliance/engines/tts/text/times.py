"""Times of the day, ranges of times, and durations with more than one unit."""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.tts.text.numbers import cardinal, quantity
from appliance.engines.tts.text.rule import Match, Rules, ends_sentence, rule

# "pM" is picomolar.
_AM_PM = r"(?:[aApP]\.\s?[mM]\b\.?|(?:[ap]m|[AP][Mm])\b\.?(?=\W|$)|[AaPp]\s[Mm]\b(?!'))"
_START = r"(?<![\w:.,/-])"


def clock(hour: int, minute: int, has_am_pm: bool) -> str:
    """(3, 30) -> 'three thirty'; on the hour, add "o'clock" unless AM or PM follows."""
    if minute:
        return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    if has_am_pm:
        return cardinal(hour)
    if hour == 0:
        return "midnight"
    return f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"


def _half(am_pm: str | None) -> str:
    return f" {am_pm[0].upper()}M" if am_pm else ""


# "10 a.m. Monday", "5 p.m. ET": no new sentence
_GOES_ON = re.compile(
    r"\s(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Eastern|Central|Mountain|Pacific|UTC|GMT|[A-Z]{1,4}T\b)"
)


def _stop(match: Match) -> str:
    if _GOES_ON.match(match.string, match.end()):
        return ""
    return "." if match[0].endswith(".") and ends_sentence(match) else ""


def _is_time(hour: str, minute: str | None) -> bool:
    return int(hour) <= 24 and int(minute or 0) <= 59


def _time(match: Match) -> str:
    """'3:30 pm' -> 'three thirty PM', '15:00' -> 'fifteen hundred'."""
    if not _is_time(match["hour"], match["minute"]):
        return match[0]
    half = match["half"]
    words = clock(int(match["hour"]), int(match["minute"] or 0), bool(half))
    return f" {words}{_half(half)}{_stop(match)} "


def _time_range(match: Match) -> str:
    """'9–10 am' -> 'nine to ten AM', '9:00-17:00' -> 'nine o'clock to seventeen hundred'."""
    hour, minute, half = match["hour"], match["minute"], match["half"]
    hour2, minute2, half2 = match["hour2"], match["minute2"], match["half2"]
    if not (minute or minute2 or half or half2):
        return match[0]
    if not (_is_time(hour, minute) and _is_time(hour2, minute2)):
        return match[0]
    first = clock(int(hour), int(minute or 0), bool(half or half2) or minute is None)
    last = clock(int(hour2), int(minute2 or 0), bool(half2) or minute2 is None)
    return f" {first}{_half(half)} to {last}{_half(half2)}{_stop(match)} "


def _with_seconds(match: Match) -> str:
    """'14:07:32' -> 'fourteen oh seven and thirty-two seconds'."""
    hour, minute, second = (int(part) for part in match.group(1, 2, 3))
    if hour > 24 or minute > 59 or second > 59:
        return f"{match[1]} {match[2]} {match[3]}"
    plural = "" if second == 1 else "s"
    seconds = f"{cardinal(second)} second{plural}"
    if not minute:  # "seven hundred and thirty seconds" would be a duration
        words = clock(hour, 0, bool(match[4])) + (" hours" if hour > 12 else "")
        return f" {words}{_half(match[4])} and {seconds} "
    words = clock(hour, minute, has_am_pm=True)
    return f" {words} and {seconds}{_half(match[4])} "


# "1h30" is a duration, "18h05" and "at 9h30" are times of the day.
_AT_BEFORE = re.compile(
    r"\b(?:at|by|from|until|till|before|after|around|since|to|[ap]m|opens?|closes?|starts?|begins?"
    r"|ends?|leaves?|departs?|arrives?|[A-Z][a-z]+day|tomorrow|today|tonight|time)\W*$"
)
_FOR_BEFORE = re.compile(
    r"\b(?:for|takes?|took|lasts?|lasted|about|duration"
    r"|(?:travel|flight|running|total|cook\w*) time"
    r"|in|within|runs|every|another|after about|of|is|was)\W*$",
    re.I,
)


def _hours_or_time(match: Match) -> str:
    before = match.string[: match.start()]
    hour, minute = int(match["hour"]), int(match["minute"])
    is_short = hour < 10 and not match["hour"].startswith("0")
    if (_AT_BEFORE.search(before) and not _FOR_BEFORE.search(before)) or not is_short:
        return _time(match)
    if not minute:
        return match[0]
    hours = f"{cardinal(hour)} hour{'' if hour == 1 else 's'}"
    return f" {hours} {cardinal(minute)} minute{'' if minute == 1 else 's'} "


def _o_clock(match: Match) -> str:
    """'6:00 o'clock' -> 'six o'clock'."""
    minutes = f" {cardinal(match[2])}" if match[2] and match[2] != "00" else ""
    return f"{cardinal(match[1])}{minutes} o'clock"


def _military(match: Match) -> str:
    """'1430h' -> 'fourteen thirty hours', '0800 hrs' -> 'oh eight hundred hours'."""
    hour, minute = match[1], match[2]
    if not _is_time(hour, minute):
        return match[0]
    zero = "oh " if hour[0] == "0" else ""
    minutes = (
        "hundred" if minute == "00" else f"{'oh ' if minute[0] == '0' else ''}{cardinal(minute)}"
    )
    return f" {zero}{cardinal(hour)} {minutes} hours "


def _duration(match: Match) -> str:
    """'5m 30s' -> 'five minutes thirty seconds'; one part alone is a measure."""
    names = ("day", "hour", "minute", "second")
    parts = [(text, name) for text, name in zip(match.groups(), names, strict=True) if text]
    if len(parts) < 2:
        return match[0]
    words = [f"{quantity(text)} {name}{'' if text == '1' else 's'}" for text, name in parts]
    return f" {' '.join(words)} "


_CLOCK: Final = r"(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d))?\s?(?P<half>" + _AM_PM + r")?"
_CLOCK2: Final = (
    r"(?P<hour2>\d{1,2})(?::(?P<minute2>[0-5]\d))?(?!\d|:)(?:\s?(?P<half2>" + _AM_PM + r"))?"
)

TIMES: Rules = (
    rule(
        r"(?<=\b[Aa]t )0(\d)([0-5]\d)(?![\w.,]\d|\w|-\d)(?!\s?(?:h|hrs|hours)\b)",
        lambda m: f"oh {clock(int(m[1]), int(m[2]), has_am_pm=True)}{' hundred' * (m[2] == '00')}",
    ),
    rule(r"(?<=\d:[0-5]\d)\s?(?:h|hrs)\b", " hours"),
    rule(rf"{_START}(\d{{1,2}})(?::([0-5]\d))?\s?o'clock\b", _o_clock),
    # "10a–4p", "8:30a"
    rule(
        rf"{_START}(\d{{1,2}}(?::[0-5]\d)?)([ap])(\s?[-–]\s?\d{{1,2}}(?::[0-5]\d)?[ap])\b"
        rf"|{_START}(\d{{1,2}}:[0-5]\d)([ap])\b",
        lambda m: f"{m[1]}{m[2]}m{m[3]}m" if m[1] else f"{m[4]}{m[5]}m",
    ),
    # a duration with tenths: "3:47.2"; beyond 24 the first number is minutes: "42:15"
    rule(
        rf"{_START}(\d{{1,2}}):([0-5]\d)(\.\d{{1,3}})(?![\d:])(?!\s?(?:{_AM_PM}|to\b))",
        lambda m: f"{m[1]} minute{'' if m[1] == '1' else 's'} {int(m[2])}{m[3]} seconds",
    ),
    rule(
        rf"{_START}(2[5-9]|[3-9]\d|1\d\d):([0-5]\d)(?![\w:]|[.,]\d)",
        lambda m: clock(int(m[1]), int(m[2]), has_am_pm=True),
    ),
    rule(
        rf"{_START}(\d{{1,2}}):([0-5]\d):([0-5]\d)(?:\.\d+)?(?![\d:])(?:\s?({_AM_PM}))?",
        _with_seconds,
    ),
    rule(rf"{_START}{_CLOCK}\s?(?:[-–—]|\bto\b)\s?{_CLOCK2}(?![\w%/]|\.\d|-\d)", _time_range),
    rule(rf"{_START}(?P<hour>\d{{1,2}})[:.](?P<minute>\d{{2}})\s?(?P<half>{_AM_PM})", _time),
    rule(rf"{_START}(?P<hour>\d{{1,2}})(?P<minute>)\s?(?P<half>{_AM_PM})", _time),
    rule(
        rf"{_START}(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?P<half>)(?![\d:]|\.\d|\w)",
        _time,
    ),
    rule(
        r"(?<![\w:.,])(?P<hour>[01]?\d|2[0-3])[hH](?P<minute>[0-5]\d)(?P<half>)\b(?!\s?(?:m"
        r"|min)\b)",
        _hours_or_time,
    ),
    rule(
        r"(?<![\w:.,-])([01]\d|2[0-4])([0-5]\d)\s?(?:h|hrs|hours)\b(?!\s(?:of|per|later|ago)\b)",
        _military,
    ),
    rule(
        rf"{_START}(?:(\d+)\s?d(?:ays?)?[\s,]?\s?)?(?:(\d+)\s?(?:hours?|hrs?|h)[\s,]?\s?)?"
        r"(?:(\d+)\s?(?:minutes?|mins?|m)(?![a-z])[\s,]?\s?)?(?:(\d+(?:\.\d+)?)\s?(?:seconds?"
        r"|secs?|s)\b)?(?<=[a-z])(?![\w/])",
        _duration,
    ),
)
