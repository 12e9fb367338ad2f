"""File names and paths: "report.pdf" is report dot P D F, "C:\\Temp" C colon backslash temp."""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import integer, label
from appliance.engines.tts.text.rule import Match, Rules, rule, words

_SYMBOLS = (
    (".", " dot "),
    ("-", " dash "),
    ("_", " underscore "),
    ("/", " slash "),
    ("+", " plus "),
    (":", " port "),
    ("~", " tilde "),
)
# Endings of file names, and how those that are not words are read.
_ENDINGS = (
    "pdf|docx?|xlsx?|pptx?|csv|tsv|txt|rtf|png|jpe?g|gif|svg|zip|gz|tar|py|js|ts|json|html?|css"
    "|xml|ya?ml"
    "|mp3|mp4|wav|exe|md|log|sh|ini|cfg|conf|bak|dat|db|sql|toml"
)
_ENDING_WORDS = frozenset(words("zip tar log conf bak dat gif"))
# Before an option of a command, which may else be a dash: "run it with -v".
_COMMAND_BEFORE = (
    r"(?i:(?<=\bflag )|(?<=\boption )|(?<=\bswitch )|(?<=\bwith )|(?<=\buse )|(?<=\badd )"
    r"|(?<=\bpass )|(?<=\brun )|(?<=\bcommand )|(?<=\bargument ))"
)


def symbol_words(text: str) -> str:
    """'bob.smith-2' -> 'bob dot smith dash two'."""
    for symbol, word in _SYMBOLS:
        text = text.replace(symbol, word)
    text = re.sub(r"[^A-Za-z0-9 ]+", " ", text)
    text = re.sub(r"\d+", lambda m: f" {_number(m[0])} ", text)
    return re.sub(r"\s+", " ", text).strip()


def _number(text: str) -> str:
    """'884' -> 'eight eighty-four', '2026' -> 'twenty twenty-six'."""
    is_year = len(text) == 4 and 1900 <= int(text) <= 2099
    return integer(text) if is_year or len(text) not in (3, 4) else label(text)


def file_words(name: str) -> str:
    """'scan-2.pdf' -> 'scan dash two dot P D F'."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not re.fullmatch(_ENDINGS, ending, re.I):
        return symbol_words(name)
    spelled = ending.lower() if ending.lower() in _ENDING_WORDS else " ".join(ending.upper())
    spelled = re.sub(r"\d", lambda m: integer(m[0]), spelled)
    return f"{symbol_words(stem)} dot {spelled}"


def _file(match: Match) -> str:
    return f" {file_words(match[0])} "


def _path(match: Match) -> str:
    """'/etc/hosts' -> 'slash etc slash hosts', '~/docs' -> 'tilde slash docs'."""
    start, path, stop = match.groups()
    before = {"~": "tilde ", ".": "dot ", "..": "dot dot "}.get(start, "")
    parts = (file_words(part) for part in path.strip("/").split("/") if part)
    return f" {before}{' '.join(f'slash {part}' for part in parts)}{stop or ' '}"


def _windows_path(match: Match) -> str:
    r"""'C:\Temp' -> 'C colon backslash Temp'."""
    path = match[0].rstrip(".,;:!?")
    drive, _, rest = path.partition(":") if path[1:2] == ":" else ("", "", path)
    parts = " backslash ".join(file_words(part) for part in rest.split("\\"))
    said = f"{drive} colon{parts}" if drive else parts
    return f" {said.strip()}{match[0][len(path) :]} "


PATHS: Rules = (
    rule(r"(?<!\w)[A-Za-z]:\\[\w.\\-]*|(?<!\w)\\\\[A-Za-z][\w.-]*(?:\\[\w.$-]+)+", _windows_path),
    rule(r"(?<!\w)\*\.([a-z]{2,4})\b", lambda m: f"star dot {' '.join(m[1].upper())}"),
    rule(rf"(?<![\w/.])[A-Za-z_][\w-]*(?:\.[\w-]+)*\.(?:{_ENDINGS})\b(?![.\w]\w)", _file),
    rule(r"(?<![\w/.)~])(~|\.\.?)((?:/\.?[A-Za-z][\w.-]*)+)(?<=\w)(/?)(?!\w)", _path),
    rule(r"(?<![\w/.)])()((?:/[A-Za-z][\w.-]*\w){2,})(/?)", _path),
    rule(r"(?<=[a-z] )()(/(?:etc|tmp|var|usr|home|bin|opt|dev|mnt|srv|root|proc))\b()", _path),
    rule(rf"{_COMMAND_BEFORE}(--?)(?=[A-Za-z][\w-]*)", lambda m: "dash " * len(m[1])),
)
