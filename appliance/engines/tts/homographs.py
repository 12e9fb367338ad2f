"""Homographs that misaki 0.9.4 reads wrongly by the tags of its tagger. No I/O.

misaki selects a reading by the Penn Treebank tag of spaCy's small model. Two things go wrong: the
tag (a command that begins with "Use" is tagged as a noun), and the table (misaki reads a
present-tense "read" as "red"; it has no "lead" that sounds like "led"). Each rule here looks at the
words around a homograph, and changes its tag or the word that it sounds like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.engines.tts.word_context import (
    BE,
    ENDS,
    HAVE,
    SUBORDINATORS,
    Context,
    Word,
    word_set,
)


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


# As misaki does not know them. American, British.
RESUME = ("ɹˈɛzəmˌA", "ɹˈɛzjuːmˌA")
NUMBER = ("nˈʌməɹ", "nˈʌmə")
BASE_VERB, PAST, PARTICIPLE, ADJECTIVE, NOUN = "VB", "VBD", "VBN", "JJ", "NN"


_GET = word_set("get gets got gotten getting become becomes became grow grows grew grown growing")
_DO = word_set("do does did don't doesn't didn't")
_ARTICLES = word_set("the a an my your our their its")
_FEEL = word_set("feel feels felt feeling is are was were")
_BEFORE_BASE_VERB = word_set(
    "to can could will would shall should may might must please let not n't"
)

_PAST_CUES = word_set("yesterday ago previously earlier then once twice was were had did said")
_TIMES = word_set(
    "night week weekend month year time spring summer autumn fall winter evening monday tuesday "
    "wednesday thursday friday saturday sunday century"
)
_BODY_PARTS = word_set(
    "muscle ligament meniscus tendon cuff retina retinal skin fabric cartilage labrum achilles "
    "rotator aortic vaginal perineal wear acl mcl labral esophageal bag seal glove hole holes cut "
    "cuts crack cracks rip rips gloves sleeve gown sheet hose partial complete"
)
_OF_THE_EYE = word_set("gas duct ducts drop drops film fluid gland glands stain stained production")
_EYES = word_set("eye eyes")
_METAL_AFTER = word_set(
    "pipe pipes pipework paint paints apron aprons poisoning level levels shield shields shielding "
    "lining acid exposure glass weight weights toxicity solder battery batteries concentration "
    "concentrations dust content pencil pencils ore oxide sheet sheets chromate free lined roof "
    "roofs bullet bullets solder shot ingot ingots sulfate acetate"
)
_PENCILS = word_set("pencil pencils")
_EXPOSED = word_set("exposure exposed allergic sensitive due")
_METAL_BEFORE = word_set("blood contain contains containing of with no some any")
_BEFORE_OF_METAL = word_set(
    "level levels amount amounts trace traces concentration concentrations sheet sheets made "
    "grams milligrams micrograms piece pieces layer"
)
_NOUNS_AFTER_LIVE = word_set(
    "broadcast broadcasts stream streams wire wires vaccine vaccines music ammunition virus "
    "viruses birth births performance performances chat show shows event events video attenuated "
    "donor donors tissue bacteria audience feed coverage circuit circuits parts conductor"
)
_VERBS_BEFORE_LIVE = word_set(
    "recorded broadcast broadcasting streamed streaming go goes going went performed play plays "
    "played shown air aired"
)
_SMALL_THINGS = word_set(
    "amount amounts quantity quantities trace traces detail details particle particles fraction "
    "fractions difference differences crack cracks dose doses hole holes fragment fragments "
    "variation variations concentrations droplets"
)


_REFUSE_AFTER = word_set(
    "collection collections bin bins bag bags sack sacks truck trucks chute container containers "
    "disposal dump heap tip collector collectors lorry vehicle skip site"
)
_RELATIVES = word_set(
    "mother father wife husband son daughter parent parents brother sister aunt uncle child chair "
    "carriage"
)
_FISH = word_set(
    "sea fish fishing caught catch catches lake river pond menu grilled fried fillet fillets "
    "striped largemouth smallmouth trout perch bait hook eat ate angler anglers net boat"
)
_TOOLS = word_set(
    "fire axe hatchet hatchets wood chop chopped carry carried carrying swing swung swinging sharp "
    "battle hammer hammers picks shovels saw saws tools men throw threw"
)


def _read(context: Context) -> Change | None:
    tag, before = context.tag, context.before.lower
    if before in ("well", "widely") and not context.after.tag.startswith(("DT", "PRP")):
        return Change(tag=ADJECTIVE)
    if context.follows(HAVE, 4) or (context.follows(BE, 3) and tag != "VB"):
        return Change(tag=PARTICIPLE)
    if tag == PARTICIPLE or not tag.startswith("VB"):
        return Change(tag=BASE_VERB) if context.begins else None
    if context.subject.tag == "NNS" and context.after.lower in ("per", "by"):
        return Change(tag=PARTICIPLE)  # "the bytes read per second"
    if context.follows(_BEFORE_BASE_VERB, 3) or context.follows(_DO, 4) or context.begins:
        return Change(tag=BASE_VERB)
    return Change(tag=PAST if _is_past(context) else BASE_VERB)


def _is_past(context: Context) -> bool:
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


def _lead(context: Context) -> Change | None:
    before, after, tag = context.before, context.after, context.tag
    metal = Change(alias="led")
    if after.lower in _METAL_AFTER or (after.text == "-" and context.at(2).lower in _METAL_AFTER):
        return metal
    measured = before.lower == "of" and context.at(-2).lower in _BEFORE_OF_METAL
    if before.lower == "blood" or measured:
        return metal
    has_object = after.tag in ("DT", "PRP", "PRP$") and tag.startswith("VB")
    if not has_object and (context.near(_PENCILS, 5) or context.at(-2).lower in _EXPOSED):
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


def _minute(context: Context) -> Change | None:
    before, after = context.before, context.after
    counted = before.tag == "CD" or before.lower in ("last", "first", "next", "per", "-", "every")
    if not counted and (after.lower in _SMALL_THINGS or before.lower in ("so", "very", "too")):
        return Change(tag=ADJECTIVE)
    if before.lower == "a" and after.tag in ("NN", "NNS"):
        return Change(tag=ADJECTIVE)
    is_predicate = before.lower in BE and not after.tag.startswith("NN")
    return Change(tag=ADJECTIVE if is_predicate else NOUN)


def _bow(context: Context) -> Change | None:
    before, after = context.before, context.after
    if _is_on_a_ship(context):
        return Change(tag=BASE_VERB)
    if before.tag in ("DT", "JJ", "PRP$", "POS", "NN", "CD"):
        return Change(tag=BASE_VERB if before.lower == "a" and _takes(context) else NOUN)
    if before.lower in _BEFORE_BASE_VERB or context.begins or context.tag.startswith("VB"):
        return Change(tag=BASE_VERB)
    is_verb = after.lower in ("to", "before", "down", "his", "her", "their", "your", "my")
    return Change(tag=BASE_VERB) if is_verb else None


_SHIPS = word_set("ship boat vessel ferry yacht canoe kayak tanker sail deck stern hull")


def _is_on_a_ship(context: Context) -> bool:
    """Whether it is the front of a ship, which sounds like the verb."""
    if context.before.lower == "'s" and context.at(-2).lower in _SHIPS:
        return True
    near = {context.at(offset).lower for offset in (-4, -3, -2, -1, 1, 2, 3, 4)}
    return context.before.tag in ("DT", "JJ", "NN") and not near.isdisjoint(_SHIPS)


def _takes(context: Context) -> bool:
    """Whether it is the bow of "take a bow"."""
    return context.at(-2).lower in ("take", "takes", "took", "taking")


def _used(context: Context) -> Change | None:
    if context.after.lower != "to":
        return None
    if not (context.follows(BE, 3) or context.follows(_GET, 3)):
        return Change(tag=PAST)
    is_purpose = context.at(2).tag == BASE_VERB and not context.follows(_GET, 3)
    return Change(tag=PARTICIPLE if is_purpose else ADJECTIVE)


def _use(context: Context) -> Change | None:
    if context.follows(_DO, 3) and context.after.lower == "to" and context.at(2).tag == BASE_VERB:
        return Change(tag=NOUN)  # "did you use to" sounds like the noun
    return _verb_or_noun(context)


def _close(context: Context) -> Change | None:
    if context.tag.startswith("NN") and context.after.lower in ("to", "by", "enough"):
        return Change(tag=ADJECTIVE)
    if context.before.tag == "NNS" and context.after.lower in ("at", "on", "for", "early", "soon"):
        return Change(tag=BASE_VERB)  # "The shops close at ten."
    if context.after.lower in ("to", "by", "enough", "together"):
        return None  # "the beds close to the door"
    return _verb_or_noun(context)


def _verb_or_noun(context: Context) -> Change | None:
    """Correct the tag of a verb that is tagged as a noun or an adjective, and of a noun."""
    if context.tag.startswith("VB"):
        return Change(tag=NOUN) if context.before.lower in _ARTICLES else None
    return Change(tag=BASE_VERB) if _is_verb(context) or context.has_plural_subject() else None


def _verb_or_adjective(context: Context) -> Change | None:
    """Correct the tag of a verb that is tagged otherwise, if it may also follow its noun.

    "All labels present are valid", "details subject to change".
    """
    if context.tag.startswith("VB"):
        return None
    has_pronoun = context.before.tag == "PRP" and context.has_plural_subject()
    is_described = context.begins and context.word.lower in _BEFORE_NOUNS
    is_described &= context.after.tag.startswith(("NN", "JJ", "CD"))
    is_verb = (_is_verb(context) and not is_described) or has_pronoun
    return Change(tag=BASE_VERB) if is_verb else None


def _is_verb(context: Context) -> bool:
    """Whether it is a command, or follows what only a verb follows."""
    if context.is_command() or context.before.lower in ("please", "n't"):
        return True
    if context.before.tag == "MD" or (context.before.tag == "PRP" and context.after.tag == "DT"):
        return True
    return context.is_asked()


def _verb_in_s(context: Context) -> Change | None:
    """Correct the tag of a third person that is tagged as a plural."""
    is_verb = context.tag.startswith("NN") and context.has_singular_subject()
    return Change(tag=BASE_VERB) if is_verb else None


def _live(context: Context) -> Change | None:
    after, before = context.after.lower, context.before
    if after in _NOUNS_AFTER_LIVE or context.near(_VERBS_BEFORE_LIVE, 1):
        return Change(tag=ADJECTIVE)
    if context.is_predicate_of_question():
        return Change(tag=ADJECTIVE)
    is_object = before.tag == "PRP" and context.at(-2).tag in ("TO", "IN")
    if is_object and context.at(-2).lower not in SUBORDINATORS:
        return Change(tag=ADJECTIVE)  # "We bring it to you live."
    if before.lower in _BEFORE_BASE_VERB or before.tag in ("PRP", "NNS", "MD", "TO", "WP"):
        return Change(tag=BASE_VERB)
    is_verb = context.follows(_DO, 3) or context.is_asked()
    return Change(tag=BASE_VERB) if is_verb else None


def _tear(context: Context) -> Change | None:
    """Tell what an eye sheds from what is torn, which sounds like the verb."""
    if context.after.lower in _OF_THE_EYE:
        return Change(tag=NOUN)
    if context.tag.startswith("VB"):
        return None
    if context.near(_EYES, 5):
        return None
    is_rip = context.near(_BODY_PARTS, 5) or (context.begins and context.after.tag in ("IN", "RP"))
    is_in_something = context.word.lower == "tear" and context.after.lower in ("in", "through")
    return Change(tag=BASE_VERB) if is_rip or is_in_something else _verb_or_noun(context)


def _content(context: Context) -> Change | None:
    is_adjective = context.before.lower in BE | {"feel", "feels", "felt", "seem", "seems", "quite"}
    return Change(tag=ADJECTIVE) if is_adjective else None


def _does(context: Context) -> Change | None:
    before, after = context.before.lower, context.after
    is_plural = before in ("the", "two", "three", "several", "female", "some")
    # "bucks and does live", but "cleans the beds and does the rounds"
    is_second = before in ("and", "or") and context.at(-2).tag == "NNS"
    is_second &= after.tag.startswith("VB") or after.text in ENDS or not after.text
    return Change(alias="doze") if is_plural or is_second else None


def _invalid(context: Context) -> Change | None:
    """Tell a person from what is not valid."""
    before, after = context.before, context.after
    ends = after.text in ENDS or not after.text or after.tag in ("VBZ", "VBD", "MD", "IN")
    is_person = before.tag in ("DT", "JJ", "PRP$") and ends
    return Change(tag=NOUN) if is_person or after.lower in _RELATIVES else None


def _refuse(context: Context) -> Change | None:
    is_waste = context.after.lower in _REFUSE_AFTER
    return Change(tag=NOUN) if is_waste else _verb_or_noun(context)


def _bass(context: Context) -> Change | None:
    """Tell music from fish."""
    return None if context.near(_FISH, 4) else Change(tag=ADJECTIVE)


def _polish(context: Context) -> Change | None:
    """Tell a command from the language, which misaki knows by its capital."""
    is_command = context.begins and context.after.tag in ("DT", "PRP$", "PRP")
    return Change(alias="polish") if is_command else None


def _resume(context: Context) -> Change | None:
    """Tell the document from the verb."""
    is_noun = context.before.tag in ("DT", "PRP$", "JJ", "POS")
    is_noun &= context.tag.startswith(("NN", "JJ"))
    return Change(phonemes=RESUME) if is_noun else None


def _axes(context: Context) -> Change | None:
    """Tell tools, which sound like a verb to misaki, from lines of a graph."""
    return Change(tag=BASE_VERB) if context.near(_TOOLS, 3) else None


def _number(context: Context) -> Change | None:
    """Tell the comparative of "numb" from a count."""
    before = context.before.lower
    compares = context.after.lower == "than" and context.before.tag[:2] not in (
        "DT",
        "JJ",
        "PR",
        "NN",
    )
    feels = before in _GET | _FEEL and context.after.tag != "CD"
    again = before == "and" and context.at(-2).lower == "number"
    follows = context.after.lower == "and" and context.at(2).lower == "number"
    return Change(phonemes=NUMBER) if compares or again or (feels and follows) else None


def _crooked(context: Context) -> Change | None:
    """It has two syllables, unless somebody crooked a finger."""
    is_verb = context.after.tag in ("DT", "PRP$")
    return None if is_verb else Change(tag=ADJECTIVE)


_VERBS_OR_NOUNS = word_set(
    "abstract abuse address advocate affect associate attribute combine compound compress conduct "
    "conflict conserve console contest contract contrast converse convert convict coordinate "
    "defect delegate desert digest discount document duplicate escort estimate excuse export "
    "extract graduate house import increase insert insult isolate list misuse object overdose "
    "permit produce progress project rebel record reject relay separate supplement survey suspect "
    "transfer transplant transport update upload wind"
)
_VERBS_OR_ADJECTIVES = word_set(
    "alternate appropriate approximate articulate deliberate elaborate intimate moderate perfect "
    "precipitate present subject"
)
# "Approximate location": at the beginning, rather an adjective than a command.
_BEFORE_NOUNS = word_set("alternate approximate appropriate deliberate elaborate intimate")
_RULES: dict[str, Callable[[Context], Change | None]] = {
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
    "tears": _tear,
    "invalid": _invalid,
    "refuse": _refuse,
    "bass": _bass,
    "polish": _polish,
    "resume": _resume,
    "axes": _axes,
    "number": _number,
    "crooked": _crooked,
}
_RULES |= dict.fromkeys(_VERBS_OR_NOUNS, _verb_or_noun)
_RULES |= dict.fromkeys(_VERBS_OR_ADJECTIVES, _verb_or_adjective)
_RULES |= dict.fromkeys((f"{word}s" for word in _VERBS_OR_NOUNS), _verb_in_s)


def changes(words: Sequence[Word]) -> dict[int, Change]:
    """Return the changes by the index of their word."""
    changed = {}
    for index, word in enumerate(words):
        rule = _RULES.get(word.lower)
        change = rule(Context(words, index)) if rule else None
        if change is not None:
            changed[index] = change
    return changed
