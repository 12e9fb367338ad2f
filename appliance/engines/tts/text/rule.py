"""A rule replaces what a pattern matches; a table of rules is applied in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Match = re.Match[str]
Rule = tuple[re.Pattern[str], str | Callable[[Match], str]]
Rules = tuple[Rule, ...]


def rule(pattern: str, to: str | Callable[[Match], str], flags: int = 0) -> Rule:
    """Return a rule from a regular expression and its replacement."""
    return re.compile(pattern, flags), to


def words(text: str) -> list[str]:
    """Return the words of a table that is written as text."""
    return text.split()


def any_of(words: Iterable[str]) -> str:
    """Return a pattern that matches one of the words, longest first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def apply(rules: Rules, text: str) -> str:
    """Apply the rules in order."""
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def ends_sentence(match: Match) -> bool:
    """Return whether the text ends after the match, or goes on with a capital letter."""
    rest = match.string[match.end() :].lstrip(" \"')")
    return not rest or rest[0].isupper() or rest[0] == "\n"
