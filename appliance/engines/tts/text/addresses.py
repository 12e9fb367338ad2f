"""Web and mail addresses, hosts, paths and file names: "report.pdf" is report dot P D F."""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import integer, label
from appliance.engines.tts.text.rule import Match, Rules, rule, words

MAX_LINK_PARTS = 3  # longer paths are not read
MAX_LINK_PART_CHARS = 24
_SYMBOLS = (
    (".", " dot "),
    ("-", " dash "),
    ("_", " underscore "),
    ("/", " slash "),
    ("+", " plus "),
    (":", " port "),
    ("~", " "),
)
_TOP_LEVELS = (
    "com|org|net|edu|gov|mil|int|io|ai|dev|app|co|uk|de|fr|eu|us|ca|info|me|tv|ch|at|nl|local"
    "|health|test|example"
)
# Endings of file names, and how those that are not words are read.
_ENDINGS = (
    "pdf|docx?|xlsx?|pptx?|csv|tsv|txt|rtf|png|jpe?g|gif|svg|zip|gz|tar|py|js|ts|json|html?|css"
    "|xml|ya?ml"
    "|mp3|mp4|wav|exe|md|log|sh|ini|cfg|conf|bak|dat|db|sql|toml"
)
_ENDING_WORDS = frozenset(words("zip tar log conf bak dat gif"))


def _words(text: str) -> str:
    """'bob.smith-2' -> 'bob dot smith dash two'."""
    for symbol, word in _SYMBOLS:
        text = text.replace(symbol, word)
    text = re.sub(r"[^A-Za-z0-9 ]+", " ", text)
    text = re.sub(r"\d+", lambda m: f" {integer(m[0])} ", text)
    return re.sub(r"\s+", " ", text).strip()


def _link(match: Match) -> str:
    """Read the host and a short path of a web address, without the query."""
    host, path = match["host"], match["path"] or ""
    path, punctuation = re.fullmatch(r"(.*?)([.,;:!?)]*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    path = re.split(r"[?#]", path)[0].rstrip("/")
    parts = [part for part in path.split("/") if part]
    said = _words(host)
    if len(parts) <= MAX_LINK_PARTS and all(len(part) <= MAX_LINK_PART_CHARS for part in parts):
        said += "".join(f" slash {_file_words(part)}" for part in parts)
    return f" {said}{punctuation.replace(')', '')} "


def _email(match: Match) -> str:
    """'bob@example.com' -> 'bob at example dot com'."""
    return f" {_words(match[1])} at {_words(match[2])} "


def _file_words(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    if not dot or not re.fullmatch(_ENDINGS, ending, re.I):
        return _words(name)
    spelled = ending.lower() if ending.lower() in _ENDING_WORDS else " ".join(ending.upper())
    spelled = re.sub(r"\d", lambda m: integer(m[0]), spelled)
    return f"{_words(stem)} dot {spelled}"


def _file(match: Match) -> str:
    return f" {_file_words(match[0])} "


def _path(match: Match) -> str:
    """'/etc/hosts' -> 'slash etc slash hosts'."""
    parts = (_file_words(part) for part in match[0].strip("/").split("/") if part)
    return " " + " ".join(f"slash {part}" for part in parts) + " "


def _network(match: Match) -> str:
    """'192.168.0.1' -> 'one ninety-two dot one sixty-eight dot zero dot one'."""
    address, _, prefix = match[0].partition("/")
    words = " dot ".join(label(part) if part != "0" else "zero" for part in address.split("."))
    return f"{words} slash {label(prefix)}" if prefix else words


ADDRESSES: Rules = (
    rule(
        r"\b(?:https?|ftp)://(?:www\.)?(?P<host>[^\s/?#<>\"')]+)(?P<path>[/?#][^\s<>\"]*)?",
        _link,
        re.I,
    ),
    rule(r"([\w.+-]+)@((?:[\w-]+\.)+\w+|[A-Za-z][\w-]*)", _email),
    rule(r"\bwww\.(?P<host>[\w.-]+\w)(?P<path>/[^\s<>\"]*)?", _link, re.I),
    rule(
        rf"\b(?P<host>(?:[A-Za-z0-9-]+\.)+(?:{_TOP_LEVELS}))(?![\w.]\w)(?P<path>/[^\s<>\"]*)?"
        rf"(?![\w-])",
        _link,
    ),
    rule(rf"(?<![\w/.])[A-Za-z_][\w-]*(?:\.[\w-]+)*\.(?:{_ENDINGS})\b(?![.\w]\w)", _file),
    rule(r"(?<![\w/.)])(?:/[A-Za-z][\w.-]*\w){2,}/?", _path),
    rule(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?![\w.]\d|\w)", _network),
)
