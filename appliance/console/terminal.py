"""Text for a terminal: colours, times, durations and sizes. No I/O."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

WIDTH = 80  # columns
LABEL_WIDTH = 10  # columns; ops/voicectl-status.sh uses the same width
COLOUR_MODES = ("auto", "always", "never")
_CODES: Mapping[str, str] = {  # SGR parameters of ECMA-48
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
    """Colours text, or returns it unchanged."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, *styles: str) -> str:
        """Return the text in the named styles of `_CODES`; empty names are ignored."""
        codes = ";".join(_CODES[style] for style in styles if style)
        return f"\x1b[{codes}m{text}\x1b[0m" if self._colour and codes and text else text


def use_colour(mode: str, is_terminal: bool) -> bool:
    """Decide whether to colour the output, for one of COLOUR_MODES."""
    return mode == "always" or (mode == "auto" and is_terminal)


def format_time(unix_seconds: float) -> str:
    """Format a Unix time as systemd does, in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC")


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units, as systemd does: `2h 14min`."""
    whole = max(0, int(seconds))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller, smaller_size) in pairwise(units):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size}{name}" + (f" {rest}{smaller}" if rest else "")
    return f"{whole}s"


def format_offset(seconds: float) -> str:
    """Format a position within a call: minutes:seconds.tenths."""
    tenths = max(0, round(seconds * 10))
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def format_size(byte_count: float) -> str:
    """Format a number of bytes in MB or GB (powers of ten)."""
    return f"{byte_count / 1e9:.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:.1f} MB"


def truncate(text: str, width: int = WIDTH) -> str:
    """Truncate the text to one line of `width` columns; an ellipsis marks the cut."""
    line = printable(text)
    return line if len(line) <= width else line[: width - 1] + "…"


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def wrap(text: str, indent: int) -> list[str]:
    """Wrap the text to lines that fit into WIDTH after an indent. The indent is not added."""
    return textwrap.wrap(printable(text), WIDTH - indent) or [""]


def render_field(label: str, *values: str) -> list[str]:
    """Render values after a label, aligned as in systemctl. Each value is wrapped."""
    lines = []
    for value in values:
        for text in wrap(value, LABEL_WIDTH + 2):
            lines.append(f"{label:>{LABEL_WIDTH}}{':' if label else ' '} {text}")
            label = ""
    return lines
