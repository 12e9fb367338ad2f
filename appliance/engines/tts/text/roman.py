"""Roman numerals of any value, where they count: "Chapter XXI", "stage IIIB", "Henry VIII"."""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.tts.text.numbers import cardinal, ordinal
from appliance.engines.tts.text.rule import Match, Rules, rule, words

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_CANONICAL = re.compile(
    r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})", re.IGNORECASE
)

# Words after which a Roman numeral is a cardinal.
COUNTED: Final = words(
    "war chapter part act type phase volume section book level appendix article class stage scene"
    " bowl title grade episode factor count amendment nerve schedule tier category group division"
    " region annex figure table canto page pages clause paragraph protocol lead mark series vatican"
    " apollo generation unit exhibit item order zone area form rank angiotensin bipolar band cn"
    " pillar model plan option step ring question complex interferon collagen rule canon psalm"
    " convention directive corps game round session lesson module area subtype sign day"
    " digit finger toe ray"
    " metacarpal metatarsal div team gate"
)
_OFTEN_ROMAN = frozenset(
    words(
        "digit ray finger toe metacarpal metatarsal"
        " chapter part act phase volume section book appendix article stage scene title factor"
        " count amendment nerve schedule tier category type class cn nyha"
    )
)
_LETTER_PAIRS = frozenset(words("CC CD CV DC CM MM MC MD MI DI LI CI CL DL C D L M MIX"))
# Words that are rarely names before a lone I: "the part I liked" is not part one.
_LONE_I_AFTER = re.compile(
    r"(?:[.,;:!?)]|$|\s(?:errors?|diabetes|trials?|stud(?:y|ies)|cancer|disease|evidence|reactions?"
    r"|injur(?:y|ies)|drugs?|recall|device|collagen|hypersensitivity|restriction|restaurants?|and"
    r"|or|to|of|is|was|in|patients?|tumou?r|interferon|respiratory|muscle|fibers)\b)"
)
# "a grade IV/VI murmur" is a score
_IS_SCORE = re.compile(r"\s(?:\w+\s)?murmur")
# Names after which a Roman numeral is an ordinal.
MONARCHS: Final = frozenset(
    words(
        "Henry Louis George Elizabeth Charles James William Edward Richard Philip "
        "Napoleon Frederick Peter Ivan Nicholas Catherine Alexander Leopold Pius Paul "
        "John Benedict Ramses Ferdinand Francis Harald Margrethe Gustav Christian Otto "
        "Constantine Leo Clement Gregory Mary Victor Wilhelm Haakon Olav Carl Urban "
        "Innocent Julius Sixtus Boniface Rameses Ptolemy Cleopatra Darius Alfonso Umberto "
        "Baldwin Albert Ramesses Thutmose Amenhotep Seti Xerxes Cyrus Mehmed Murad Selim "
        "Suleiman Hussein Abdullah Hassan Mohammed Juan Felipe Sigismund Casimir Stephen Robert "
        "Malcolm Margaret Frederik Ludwig Maximilian Joseph Franz Karl Pedro Manuel Afonso "
        "Kamehameha Celestine Callixtus Eugene Adrian Honorius Gelasius Justinian Theodosius "
        "Basil Menelik Rama Nero Claudius Edgar Edmund Ethelred Anne "
    )
)
_RANK = r"(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Prince|Sultan|Kaiser|Saint)"
_NUMERAL = r"[IVXLCDM]+"
# Also initialisms and words, so they count only after a word of `COUNTED`.
_AMBIGUOUS = frozenset(
    words("I V X C D L M XX XXX CC CD CV DC CM MM MC MD MI DI LI CI CL DL XL LV MIX DIM MIL")
)
_IV_IS_A_DRIP = re.compile(
    r"\s(?:drip|fluids?|line|lines|access|push|bag|bags|site|antibiotics?|pump|catheter|dose|doses"
    r"|saline|infusion|bolus|medication|meds|therapy|pole|tubing|set|contrast|fentanyl|morphine"
    r"|push|cannula|insulin|potassium|heparin|needle|nurse|team|solution|is in|was placed|now|over"
    r"|every|once|twice|daily|or)\b"
)
# After the numeral of a monarch: "Elizabeth I, queen of England", "James I!"
_ENDS_NAME = re.compile(r"\sof\b|[,.;:!?)\"]|\s*$")
_NEW_SENTENCE = re.compile(
    r"\.[)\"']*(?:\s*$|\s+(?:[a-z\d(\"]|(?:He|She|It|They|We|You|I|His|Her|Its|Their|The|This|That"
    r"|These|Those|There|Then|In|On|At|After|Before|When|While|But|And|So|As|If|For|From|By|Who"
    r"|What|Was|Is|Did|A|An)\b))"
)
_NOT_A_NAME = frozenset(
    words(
        "Start Give An A The Place Insert Hang Check Flush Remove Run Stop Use Via By And "
        "Or With No This Their His Her New Old Your My Our Is Are In On To For Push Begin "
        "Set Get Need Change Switch Keep Continue Administer Prepare Order Take Replace "
        "Record Note Then If When After Before "
    )
)


def value(numeral: str) -> int:
    """Return the value of a Roman numeral, or 0 if it is not a canonical one: 'XIV' -> 14."""
    if not numeral or not _CANONICAL.fullmatch(numeral):
        return 0
    numbers = [_VALUES[letter] for letter in numeral.upper()]
    following = [*numbers[1:], 0]
    return sum(-n if n < after else n for n, after in zip(numbers, following, strict=True))


