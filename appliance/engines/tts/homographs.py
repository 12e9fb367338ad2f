"""Homographs that misaki 0.9.4 reads wrongly by the tags of its tagger. No I/O.

misaki selects a reading by the Penn Treebank tag of spaCy's small model. Two things go wrong: the
tag (a command that begins with "Use" is tagged as a noun), and the table (misaki reads a
present-tense "read" as "red"; it has no "lead" that sounds like "led"). Each rule here looks at the
words around a homograph, and changes its tag or the word that it sounds like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A token of a phrase, and its tag from the Penn Treebank."""

    text: str
    tag: str

    @property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()


@dataclass(frozen=True, slots=True)
class Change:
    """What misaki is told about a word instead.

    tag       its tag
    alias     a word that sounds the same
    letters   the letters to spell it with
    phonemes  misaki's phonemes: American, British
    plural    whether 's' is added to `letters` or `phonemes`
    """

    tag: str = ""
    alias: str = ""
    letters: str = ""
    phonemes: tuple[str, str] = ("", "")
    plural: bool = False


BASE_VERB, PAST, PARTICIPLE, ADJECTIVE, NOUN = "VB", "VBD", "VBN", "JJ", "NN"


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_END = _set('. ! ? : ; — … ( "')
_HAVE = _set("have has had having 've 'd haven't hasn't hadn't")
_BE = _set("am is are was were be been being 'm 're isn't aren't wasn't weren't")
_GET = _set("get gets got gotten getting become becomes became grow grows grew grown growing")
_DO = _set("do does did don't doesn't didn't")
_BEFORE_BASE_VERB = _set("to can could will would shall should may might must please let not n't")
_SKIPPED = _set(
    "not n't never ever just always already also still only even often usually all both really "
    "you i he she it we they anyone everyone"
)
_PLURAL_SUBJECTS = _set("i you we they who these those people all both some most many")
_PAST_CUES = _set("yesterday ago previously earlier then once twice was were had did said")
_TIMES = _set(
    "night week weekend month year time spring summer autumn fall winter evening monday tuesday "
    "wednesday thursday friday saturday sunday century"
)
_BODY_PARTS = _set(
    "muscle ligament meniscus tendon cuff retina retinal skin fabric cartilage labrum achilles "
    "rotator aortic vaginal perineal wear acl mcl labral esophageal bag seal glove hole"
)
_METAL_AFTER = _set(
    "pipe pipes pipework paint paints apron aprons poisoning level levels shield shields shielding "
    "lining acid exposure glass weight weights toxicity solder battery batteries concentration "
    "concentrations dust content pencil pencils ore oxide sheet sheets chromate free lined"
)
_METAL_BEFORE = _set("blood contain contains containing of with no some any")
_BEFORE_OF_METAL = _set(
    "level levels amount amounts trace traces concentration concentrations sheet sheets made "
    "grams milligrams micrograms piece pieces layer"
)
_NOUNS_AFTER_LIVE = _set(
    "broadcast broadcasts stream streams wire wires vaccine vaccines music ammunition virus "
    "viruses birth births performance performances chat show shows event events video attenuated "
    "donor donors tissue bacteria audience feed coverage circuit circuits parts conductor"
)
_VERBS_BEFORE_LIVE = _set(
    "recorded broadcast broadcasting streamed streaming go goes going went performed play plays "
    "played shown air aired"
)
_SMALL_THINGS = _set(
    "amount amounts quantity quantities trace traces detail details particle particles fraction "
    "fractions difference differences crack cracks dose doses hole holes fragment fragments "
    "variation variations concentrations droplets"
)


class _Context:
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
            return before.text in _END or not before.text or before.text == ","
        return not before.text or before.text in _END

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
            if word.text in _END or word.text == ",":
                return False
            if word.tag in ("MD", "VBZ", "VBP", "VBD"):
                return True
        return False


def _read(context: _Context) -> Change | None:
    tag, before = context.tag, context.before.lower
    if before in ("well", "widely") and not context.after.tag.startswith(("DT", "PRP")):
        return Change(tag=ADJECTIVE)
    if context.follows(_HAVE, 4) or (context.follows(_BE, 3) and tag != "VB"):
        return Change(tag=PARTICIPLE)
    if tag == PARTICIPLE or not tag.startswith("VB"):
        return Change(tag=BASE_VERB) if context.begins else None
    if context.subject.tag == "NNS" and context.after.lower in ("per", "by"):
        return Change(tag=PARTICIPLE)  # "the bytes read per second"
    if context.follows(_BEFORE_BASE_VERB, 3) or context.follows(_DO, 4) or context.begins:
        return Change(tag=BASE_VERB)
    return Change(tag=PAST if _is_past(context) else BASE_VERB)


def _is_past(context: _Context) -> bool:
    """Whether a finite "read" is in the past tense."""
    subject = context.subject
    if subject.lower in ("he", "she", "it", "this", "that", "one") or subject.tag in ("NN", "NNP"):
        return True  # in the present, it would be "reads"
    for index, word in enumerate(context.words):
        following = context.words[index + 1].lower if index + 1 < len(context.words) else ""
        if word.lower == "last" and following in _TIMES:
            return True
        if index != context.index and (word.lower in _PAST_CUES or word.tag == PAST):
            return True
    return False


