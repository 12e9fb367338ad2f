"""Cuts a reply, while it is generated, into phrases that are spoken one by one.

The first phrase decides how long the caller waits, so it is as short as sounds natural. While a
phrase plays, the next one is generated and synthesized, so it has only as many words as can be
ready in time, up to a maximum. The text is not changed: the joined phrases are the reply. No I/O.
"""

from __future__ import annotations

import re

from appliance.gateway.speech.bound_words import binds
from appliance.gateway.speech.unsplit_names import UnsplitNames
from appliance.settings import TTSConfig

MIN_CLAUSE_WORDS = 2  # a shorter clause gets no pause of its own
MAX_BRACKET_WORDS = 40  # a phrase with an open bracket is held back up to this length
OVERLONG_FACTOR = 2  # a phrase longer than limit * factor is cut at the next acceptable place


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLOSERS = "\"'”’)]}*_`~"
# A full stop after these never ends a sentence.
_TITLES = _words(
    "dr mr mrs ms prof st mt ft sgt capt lt col gen rev hon pres gov sen rep e.g i.e eg ie cf "
    "vs approx fig nr vol pp ca mme mlle messrs maj cpl cmdr adm supt asst assoc"
)
# A full stop after these ends a sentence only if the next word looks like the start of one.
_AMBIGUOUS = _words(
    "a.m p.m am pm etc inc ltd co corp jr sr no u.s u.k u.n e.u d.c b.c a.d ph.d m.d dept est "
    "ave blvd rd ext min max jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu "
    "fri sat sun ed al"
)
_ARTICLES = _words(
    "a an the this that these those my your his her its our their no some any every each all "
    "both another such what which whose"
)
_PREPOSITIONS = _words(
    "of in on at by for from to with without into onto about over under between through during "
    "before after above below against among around behind beside beyond near off per since "
    "until upon via within as like than"
)
_CONJUNCTIONS = _words(
    "and but or so because since while when where which who whom if although though unless "
    "until then whereas however"
)
# Words that belong to the next word, so that no pause may follow them.
_LEADING = (
    _ARTICLES
    | _PREPOSITIONS
    | _CONJUNCTIONS
    | _words(
        "not never very too more most less quite just only also i'm you're he's she's it's "
        "we're they're there's that's i've you've we've they've i'll you'll he'll she'll it'll "
        "we'll they'll i'd you'd let's is are was were am be been being has have had do does "
        "did will would can could shall should may might must don't doesn't didn't won't can't "
        "isn't aren't wasn't weren't i you he she it we they new old good big great small first "
        "next last many several few own same other best"
    )
)
# Words that begin a new part of a sentence, so that a pause may precede them.
_STARTING = (
    (_PREPOSITIONS - {"of", "like", "as", "than"})
    | _CONJUNCTIONS
    | _words(
        "is are was were has have had will would can could shall should may might must does did "
        "do i you he she it we they there a an the this these those my your his her its our "
        "their isn't aren't wasn't weren't won't can't doesn't didn't"
    )
)
_WORD = re.compile(r"\S+")
_NUMBER_END = re.compile(r"[\d½¼¾⅓⅔⅛⅜⅝⅞⁰¹²³⁴-⁹][\d.,:/%°]*$")


