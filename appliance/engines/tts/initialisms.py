"""Initialisms, single letters and names that misaki 0.9.4 reads wrongly. No I/O.

misaki reads "COPD" as the past tense of "cop", and "MI" and "OR" as words. Here, a word in capitals
is spelled unless people say it as a word. Text that is all in capitals is left to misaki, except
for words that mean only one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from appliance.engines.tts.homographs import Change
from appliance.engines.tts.word_context import Word

# As people in hospitals and industry say them. Phonemes: American, British.
SAID_AS_WORDS = {
    "BIPAP": ("bˈIpæp", "bˈIpap"),
    "CABG": ("kˈæbɪʤ", "kˈabɪʤ"),
    "CAPTCHA": ("kˈæpʧə", "kˈapʧə"),
    "CAUTI": ("kˈWTi", "kˈWti"),
    "CLABSI": ("klˈæbsi", "klˈabsi"),
    "CPAP": ("sˈipæp", "sˈiːpap"),
    "ESC": ("əskˈAp", "ɪskˈAp"),
    "GERD": ("ɡˈɜɹd", "ɡˈɜːd"),
    "HEPA": ("hˈɛpə", "hˈɛpə"),
    "JCAHO": ("ʤˈAkO", "ʤˈAkQ"),
    "JSON": ("ʤˈAsən", "ʤˈAsən"),
    "LOTO": ("lˈOTO", "lˈQtQ"),
    "MRSA": ("mˈɜɹsə", "mˈɜːsə"),
    "NICU": ("nˈɪkju", "nˈɪkjuː"),
    "NIOSH": ("nˈIɑʃ", "nˈIɒʃ"),
    "NSAID": ("ˈɛnsˌAd", "ˈɛnsˌAd"),
    "PACU": ("pˈækju", "pˈakjuː"),
    "PICU": ("pˈɪkju", "pˈɪkjuː"),
    "ROSC": ("ɹˈɑsk", "ɹˈɒsk"),
    "SBAR": ("ˈɛsbˌɑɹ", "ˈɛsbˌɑː"),
    "SCADA": ("skˈAdə", "skˈAdə"),
    "SIRS": ("sˈɜɹz", "sˈɜːz"),
}
# Names after their letters were folded, in lower case. Phonemes: American, British.
NAMES = {
    "huynh": ("hwˈɪn", "hwˈɪn"),
    "nguyen": ("nwˈɪn", "nwˈɪn"),
    "pham": ("fˈɑm", "fˈɑːm"),
    "tran": ("tɹˈɑn", "tɹˈɑːn"),
    "twm": ("tˈʊm", "tˈʊm"),
}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Spelled, although there is a word in small letters: in text that is not all in capitals.
SPELLED = _set(
    "ABS AED ARB BAL BUN CO COD DOE ER ETA GI ID LED MI MO MOT NAD NG OD OS PA PE PO POA "
    "PR PSI PUD QA RA RT SI SOB SOP TEE TIA UK US USB UTI WHO"
)
# Also function words. Spelled only after a determiner ("the OR", "our IT").
SPELLED_AS_NOUNS = _set("AM AN AS AT BE BY DO GO HE IF IN IS IT ME MY NO OR SO TO UP WE")
DETERMINERS = _set("the an a our your their his her this that each every main 's")
IT_NOUNS = _set("department support team desk staff system systems service services manager help")
# Words before a letter that names something ("option a", "gate A").
LETTERED = _set(
    "annex answer appendix batch bay bed block building category chamber channel choice class "
    "column corridor cubicle dock door entrance exhibit exit factor gate grade group hall "
    "hepatitis influenza lane level line locker machine option part patient person pier plan "
    "platform point pump room row sample schedule seat section side stage stand step strep suite "
    "table tank team terminal theater theatre track type unit valve variant vitamin ward wing "
    "witness zone"
)
# Their letter stands before a dose or a count, too: "vitamin a 500 units".
LETTERED_SUBSTANCES = _set("factor hepatitis influenza strep vitamin")
BETWEEN_NUMBERS = _set("to - and or point")

SHOUTED_WORDS = 2  # at least this many plain words in capitals
MAX_UNKNOWN_LETTERS = 4  # longer unknown words are left to misaki


def changes(words: Sequence[Word], is_known: Callable[[str], bool]) -> dict[int, Change]:
    """Return the changes by the index of their word.

    `is_known` tells whether misaki's dictionary has a word, in small letters.
    """
    is_shouted = _is_shouted(words, is_known)
    changed = {}
    for index, word in enumerate(words):
        before = words[index - 1] if index else Word("", "")
        rest = words[index + 1 :]
        after = rest[0] if rest else Word("", "")
        change = _single_letter(word, before, rest, is_shouted)
        change = change or _name(word) or _initialism(word, before, after, is_shouted, is_known)
        if change is not None:
            changed[index] = change
    return changed


def _is_shouted(words: Sequence[Word], is_known: Callable[[str], bool]) -> bool:
    """Whether plain words are in capitals: several of them, and more than in small letters."""
    long = [word.text for word in words if len(word.text) > 1 and word.text.isalpha()]
    initialisms = SPELLED | SPELLED_AS_NOUNS | SAID_AS_WORDS.keys()
    shouted = sum(
        text.isupper() and text not in initialisms and is_known(text.lower()) for text in long
    )
    return shouted >= SHOUTED_WORDS and shouted > sum(map(str.islower, long))


def _single_letter(
    word: Word, before: Word, rest: Sequence[Word], is_shouted: bool
) -> Change | None:
    """Tell the letter A from the article."""
    if word.lower != "a":
        return None
    after = rest[0] if rest else Word("", "")
    ends = not any(map(str.isalnum, after.text)) or after.tag in ("CC", "VBZ", "IN", "MD")
    ends |= after.tag == "CD" and (before.lower in LETTERED_SUBSTANCES or not _counts(rest))
    names = before.lower in LETTERED and (ends or word.text == "A")
    spells = word.text == "A" and len(after.text) == 1 and after.text.isupper()
    begins = not any(map(str.isalnum, before.text))
    is_spelled_before = len(before.text) == 1 and before.text in "BCDEFGHJKLMNOPQRSTUVWXYZ"
    inside = word.text == "A" and not begins and not is_shouted and not before.text.istitle()
    inside |= word.text == "A" and bool(before.text) and is_spelled_before  # "flight U A four"
    return Change(letters="A") if names or spells or inside else None


def _counts(words: Sequence[Word]) -> bool:
    """Whether the number at the beginning counts what follows: "12 hour", "5 to 10 minute"."""
    for word in words:
        if word.tag != "CD" and word.lower not in BETWEEN_NUMBERS:
            return word.tag.startswith(("NN", "JJ"))
    return False


def _name(word: Word) -> Change | None:
    phonemes = NAMES.get(word.lower)
    return Change(phonemes=phonemes) if phonemes and word.text[:1].isupper() else None


def _initialism(
    word: Word, before: Word, after: Word, is_shouted: bool, is_known: Callable[[str], bool]
) -> Change | None:
    text = word.text
    if text == "Am" and word.tag.startswith("NN"):
        return Change(tag="VBP")  # "Pan Am"; "AM" in capitals is spelled
    plural = len(text) > 2 and text[-1] == "s" and text[:-1].isupper()
    stem = text[:-1] if plural else text
    if stem == "BiPAP":
        stem = "BIPAP"
    if len(stem) < 2 or not (stem.isupper() and stem.isascii() and stem.isalpha()):
        return None
    if stem in SAID_AS_WORDS:
        return Change(phonemes=SAID_AS_WORDS[stem], plural=plural)
    spelled = Change(letters=stem, plural=plural)
    small = stem.lower()
    if stem in SPELLED_AS_NOUNS:
        names = before.lower in DETERMINERS or (stem == "IT" and after.lower in IT_NOUNS)
        names |= stem == "AM" and before.tag == "CD"  # "eight fifteen AM to three"
        return spelled if not is_shouted and names else None
    if stem in SPELLED:
        return None if is_shouted and is_known(small) else spelled
    if stem[-1] == "S" and len(stem) == MAX_UNKNOWN_LETTERS and is_known(small[:-1]):
        return None if is_known(stem) else Change(alias=small)  # "BEDS", a name to misaki
    if is_known(small) or is_known(stem) or len(stem) > MAX_UNKNOWN_LETTERS:
        return None
    return spelled