def _lead(context: _Context) -> Change | None:
    before, after, tag = context.before, context.after, context.tag
    metal = Change(alias="led")
    if after.lower in _METAL_AFTER or (after.text == "-" and context.at(2).lower in _METAL_AFTER):
        return metal
    measured = before.lower == "of" and context.at(-2).lower in _BEFORE_OF_METAL
    if before.lower == "blood" or measured:
        return metal
    if tag.startswith("VB") or before.tag in ("DT", "PRP$", "POS", "JJ", "MD", "TO"):
        return None
    if after.tag.startswith("NN"):
        return None
    if before.lower in _METAL_BEFORE or before.tag in ("IN", "CC", "VBD", "VBZ", "VBN"):
        return metal
    if not before.text and after.tag in ("VBZ", "MD", "CC"):
        return metal
    return None


def _minute(context: _Context) -> Change | None:
    before, after = context.before, context.after
    counted = before.tag == "CD" or before.lower in ("last", "first", "next", "per", "-", "every")
    if not counted and (after.lower in _SMALL_THINGS or before.lower in ("so", "very", "too")):
        return Change(tag=ADJECTIVE)
    if before.lower == "a" and after.tag in ("NN", "NNS"):
        return Change(tag=ADJECTIVE)
    is_predicate = before.lower in _BE and not after.tag.startswith("NN")
    return Change(tag=ADJECTIVE if is_predicate else NOUN)


def _bow(context: _Context) -> Change | None:
    before, after = context.before, context.after
    if before.tag in ("DT", "JJ", "PRP$", "POS", "NN", "CD"):
        return Change(tag=BASE_VERB if before.lower == "a" and _takes(context) else NOUN)
    if before.lower in _BEFORE_BASE_VERB or context.begins or context.tag.startswith("VB"):
        return Change(tag=BASE_VERB)
    is_verb = after.lower in ("to", "before", "down", "his", "her", "their", "your", "my")
    return Change(tag=BASE_VERB) if is_verb else None


def _takes(context: _Context) -> bool:
    """Whether it is the bow of "take a bow"."""
    return context.at(-2).lower in ("take", "takes", "took", "taking")


def _used(context: _Context) -> Change | None:
    if context.after.lower != "to":
        return None
    if not (context.follows(_BE, 3) or context.follows(_GET, 3)):
        return Change(tag=PAST)
    is_purpose = context.at(2).tag == BASE_VERB and not context.follows(_GET, 3)
    return Change(tag=PARTICIPLE if is_purpose else ADJECTIVE)


def _use(context: _Context) -> Change | None:
    if context.follows(_DO, 3) and context.after.lower == "to" and context.at(2).tag == BASE_VERB:
        return Change(tag=NOUN)  # "did you use to" sounds like the noun
    return _verb_or_noun(context)


def _close(context: _Context) -> Change | None:
    if context.tag.startswith("NN") and context.after.lower in ("to", "by", "enough"):
        return Change(tag=ADJECTIVE)
    if context.before.tag == "NNS" and context.after.lower in ("at", "on", "for", "early", "soon"):
        return Change(tag=BASE_VERB)  # "The shops close at ten."
    return _verb_or_noun(context)


def _verb_or_noun(context: _Context) -> Change | None:
    """Correct the tag of a verb that is tagged as a noun or an adjective."""
    if context.tag.startswith("VB"):
        return None
    if context.is_command() or context.before.lower in ("please", "n't"):
        return Change(tag=BASE_VERB)
    if context.before.tag == "MD" or (context.before.tag == "PRP" and context.after.tag == "DT"):
        return Change(tag=BASE_VERB)
    return None


def _live(context: _Context) -> Change | None:
    after, before = context.after.lower, context.before
    if after in _NOUNS_AFTER_LIVE or context.near(_VERBS_BEFORE_LIVE, 1):
        return Change(tag=ADJECTIVE)
    if before.lower in _BEFORE_BASE_VERB or before.tag in ("PRP", "NNS", "MD", "TO", "WP"):
        return Change(tag=BASE_VERB)
    return Change(tag=BASE_VERB) if context.follows(_DO, 3) else None


def _tear(context: _Context) -> Change | None:
    if context.tag.startswith("VB"):
        return None
    is_rip = context.near(_BODY_PARTS, 5) or (context.begins and context.after.tag in ("IN", "RP"))
    return Change(tag=BASE_VERB) if is_rip else _verb_or_noun(context)


def _content(context: _Context) -> Change | None:
    is_adjective = context.before.lower in _BE | {"feel", "feels", "felt", "seem", "seems", "quite"}
    return Change(tag=ADJECTIVE) if is_adjective else None


def _does(context: _Context) -> Change | None:
    is_plural = context.before.lower in ("the", "two", "three", "several", "female", "some")
    return Change(alias="doze") if is_plural else None


_RULES: Mapping[str, Callable[[_Context], Change | None]] = {
    "read": _read,
    "reread": _read,
    "lead": _lead,
    "minute": _minute,
    "bow": _bow,
    "used": _used,
    "use": _use,
    "close": _close,
    "live": _live,
    "tear": _tear,
    "content": _content,
    "does": _does,
} | dict.fromkeys(
    _set(
        "abstract address attribute combine compound conduct console contract contrast convert "
        "document estimate excuse export import increase insert list object permit present produce "
        "progress project record refuse reject relay separate subject transfer transplant "
        "transport update upload wind duplicate moderate perfect abuse"
    ),
    _verb_or_noun,
)


def changes(words: Sequence[Word]) -> dict[int, Change]:
    """Return the changes by the index of their word."""
    changed = {}
    for index, word in enumerate(words):
        rule = _RULES.get(word.lower)
        change = rule(_Context(words, index)) if rule else None
        if change is not None:
            changed[index] = change
    return changed