class PhraseCutter:
    """Chunks of one reply in, phrases out. The result does not depend on how the text is split.

    A phrase keeps the white space before it, so that the joined phrases are the text; only white
    space at the end of a reply is dropped.
    """

    def __init__(
        self,
        first_phrase_words: int,
        phrase_words: int,
        time_ratio: float,
        names: UnsplitNames | None = None,
    ) -> None:
        """Limit the first phrase to about `first_phrase_words`, later ones to `phrase_words`.

        time_ratio  how long a phrase takes to generate and synthesize, relative to its duration
        names       names that are not split, unless the reply ends within one
        """
        self._names = names or UnsplitNames()
        self._limit = self._first_limit = max(1, min(first_phrase_words, phrase_words))
        self._last_limit = max(1, phrase_words)
        self._time_ratio = max(0.01, time_ratio)
        self._unspoken = 0.0  # words still to be played when the current phrase is ready
        self._text = ""
        self._words: list[re.Match[str]] = []  # complete words of `_text`

    @classmethod
    def of(cls, config: TTSConfig, names: UnsplitNames | None = None) -> PhraseCutter:
        """Return a cutter for one reply, with the limits of the settings."""
        return cls(config.first_phrase_words, config.phrase_words, config.phrase_time_ratio, names)

    @property
    def pending(self) -> str:
        """Text that is not yet part of a phrase."""
        return self._text

    def feed(self, text: str) -> list[str]:
        """Add text. Return the phrases that are complete now."""
        return self._take(text, at_end=False)

    def flush(self) -> list[str]:
        """End the reply. Return the remaining phrases. A cutter serves one reply only."""
        phrases = self._take("", at_end=True)
        rest, self._text, self._words = self._text, "", []
        if not rest.strip():
            return phrases
        if phrases and not any(map(str.isalnum, rest)):  # a lone bracket or emoji
            return [*phrases[:-1], phrases[-1] + rest]
        return [*phrases, rest]

    def _take(self, text: str, at_end: bool) -> list[str]:
        self._text += text
        phrases = []
        start = self._words[-1].end() if self._words else 0
        for word in _WORD.finditer(self._text, start):
            if word.end() == len(self._text) and not at_end:
                break  # the word may continue in the next chunk
            self._words.append(word)
            cut = self._cut()
            if cut:
                phrases.append(self._text[:cut])
                return phrases + self._continue_after(cut, at_end)
        return phrases

    def _continue_after(self, cut: int, at_end: bool) -> list[str]:
        words = _count_spoken(self._text[:cut].split())
        self._text, self._words = self._text[cut:], []
        self._unspoken = max(0.0, self._unspoken - words * self._time_ratio) + words
        words_in_time = int(self._unspoken / self._time_ratio)
        self._limit = min(max(self._first_limit, words_in_time), self._last_limit)
        return self._take("", at_end)

    def _cut(self) -> int:
        """Return the position to cut at after one more complete word, or 0 for no cut."""
        words = [word.group() for word in self._words]
        last = len(words) - 1
        if _has_open_bracket(words):
            return 0
        if _count_spoken(words) and _ends_sentence(words, last) and not self._splits(words, last):
            return self._words[last].end()
        if last == 0:
            return 0
        previous = last - 1  # the last word only decides whether to cut before it
        ends = self._line_ends(previous) or _ends_sentence_before(words[previous], words[last])
        if ends and _count_spoken(words[:last]) and not self._splits(words, previous):
            return self._words[previous].end()
        return self._cut_within(words)

    def _cut_within(self, words: list[str]) -> int:
        """Return the best position in an unfinished sentence, or 0 if the phrase is too short."""
        is_first = self._limit < self._last_limit
        count = _count_spoken(words)
        last = len(words) - 1
        is_clause = _ends_clause(words, last) and not self._splits(words, last)
        if is_first and is_clause and count >= MIN_CLAUSE_WORDS:
            return self._words[last].end()
        if count <= self._limit:
            return 0
        places = [i for i in range(last - 1, 0, -1) if not self._splits(words, i)]
        clauses = [
            i
            for i in places
            if _ends_clause(words, i) or words[i + 1].lower() in _CONJUNCTIONS
            if _count_spoken(words[: i + 1]) >= MIN_CLAUSE_WORDS and not _binds_to_next(words[i])
        ]
        if clauses:
            return self._words[clauses[0]].end()
        if is_first or count > OVERLONG_FACTOR * self._limit:
            for i in places:
                if _can_pause_after(words, i) and _count_spoken(words[: i + 1]) >= MIN_CLAUSE_WORDS:
                    return self._words[i].end()
        is_far_too_long = count > 2 * OVERLONG_FACTOR * self._limit
        if is_far_too_long and places[:1] == [last - 1] and not _binds_to_next(words[last - 1]):
            return self._words[last - 1].end()
        return 0

    def _splits(self, words: list[str], index: int) -> bool:
        """Whether a phrase that ends after the word may split a name, an amount or a code."""
        if self._names.split_after(words, index):
            return True
        is_last = index + 1 == len(self._words)
        return (is_last or "\n" not in self._gap_after(index)) and binds(words, index)

    def _gap_after(self, index: int) -> str:
        return self._text[self._words[index].end() : self._words[index + 1].start()]

    def _line_ends(self, index: int) -> bool:
        """Whether a line break follows the word and the phrase may end there."""
        gap = self._gap_after(index)
        return "\n" in gap and ("\n\n" in gap or not _binds_to_next(self._words[index].group()))


