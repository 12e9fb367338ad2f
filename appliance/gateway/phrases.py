"""Cuts a reply, while it is being generated, into phrases to be spoken one after the other.

The first phrase decides how long the caller waits, so it is as short as sounds natural. While it
sounds the next one is generated and synthesised, so each later one holds no more words than there
is time for, up to the limit. No text is changed: the phrases joined are the reply.
"""

from __future__ import annotations

import re

MIN_CLAUSE_WORDS = 2  # a clause shorter than this is not worth a pause of its own
PATIENCE = 2  # a phrase of more than this many limits is cut at the next bearable place


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLOSERS = "\"'”’)]}*_`~"
# A full stop after these never ends a sentence; something is about to follow.
_TITLES = _words(
    "dr mr mrs ms prof st mt ft sgt capt lt col gen rev hon pres gov sen rep e.g i.e eg ie cf "
    "vs approx fig nr vol pp ca"
)
# A full stop after these ends a sentence if what follows looks like the beginning of one.
_MAYBE = _words(
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
# Words that lean on the next one: no pause after them.
_LEANING = (
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
# Words before which a noun phrase is over.
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
_NUMBER_END = re.compile(r"\d[\d.,:/%°]*$")


class PhraseCutter:
    """Pieces of one reply in, phrases out. How the text is split into pieces makes no difference.

    A phrase keeps the white space before it, so that the phrases joined are the text; only white
    space at the very end of a reply is dropped.
    """

    def __init__(self, first_phrase_words: int, phrase_words: int, time_ratio: float) -> None:
        """The first phrase holds about `first_phrase_words`, a later one `phrase_words` at most.

        `time_ratio`: the part of the time that a phrase sounds in which the next one of the same
        length is there.
        """
        self._limit = self._first_limit = max(1, min(first_phrase_words, phrase_words))
        self._last_limit = max(1, phrase_words)
        self._time_ratio = max(0.01, time_ratio)
        self._unspoken = 0.0  # words still to sound when the phrase at hand is synthesised
        self._text = ""
        self._words: list[re.Match[str]] = []  # complete words of `_text`

    @property
    def waiting(self) -> str:
        """Text that was fed and is not yet part of a phrase."""
        return self._text

    def feed(self, text: str) -> list[str]:
        """Adds text; returns the phrases that it completes."""
        return self._take(text, at_end=False)

    def flush(self) -> list[str]:
        """The reply is complete: returns what is left of it. The cutter begins no second reply."""
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
                break  # it may go on in the next piece
            self._words.append(word)
            cut = self._cut()
            if cut:
                phrases.append(self._text[:cut])
                return phrases + self._after(cut, at_end)
        return phrases

    def _after(self, cut: int, at_end: bool) -> list[str]:
        words = _spoken(self._text[:cut].split())
        self._text, self._words = self._text[cut:], []
        self._unspoken = max(0.0, self._unspoken - words * self._time_ratio) + words
        in_time = int(self._unspoken / self._time_ratio)
        self._limit = min(max(self._first_limit, in_time), self._last_limit)
        return self._take("", at_end)

    def _cut(self) -> int:
        """Where to cut now that one more word is complete: a position in the text, or 0."""
        words = [word.group() for word in self._words]
        last = len(words) - 1
        if _open_bracket(words):
            return 0
        if _spoken(words) and _ends_sentence(words, last):
            return self._words[last].end()
        if last == 0:
            return 0
        before = last - 1  # the last word is only looked at to judge the place before it
        if _spoken(words[:last]) and self._line_ends(before):
            return self._words[before].end()
        if _spoken(words[:last]) and _ended_sentence(words[before], words[last]):
            return self._words[before].end()
        return self._cut_within(words)

    def _cut_within(self, words: list[str]) -> int:
        """The best place inside an unfinished sentence, once the phrase is long enough."""
        first = self._limit < self._last_limit
        count = _spoken(words)
        if first and _ends_clause(words, len(words) - 1) and count >= MIN_CLAUSE_WORDS:
            return self._words[-1].end()
        if count <= self._limit:
            return 0
        places = range(len(words) - 2, 0, -1)
        clauses = [
            i
            for i in places
            if _ends_clause(words, i) or words[i + 1].lower() in _CONJUNCTIONS
            if _spoken(words[: i + 1]) >= MIN_CLAUSE_WORDS and not _leans(words[i])
        ]
        if clauses:
            return self._words[clauses[0]].end()
        if first or count > PATIENCE * self._limit:
            for i in places:
                if _natural(words, i) and _spoken(words[: i + 1]) >= MIN_CLAUSE_WORDS:
                    return self._words[i].end()
        if count > 2 * PATIENCE * self._limit and not _leans(words[-2]):
            return self._words[-2].end()
        return 0

    def _line_ends(self, index: int) -> bool:
        """Whether a line break follows the word and the phrase may end there."""
        gap = self._text[self._words[index].end() : self._words[index + 1].start()]
        return "\n" in gap and ("\n\n" in gap or not _leans(self._words[index].group()))


def _spoken(words: list[str]) -> int:
    """How many of the words hold something to say."""
    return sum(any(map(str.isalnum, word)) for word in words)


def _bare(word: str) -> str:
    return word.strip("\"'“”‘’([{*_`~").lower()


def _leans(word: str) -> bool:
    """Whether a pause after the word would sound wrong."""
    bare = _bare(word)
    if bare.endswith((",", ";", ":", "!", "?")):
        return bare[-2:-1].isdigit() and bare.endswith((",", ":"))
    return (
        bare in _LEANING
        or bare.rstrip(".") in _TITLES
        or (bare.endswith(".") and _is_initials(bare[:-1]) and bare not in {"a.m.", "p.m."})
        or _NUMBER_END.search(bare) is not None
        or bare in {"$", "£", "€", "#", "&", "+", "-", "–", "—", "no."}
    )


def _natural(words: list[str], index: int) -> bool:
    """Whether a speaker could breathe after the word: not within a noun phrase or a number."""
    if _leans(words[index]):
        return False
    following = _bare(words[index + 1])
    if following in _STARTING:
        return True
    if following == "of" or following[:1].isdigit():
        return False
    recent = [_bare(word) for word in words[max(0, index - 2) : index]]
    return not any(word in _ARTICLES or word in _PREPOSITIONS for word in recent)


def _stop(word: str) -> tuple[str, str]:
    """The word without closing quotes, and its last character."""
    core = word.rstrip(_CLOSERS)
    return core, core[-1:]


def _ends_sentence(words: list[str], index: int) -> bool:
    """Whether the word ends a sentence whatever follows."""
    core, mark = _stop(words[index])
    if mark in ("!", "?", "…", "。", "！", "？") and mark:
        return True
    if mark != ".":
        return False
    if core.endswith(".."):
        return False  # an ellipsis may go on; what follows decides
    bare = _bare(core.rstrip("."))
    if bare in _TITLES or bare in _MAYBE or _is_initials(bare):
        return False
    return not (bare.isdigit() and _spoken(words[: index + 1]) == 1)  # "1." begins a list


def _ended_sentence(word: str, following: str) -> bool:
    """Whether an ambiguous full stop was the end of a sentence, told by what follows."""
    core, mark = _stop(word)
    bare = _bare(core.rstrip("."))
    if mark != "." or bare in _TITLES or bare.isdigit():
        return False
    if bare in {"no", "ext"} and _bare(following)[:1].isdigit():
        return False
    if _is_initials(bare) and len(bare) == 1 and bare != "i":
        return False  # J. Smith
    return _bare(following)[:1].isupper() or following.lstrip("\"'“‘([{*_`~")[:1].isupper()


def _is_initials(bare: str) -> bool:
    return len(bare) == 1 or ("." in bare and all(len(p) < 3 for p in bare.split(".")))


def _ends_clause(words: list[str], index: int) -> bool:
    core, mark = _stop(words[index])
    if words[index] in {"-", "–", "—", "--"}:
        return _spoken(words[:index]) > 0
    if mark in (",", ":") and core[-2:-1].isdigit():
        return False  # "March 5, 2024"; "1, 2, 3"
    if mark == "," and _is_listed(words, index):
        return False
    return mark in (",", ";", ":", "—", "–", "，", "；", "：") and mark != ""


def _is_listed(words: list[str], index: int) -> bool:
    """Whether the comma stands right after another one: 'red, green, blue' is one breath."""
    return index > 0 and words[index - 1].endswith(",")


def _open_bracket(words: list[str]) -> bool:
    """Whether a bracket is open, as in the text of a Markdown link; not for ever."""
    text = " ".join(words[-40:])
    return text.rfind("[") > text.rfind("]") and len(words) <= 40
