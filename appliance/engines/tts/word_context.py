"""A word of a phrase and the words around it, by their tags: what is its verb, what its subject?

The questions are those that the rules for homographs ask. They are answered from the Penn Treebank
tags of spaCy's small model, which may be wrong for any of the words. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    """Return the words of a table that is written as text."""
    return frozenset(text.split())


ENDS = word_set('. ! ? : ; — … ( "')
BE = word_set("am is are was were be been being 'm 're isn't aren't wasn't weren't")
HAVE = word_set("have has had having 've 'd haven't hasn't hadn't")
_SKIPPED = word_set(
    "not n't never ever just always already also still only even often usually all both really "
    "you i he she it we they anyone everyone"
)
_ASKING = word_set("do does did can could will would shall should may might must")
# They begin a clause of their own, with a verb of its own.
SUBORDINATORS = word_set(
    "if because when while although though unless until that which who where whether whenever since"
)
# Plurals that describe the noun after them: "the sports record".
_DESCRIBING_PLURALS = word_set(
    "sales sports goods savings systems news arms customs drugs operations"
)
_DIRECTIONS = word_set(
    "along through around up down into towards over across away back easily well"
)
_VERB_TAGS = frozenset(("VB", "VBP", "VBZ", "VBD", "VBG", "MD"))


@dataclass(frozen=True, slots=True)
class Word:
    """A token of a phrase, and its tag from the Penn Treebank."""

    text: str
    tag: str

    @property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()


class Context:
    """A homograph and the words around it."""

    def __init__(self, words: Sequence[Word], index: int) -> None:
        self.words, self.index = words, index
        self.word = words[index]
        self.tag = self.word.tag

    def at(self, offset: int) -> Word:
        """The word at a distance; an empty one outside of the phrase."""
        index = self.index + offset
        return self.words[index] if 0 <= index < len(self.words) else Word("", "")

    @property
    def before(self) -> Word:
        return self.at(-1)

    @property
    def after(self) -> Word:
        return self.at(1)

    @property
    def begins(self) -> bool:
        """Whether the word begins a sentence, perhaps after "please" or "then"."""
        before = self.before
        if before.lower in ("please", "then", "now", "first", "and", ",") and self.index > 0:
            before = self.at(-2) if before.lower != "," else before
            return before.text in ENDS or not before.text or before.text == ","
        return not before.text or before.text in ENDS

    @property
    def subject(self) -> Word:
        """The nearest word before this one that is neither an adverb nor skipped otherwise."""
        offset = -1
        while self.at(offset).tag.startswith("RB") and self.at(offset).text:
            offset -= 1
        return self.at(offset)

    def follows(self, texts: frozenset[str], distance: int = 3) -> bool:
        """Whether one of `texts` stands before this word, with only skipped words between."""
        for offset in range(-1, -distance - 1, -1):
            word = self.at(offset)
            if word.lower in texts:
                return True
            if not (word.lower in _SKIPPED or word.tag.startswith("RB") or word.tag == "PRP"):
                return False
        return False

    def near(self, texts: frozenset[str], distance: int) -> bool:
        """Whether one of `texts` is within `distance` words."""
        around = range(-distance, distance + 1)
        return any(self.at(offset).lower in texts for offset in around if offset)

    def clause(self) -> list[Word]:
        """The other words of the clause, without the word that begins it."""
        start = self.index
        while start > 0 and not _begins_clause(self.words[start - 1]):
            start -= 1
        end = self.index + 1
        while end < len(self.words) and not _begins_clause(self.words[end]):
            end += 1
        return [*self.words[start : self.index], *self.words[self.index + 1 : end]]

    def is_only_verb(self) -> bool:
        """Whether the clause has no other verb, so that this word must be it."""
        return not any(word.tag in _VERB_TAGS for word in self.clause())

    def is_asked(self) -> bool:
        """Whether it is the verb of a question: "Did the valve close?", "How can fish live?"."""
        between: list[Word] = []
        for offset in range(-1, -6, -1):
            word = self.at(offset)
            if word.lower in _ASKING:
                before = self.at(offset - 1)
                opens = not before.text or before.text in ENDS or before.text == ","
                asks = before.tag in ("WRB", "WP") or self.at(offset - 2).tag == "WRB"
                return (opens or asks) and self._is_subject(between[::-1])
            if not word.text or word.text in ENDS:
                return False
            between.append(word)
        return False

    def _is_subject(self, words: Sequence[Word]) -> bool:
        if not words or self.after.tag.startswith("VB"):
            return False
        last = words[-1]
        if len(words) == 1:
            is_verb = last.lower in BE | HAVE or last.tag.startswith("RB")
            return not is_verb and last.tag not in ("DT", "PRP$", "JJ", "IN", "TO", "WRB")
        if any(word.tag.startswith("VB") for word in words[:-1]) or last.tag.startswith("RB"):
            return False
        if last.tag == "NNS":
            return True
        is_noun = last.tag == "NN" or words[-2].tag == "DT"
        return is_noun and not self.after.tag.startswith("NN")

    def has_plural_subject(self) -> bool:
        """Whether it is the only verb, right after a plural: "Metals contract in the cold."."""
        before, after = self.before, self.after
        if before.lower in ("we", "they", "you", "i", "who"):
            return not after.tag.startswith("VB") and self.is_only_verb()
        if before.tag != "NNS" or before.lower in _DESCRIBING_PLURALS:
            return False
        first = self.at(-2)
        if first.lower in ("a", "an", "this", "that", "each", "every"):
            return False  # "a bytes object"
        if after.lower in ("of", "that", "-") or after.tag.startswith("VB"):
            return False
        is_command = not first.text or _begins_clause(first)  # "Updates project data.", perhaps
        return not (is_command and after.tag == "NN") and self.is_only_verb()

    def has_singular_subject(self) -> bool:
        """Whether a word in -s is the only verb, before an object: "The path winds along it."."""
        after = self.after
        has_object = after.tag in ("DT", "PRP", "PRP$") or after.lower in _DIRECTIONS
        is_singular = self.before.tag in ("NN", "NNP") or self.before.lower in ("he", "she", "it")
        return is_singular and has_object and self.is_only_verb()

    def is_predicate_of_question(self) -> bool:
        """Whether it is what a question asks of its subject: "Are the wires live?"."""
        clause = self.clause()
        return (
            bool(clause) and clause[0].lower in BE and not self.after.tag.startswith(("NN", "VB"))
        )

    def is_command(self) -> bool:
        """Whether a sentence begins with this word as a verb in the imperative.

        What follows is an object, and no other verb follows in the sentence.
        """
        if not self.begins:
            return False
        after = self.after
        begins_object = after.tag in ("DT", "PRP$", "PRP")
        if self.before.text != ",":  # in a list, a noun may follow: "exit code, close code"
            begins_object |= after.tag in ("CD", "JJ") or after.tag.startswith("NN")
        return begins_object and not self._verb_follows()

    def _verb_follows(self) -> bool:
        for word in self.words[self.index + 1 :]:
            if word.text in ENDS or word.text == ",":
                return False
            if word.tag in ("MD", "VBZ", "VBP", "VBD"):
                return True
        return False


def _begins_clause(word: Word) -> bool:
    return word.text in ENDS or word.text == "," or word.lower in SUBORDINATORS
