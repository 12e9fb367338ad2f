"""Recognizes questions for the weather of a time or place, which small models invent. No I/O.

"Will it rain tomorrow?" is one, "Why does it rain?" is not. English, as `llm.language`.
"""

from __future__ import annotations

import re

_NOW = (
    r"(?:outside|outdoors|today|tonight|tomorrow|now|at the moment|this (?:morning|evening)"
    r"|(?:on|next) (?:mon|tues|wednes|thurs|fri|satur|sun)day)"
)
_ASKS_FOR_WEATHER = re.compile(
    rf"\b(?:(?:what(?:'s| is| will)|how(?:'s| is)|know|tell me)\b.*"
    rf"\b(?:weather|forecast|temperature {_NOW})"
    r"|(?:is it|will it|is there|will there be|is the sun|how (?:hot|cold|warm|windy)|does it)\b"
    rf".*\b{_NOW}"
    r"|(?:do i need|should i (?:take|bring|wear|carry)|will i need) (?:an? |my )(?:\w+ )?"
    r"(?:umbrella|coat|jacket)|is it (?:still )?(?:raining|snowing) (?:in|at|over|out)"
    r"|is it (?:hot|cold|warm|wet|nice) out"
    # the average temperature in a country is general knowledge, today's is not
    r"|what(?:'s| is) the temperature in (?!general)(?-i:[A-Z])\w+)\b",
    re.IGNORECASE,
)
_WEATHER = re.compile(
    r"\b(?:weather|forecast|temperature|hot|cold|warm|wind(?:y)?|rain(?:ing|y)?|snow(?:ing|y)?|wet"
    r"|dry|sun(?:ny)?|shining|storm(?:y)?|fog(?:gy)?|cloud(?:y|s)?|umbrella|coat|jacket)\b",
    re.IGNORECASE,
)


def asks_for_weather(text: str) -> bool:
    """Return whether a text asks for the weather that only a report knows."""
    return bool(_ASKS_FOR_WEATHER.search(text) and _WEATHER.search(text))