def _counted(match: Match) -> str:
    """Read the numerals after a counted word: 'Stages I–IIIB' -> 'Stages one to three B'."""
    word, numerals = match["word"], match["numerals"]
    is_alone = numerals == "I" and word[0].islower()
    if is_alone and not _LONE_I_AFTER.match(match.string, match.end()):
        return match[0]
    if len(numerals) == 1 and not _is_single_numeral(word, numerals):
        return match[0]
    parts = re.split(r"(\s?[–—-]\s?|\s(?:to|and|or|through)\s|,\s(?:and\s|or\s)?|/)", numerals)
    said = []
    for index, part in enumerate(parts):
        if index % 2:
            slash = " out of " if _IS_SCORE.match(match.string, match.end()) else " or "
            said.append(" to " if part.strip() in "–—-" else slash if part == "/" else part)
            continue
        found = re.fullmatch(r"([IVXLCDM]+|[ivxlcdm]+)([A-Ea-e]?\d?)", part)
        # "IIID" is 3 D, and "xiic" is not a number: try the longest numeral first
        while found and (not value(found[1]) or found[1] in _LETTER_PAIRS):
            shorter = found[1][:-1]
            found = (
                re.fullmatch(rf"({shorter})({found[1][-1]}{found[2]})", part)
                if shorter and found[1][-1] in "ABCDEabcde"
                else None
            )
        if not found:
            return match[0]
        said.append(cardinal(value(found[1])) + (f" {found[2].upper()}" if found[2] else ""))
    return f"{word} {''.join(said)}"


def _is_single_numeral(word: str, letter: str) -> bool:
    """Tell "Factor X" and "page v" from "Exhibit C" and "plan V"."""
    if letter.islower():
        return letter in "ivx" and word.lower() in ("page", "pages", "appendix")
    return letter == "I" or (letter in "VX" and word.lower() in _OFTEN_ROMAN)


def _is_initial(match: Match) -> bool:
    """Tell "Charles V. Jones" from the end of a sentence: "It was Charles V. He ruled"."""
    rest = match.string[match.end() :]
    return rest.startswith(".") and not _NEW_SENTENCE.match(rest)


def _named(match: Match) -> str:
    """'Henry VIII' -> 'Henry the eighth', 'Rocky II' -> 'Rocky two'."""
    numeral = match["numeral"]
    number = value(numeral)
    if not number:
        return match[0]
    if len(numeral) == 1 and _is_initial(match):
        return match[0]
    names = match["names"].split()
    of_monarch = names[-1] in MONARCHS or (len(names) > 1 and re.fullmatch(_RANK, names[0]))
    if of_monarch and numeral not in ("C", "D", "L", "M"):
        if numeral != "I" or len(names) > 1 or _ENDS_NAME.match(match.string, match.end()):
            return f"{match['names']} the {ordinal(number)}"
        return match[0]
    # "Extra CLI Options": larger numerals only count after a word of `COUNTED`
    if not set(numeral) <= set("IVX") or numeral in _AMBIGUOUS or names[-1] in _NOT_A_NAME:
        return match[0]
    if numeral == "IV" and _IV_IS_A_DRIP.match(match.string, match.end()):
        return match[0]
    if len(names) == 2 and numeral in ("II", "III", "IV") and names[0] not in _NOT_A_NAME:
        return f"{match['names']} the {ordinal(number)}"
    return f"{match['names']} {cardinal(number)}"


def _alone(match: Match) -> str:
    return cardinal(value(match[0])) if value(match[0]) else match[0]


_WORD = "|".join(rf"[{word[0].upper()}{word[0]}]{word[1:]}" for word in COUNTED)
_ITEM = r"(?:[IVXLCDM]+[A-E]?\d?|[IVX]+[a-e]\d?|[ivxl]+)(?!\w|-\d)"
# A lone I after a comma or a conjunction is the pronoun: "Chapter IV, I think".
_MORE_ITEMS = (
    rf"(?:(?:\s?[–—-]\s?|/){_ITEM}"
    rf"|(?:\s(?:to|and|or|through)\s|,\s(?:and\s|or\s)?)(?!I\b){_ITEM})*"
)

ROMAN: Rules = (
    rule(
        rf"\b(?P<word>(?:{_WORD}|CN|NYHA|ASA)(?:s|es)?) (?P<numerals>{_ITEM}{_MORE_ITEMS})",
        _counted,
    ),
    rule(
        rf"\b(?P<names>(?:[A-Z][\w'’]+ ){{0,2}}[A-Z][a-zà-ÿ]+) "
        rf"(?P<numeral>{_NUMERAL})\b(?![-/]|\.\w|'(?!s\b))",
        _named,
    ),
    rule(
        rf"\b(?P<numeral>{_NUMERAL})(?=(?:st|nd|rd|th)?\s(?:century|centuries|Olympi\w+"
        rf"|Congress)\b)",
        lambda m: ordinal(value(m[0])) if value(m[0]) else m[0],
    ),
    # the items of a list: "(i) rest, (ii) ice"
    rule(r"\((i{2,3}|iv|vi{1,3}|ix)\)", lambda m: f"({cardinal(value(m[1]))})"),
    rule(r"\(i\)(?=.*\(two\))", "(one)", re.S),
    rule(
        r"(?<![\w(.'-])(i{1,3}|iv|vi{0,3}|ix)(?=\)\s)",
        lambda m: m[0] if "(" in m.string[: m.start()] else cardinal(value(m[1])),
    ),
    # never a word or an initialism
    rule(
        r"(?<![\w.&/-])(?:X{0,2}(?:VI{2,3}|I{2,3}|XIV|XVI{0,3}|XI{1,3}|XIX))(?![\w&/'-]|\.\w)",
        _alone,
    ),
)
