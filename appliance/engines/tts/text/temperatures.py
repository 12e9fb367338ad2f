"""Temperatures without a degree sign: "preheat to 350 F", "a fever of 38.5 C"."""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import NUMBER
from appliance.engines.tts.text.rule import Match, Rules, rule

_BEFORE = re.compile(
    r"\b(?:preheat\w*|bake[sd]?|roast\w*|ovens?|temp(?:erature)?s?|fever\w*|febrile|thermostat)\b"
    r"[^.,;!?]{0,24}$",
    re.I,
)
_AFTER = re.compile(
    r"\s?(?:fan|oven|outside|inside|today|tonight|water bath|or (?:above|higher))\b"
)
_DEGREES = rf"(?<![\w.,/$-])([-−]?{NUMBER})(\s?)([CF])(?=[\s.,;:)/]|$)(?!\.\w)"


def _degrees(match: Match) -> str:
    before, after = match.string[: match.start()], match.string[match.end() :]
    is_temperature = _BEFORE.search(before) or _AFTER.match(after) or before.endswith("°F/")
    if not is_temperature or not 0 <= abs(float(match[1].replace(",", "").lstrip("-−"))) <= 3000:
        return match[0]
    return f"{match[1]} °{match[3]}"


TEMPERATURES: Rules = (
    # "220C/200C fan": both have a unit, so the slash is a choice
    rule(r"(?<=\d)(\s?°?[CF])\s?/\s?(?=\d+\s?°?[CF]\b)", r"\1, "),
    rule(_DEGREES, _degrees),
)
