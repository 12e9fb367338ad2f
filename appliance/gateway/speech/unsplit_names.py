"""Names of several words, such as "St. Mary's Hospital", within which no phrase may end. No I/O.

The site's lexicon (site_lexicon.py) says how a name is spoken. The TTS engine gets phrase by phrase
and finds a name only if all of its words are in one phrase.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

_MARKS = ".,;:!?\"'“”‘’()[]{}*_`~"  # around a word in a sentence


class UnsplitNames:
    """Names, found by their first word. Case and the marks around a word do not count."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._by_first_word: dict[str, list[list[str]]] = defaultdict(list)
        self._longest = 0
        for name in names:
            words = [_bare(word) for word in name.split()]
            if len(words) > 1:
                self._by_first_word[words[0]].append(words)
                self._longest = max(self._longest, len(words))

    def split_after(self, words: Sequence[str], index: int) -> bool:
        """Return whether a phrase that ends after `words[index]` may split a name.

        The words after the last one are not known yet, so the beginning of a name counts.
        """
        for start in range(max(0, index + 2 - self._longest), index + 1):
            for name in self._by_first_word.get(_bare(words[start]), ()):
                known = [_bare(word) for word in words[start : start + len(name)]]
                if start + len(name) > index + 1 and known == name[: len(known)]:
                    return True
        return False


def _bare(word: str) -> str:
    return word.strip(_MARKS).casefold()