def _count_spoken(words: list[str]) -> int:
    """Count the words that are spoken: those with a letter or a digit."""
    return sum(any(map(str.isalnum, word)) for word in words)


def _bare(word: str) -> str:
    return word.strip("\"'“”‘’([{*_`~").lower()


def _binds_to_next(word: str) -> bool:
    """Whether the word belongs to the next word, so that a pause after it would sound wrong."""
    bare = _bare(word)
    if bare.endswith((",", ";", ":", "!", "?")):
        return bare[-2:-1].isdigit() and bare.endswith((",", ":"))
    return (
        bare in _LEADING
        or bare.rstrip(".") in _TITLES
        or (bare.endswith(".") and _is_initials(bare[:-1]) and bare not in {"a.m.", "p.m."})
        or _NUMBER_END.search(bare) is not None
        or bare in {"$", "£", "€", "#", "&", "+", "-", "–", "—", "no."}
    )


def _can_pause_after(words: list[str], index: int) -> bool:
    """Whether a speaker could pause after the word: not within a noun phrase or a number."""
    if _binds_to_next(words[index]):
        return False
    next_word = _bare(words[index + 1])
    if next_word in _STARTING:
        return True
    if next_word == "of" or next_word[:1].isdigit():
        return False
    if index and _NUMBER_END.search(_bare(words[index - 1])):
        return False  # "5 mg tablets"
    recent = [_bare(word) for word in words[max(0, index - 2) : index]]
    return not any(word in _ARTICLES or word in _PREPOSITIONS for word in recent)


def _split_mark(word: str) -> tuple[str, str]:
    """Return the word without closing quotes and brackets, and its last character."""
    core = word.rstrip(_CLOSERS)
    return core, core[-1:]


def _ends_sentence(words: list[str], index: int) -> bool:
    """Whether the word ends a sentence regardless of the next word."""
    core, mark = _split_mark(words[index])
    if mark in ("!", "?", "…", "。", "！", "？"):
        return True
    if mark != ".":
        return False
    if core.endswith(".."):
        return False  # after an ellipsis, the next word decides
    bare = _bare(core.rstrip("."))
    if bare in _TITLES or bare in _AMBIGUOUS or _is_initials(bare):
        return False
    return not (bare.isdigit() and _count_spoken(words[: index + 1]) == 1)  # "1." begins a list


def _ends_sentence_before(word: str, next_word: str) -> bool:
    """Whether an ambiguous full stop after `word` ends a sentence, judged by `next_word`."""
    core, mark = _split_mark(word)
    bare = _bare(core.rstrip("."))
    if mark != "." or bare in _TITLES or bare.isdigit():
        return False
    if bare in {"no", "ext"} and _bare(next_word)[:1].isdigit():
        return False
    if _is_initials(bare) and len(bare) == 1 and bare != "i":
        return False  # J. Smith
    return _bare(next_word)[:1].isupper() or next_word.lstrip("\"'“‘([{*_`~")[:1].isupper()


def _is_initials(bare: str) -> bool:
    return len(bare) == 1 or ("." in bare and all(len(p) < 3 for p in bare.split(".")))


def _ends_clause(words: list[str], index: int) -> bool:
    core, mark = _split_mark(words[index])
    if words[index] in {"-", "–", "—", "--"}:
        return _count_spoken(words[:index]) > 0
    if mark in (",", ":") and core[-2:-1].isdigit():
        return False  # "March 5, 2024"; "1, 2, 3"
    if mark == "," and _is_listed(words, index):
        return False
    return mark in (",", ";", ":", "—", "–", "，", "；", "：")


def _is_listed(words: list[str], index: int) -> bool:
    """Whether the word before has a comma, too: no pauses in 'red, green, blue'."""
    return index > 0 and words[index - 1].endswith(",")


def _has_open_bracket(words: list[str]) -> bool:
    """Whether a bracket is open, as in the text of a Markdown link."""
    if len(words) > MAX_BRACKET_WORDS:  # probably never closed
        return False
    text = " ".join(words)
    return text.rfind("[") > text.rfind("]")
