"""How things look in a terminal: colours, times, durations and sizes; pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

WIDTH = 80
COLOURS = ("auto", "always", "never")
_CODES: Mapping[str, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


class Paint:
    """Colours text, or leaves it as it is."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, *styles: str) -> str:
        """The text in styles of `_CODES`; an empty style is none."""
        codes = ";".join(_CODES[style] for style in styles if style)
        return f"\x1b[{codes}m{text}\x1b[0m" if self._colour and codes and text else text


def wanted(colour: str, terminal: bool) -> bool:
    """Whether to colour, for one of COLOURS."""
    return colour == "always" or (colour == "auto" and terminal)


def stamp(unix_seconds: float) -> str:
    """A point in time as systemd writes it, in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """A length of time in its two largest units, as systemd writes it."""
    whole = max(0, int(seconds))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller, part) in pairwise(units):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{name}" + (f" {rest}{smaller}" if rest else "")
    return f"{whole}s"


def clock(seconds: float) -> str:
    """A point within a call: minutes:seconds.tenths."""
    tenths = max(0, round(seconds * 10))
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def size(byte_count: float) -> str:
    """Bytes in megabytes or gigabytes (powers of ten)."""
    return f"{byte_count / 1e9:.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:.1f} MB"


def cut(text: str, width: int = WIDTH) -> str:
    """The text on one line of at most so many columns, an ellipsis where something is missing."""
    line = printable(text)
    return line if len(line) <= width else line[: width - 1] + "…"


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def wrapped(text: str, indent: int) -> list[str]:
    """The text in lines that fit WIDTH after an indent, which they do not have yet."""
    return textwrap.wrap(printable(text), WIDTH - indent) or [""]
