"""Web and mail addresses and hosts: "bob@example.com" is bob at example dot com."""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import label
from appliance.engines.tts.text.paths import file_words, symbol_words
from appliance.engines.tts.text.rule import Match, Rules, rule, words

MAX_LINK_PARTS = 3  # longer paths are not read
MAX_LINK_PART_CHARS = 24
_TOP_LEVELS = (
    "com|org|net|edu|gov|mil|int|io|ai|dev|app|co|uk|de|fr|eu|us|ca|info|me|tv|ch|at|nl|local"
    "|health|test|example"
)
_SPELLED_TOP_LEVELS = frozenset(words("io ai uk de fr eu us ca tv ch at nl jp es it se no be"))


def _host_words(host: str) -> str:
    """'a.co.uk' -> 'a dot co dot U K': the letters of a country are spelled."""
    name, dot, country = host.rpartition(".")
    if not dot or country not in _SPELLED_TOP_LEVELS:
        return symbol_words(host)
    return f"{symbol_words(name)} dot {' '.join(country.upper())}"


def _link(match: Match) -> str:
    """Read the host and a short path of a web address, without the query."""
    host, path = match["host"], match["path"] or ""
    path, punctuation = re.fullmatch(r"(.*?)([.,;:!?)]*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    path = re.split(r"[?#]", path)[0].rstrip("/")
    parts = [part for part in path.split("/") if part]
    said = _host_words(host)
    if len(parts) <= MAX_LINK_PARTS and all(len(part) <= MAX_LINK_PART_CHARS for part in parts):
        said += "".join(f" slash {file_words(part)}" for part in parts)
    return f" {said}{punctuation.replace(')', '')} "


def _email(match: Match) -> str:
    """'bob@example.com' -> 'bob at example dot com'."""
    return f" {symbol_words(match[1])} at {_host_words(match[2])} "


def _local_port(match: Match) -> str:
    """'localhost:3000' -> 'localhost port three thousand'."""
    is_host = match[1] == "localhost" or match[1].startswith(("server", "host", "node", "db"))
    return f"{match[1]} port {label(match[2])}" if is_host else match[0]


def _network(match: Match) -> str:
    """'192.168.0.1' -> 'one ninety-two dot one sixty-eight dot zero dot one'."""
    address, end, number = re.split(r"([/:]|$)", match[0], maxsplit=1)
    said = " dot ".join(label(part) if part != "0" else "zero" for part in address.split("."))
    return f"{said} {'slash' if end == '/' else 'port'} {label(number)}" if number else said


ADDRESSES: Rules = (
    rule(
        r"\b(?:https?|ftp)://(?:www\.)?(?P<host>[^\s/?#<>\"')]+)(?P<path>[/?#][^\s<>\"]*)?",
        _link,
        re.I,
    ),
    rule(r"([\w.+-]+)@((?:[\w-]+\.)+[A-Za-z]\w*|[A-Za-z][\w-]*)", _email),
    rule(r"\bwww\.(?P<host>[\w.-]+\w)(?P<path>/[^\s<>\"]*)?", _link, re.I),
    rule(
        rf"\b(?P<host>(?:[A-Za-z0-9-]+\.)+(?:{_TOP_LEVELS}))(?![\w.]\w)(?P<path>/[^\s<>\"]*)?"
        rf"(?![\w-])",
        _link,
    ),
    rule(r"(?<=\w)@(?=\d{1,3}(?:\.\d{1,3}){3}\b)", " at "),
    rule(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2}|:\d{2,5})?(?![\w.]\d|\w)", _network),
    rule(r"\b(localhost|[a-z]+\d*):(\d{2,5})(?![\w:])(?!\.\d)", _local_port),
)
