"""Words that are only spoken rightly within one phrase: "0.5 – 1 mg", "Henry VIII", "Rm. 302".

The TTS engine gets phrase by phrase, so its text rules cannot see what stands in another phrase:
"0.5 –" and "1 mg" are two doses, "Henry" and "VIII" a name and a number. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_WORDS = 40  # a phrase that is longer may be cut anywhere: "1 / 2 / 3 / ..." has no end

_OPENERS = "\"'“‘([{*_`~"
_CLOSERS = "\"'”’)]}*_`~"
_DASHES = _words("- – — − --")
# Between two numbers, or a number and a unit: with spaces around them.
_BETWEEN_NUMBERS = _words("x X × · * : ^") | _DASHES
# They compare or divide whatever stands on both sides; "Smith v. Jones" are two parties.
_BETWEEN_ANY = _words("/ ÷ + = < > ≤ ≥ ≪ ≫ ≠ ≈ ± ~ <= >= =< => != == << >> +/- -> → ⇒ v. vs.")
_DAYS_AND_MONTHS = re.compile(
    r"(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\.?"
    r"|noon|midnight|[ap]\.?m\.?",
    re.I,
)
_NUMBER_FIRST = re.compile(r"[-–−+±<>≤≥~≈(#]*[$£€¥₹]?[-–−]?\.?[\d½¼¾⅓⅔⅛⅜⅝⅞]|\([a-z]\)")
_SIGN_AND_NUMBER = re.compile(r"[-–—−/:x×±<>≤≥=]+[$£€]?\.?\d")
_ENDS_WITH_SIGN = re.compile(r"\d\S*[-–—−/×]$|\dx$")
_HAS_DIGIT = re.compile(r"[\d½¼¾⅓⅔⅛⅜⅝⅞]")
_STOP = re.compile(r"[.,;:!?…]$")

# Before a number, a Roman numeral or a single capital: "Rm. 302", "Chap. IV", "Apt. C".
_LABELS = _words(
    "p pg pp pgs ch chap chs art arts para paras par sec secs sect subsec cl fig figs eq eqs exh"
    " app vol vols bk pt ver rev rm rms apt ste bldg flr fl ext acct rte rt hwy est ca ser tel ph"
    " amend wt ht temp nos no cert reg inv ord stat ex ctrm crtrm doc dkt dwg l ll fn ep eps div"
    " lvl prob sched dist resp"
)
# Those that are words, too: "This is my app. I like it."
_LABELS_AND_WORDS = _words("art app par fig reg rev ser ext temp no stat ex doc l prob")
_MONTHS = _words("jan feb mar apr jun jul aug sep sept oct nov dec")
# In the middle of a sentence, before a word in lower case or a number.
_SHORT_WORDS = _words(
    "approx avg max misc incl excl esp resp appt acct amt qty tel ref hr hrs yrs pts ed eds orig"
    " min mgr asst attn mfg dept depts govt univ assn bros viz cf blvd ave rd ln pkwy hwy sq bldg"
    " tab tabs cap caps mfr pls ingr lg med sm pkg pkgs pkt doz ppl pt hx dx"
)
_SHORT_UNITS = _words(
    "in ft lb lbs oz hr hrs min mins sec secs yr yrs yd mi gal tsp tbsp wk mo cu sq fl qt"
)

_ROMAN = re.compile(r"[IVXLCDM]{2,}[A-E]?[a-e]?\d?(?:[-–/.][IVXLCDMA-E]+[A-Ea-e]?)*")
_ROMAN_LETTER = re.compile(r"[IVX](?:[-–/][IVXLCDM]+[A-Ea-e]?)*[A-E]?")
_LOWER_ROMAN = re.compile(r"[ivxl]+(?:[-–][ivxl]+)?")
_COUNTED = re.compile(
    r"(?:war|chapter|part|act|type|phase|volume|section|book|level|appendix|article|class|stage"
    r"|scene|bowl|title|grade|episode|factor|count|amendment|nerve|schedule|tier|category|group"
    r"|division|region|annex|figure|table|canto|page|clause|paragraph|protocol|mark|series|unit"
    r"|exhibit|zone|form|option|step|round|session|lesson|module|nyha|cn|asa)(?:s|es)?",
    re.I,
)
_MONARCHS = _words(
    "Henry Louis George Elizabeth Charles James William Edward Richard Philip Napoleon Frederick"
    " Peter Ivan Nicholas Catherine Alexander Leopold Pius Paul John Benedict Ferdinand Francis"
    " Gustav Constantine Leo Gregory Mary Victor Wilhelm"
)
_NEW_SENTENCE = re.compile(
    r"[\"'“(]*(?:He|She|It|They|We|You|I|His|Her|Its|Their|The|This|That|These|Those|There|Then|In"
    r"|On|At|After|Before|When|While|But|And|So|As|If|For|From|By|Who|What|Was|Is|Did|A|An)\b"
)
_RANKS = _words("King Queen Pope Emperor Empress Tsar Czar Prince Sultan Kaiser Saint")

# Words before a number that is read digit by digit ("the last four are 8812"), and what may stand
# between. The engine's own lists are in engines/tts/text, which the gateway must not import.
# tests/spoken/test_spoken.py speaks each reference line whole and in phrases, and compares both.
_DIGIT_LABELS = _words(
    "pin pins ssn security ext extension acct account passcode password zip routing card serial"
    " badge mrn record confirmation reference tracking code press dial call text ring member policy"
    " id voicemail otp error box cpt npi ndc hotline combination keypad pager bleep beeper fax"
    " number digits four three six emergency emergencies"
)
_FILLERS = _words(
    "number numbers no codes code digits is are was were of the your in with for to my ssn account"
    " card id on that at line ends ended ending or and #"
)
_DIGITS = re.compile(r"[#(+–-]*(?:\d{3}|0\d|\d{2}-\d{3})")
# Words that decide how "90/60", "4/5" or "1:10" is read.
_RATIO_LABELS = re.compile(
    r"bp|pressure|systolic|scor(?:e|ed|es)|rat(?:e|ed|ing)|pain|gcs|apgar|grade[sd]?|strength|power"
    r"|quiz|exam|test|ratios?|odds|dilut\w+|proportions?|titers?|scale|mix(?:ed|ture)?"
    r"|concentration|epinephrine|adrenaline|solution|bleach|resin",
    re.I,
)
_RATIO = re.compile(r"\d+[/:]\d")
# Words that decide whether "350 F" is a temperature, and "45'" are minutes.
_TEMPERATURE_LABELS = re.compile(
    r"preheat\w*|bake[sd]?|roast\w*|ovens?|temp(?:erature)?s?|fever\w*|febrile|thermostat", re.I
)
_TEMPERATURE = re.compile(r"[-−]?\d+(?:\.\d+)?[CF]?\b")
_MINUTE_LABELS = re.compile(
    r"goals?|scored|booked|penalty|bake|boil|simmer|roast|stoppage|equali[sz]er|steep|knead", re.I
)
_MINUTES = re.compile(r"\d{1,2}'")
# A word that decides how a number is read, the number, and the words from one to the other.
_NEAR = (
    (_RATIO_LABELS, _RATIO, 4),
    (_TEMPERATURE_LABELS, _TEMPERATURE, 6),
    (_MINUTE_LABELS, _MINUTES, 5),
)
# Before a code of letters and digits: "Flight UA 482", "winds NW", "the low 120s".
_CODE_LABELS = _words(
    "flight flights room rooms suite rule rules route highway interstate bus train building gate"
    " form forms section sections valve pump channel locker unit model bed ward track bay class"
    " course exit title article code division line hall boeing airbus tank motor alarm block cell"
    " zone docket bill order port courtroom page document drawing item wind winds low mid high"
    " upper early late takes took lasts lasted pt"
)
# Before a day that is written "5/1".
_DAY = re.compile(r"\(?\d{1,2}/\d{1,2}\b(?!/)")
_DAY_LABELS = _words(
    "on by until till due since dated after before from thru through of date dates starting starts"
    " start begin begins ending ends end effective closed open opens expire expires exp admitted"
    " discharged arrive arrives arrived departs seen you born visit dob lmp meeting party monday"
    " tuesday wednesday thursday friday saturday sunday"
)


def binds(words: Sequence[str], index: int) -> bool:
    """Return whether `words[index]` and the word after it may belong together.

    `words` are those of the phrase as far as they are known, separated by white space. What
    depends on a word that is not known yet counts as belonging together.
    """
    if len(words) > MAX_WORDS:
        return False
    return (
        _is_around_sign(words, index)
        or _is_abbreviation_before_number(words, index)
        or _is_before_roman_numeral(words, index)
        or _is_between_label_and_digits(words, index)
        or _is_between_label_and_code(words, index)
        or any(_is_between_label_and_number(words, index, *near) for near in _NEAR)
    )


def _core(word: str) -> str:
    return word.lstrip(_OPENERS).rstrip(_CLOSERS)


def _bare(word: str) -> str:
    return word.strip(_OPENERS + _CLOSERS + ".,;:!?…")


def _at(words: Sequence[str], index: int) -> str | None:
    return words[index] if 0 <= index < len(words) else None


def _is_amount(words: Sequence[str], index: int) -> bool:
    """Whether the word is a number or variable, a unit after a number, a day or a month."""
    word = _at(words, index)
    if word is None or _STOP.search(_core(word).removesuffix(".")):
        return False
    before = _at(words, index - 1)
    return (
        _HAS_DIGIT.search(word) is not None
        or _DAYS_AND_MONTHS.fullmatch(_core(word)) is not None
        or (before is not None and _HAS_DIGIT.search(before) is not None)
        or re.fullmatch(r"\([a-z]\)|[b-z]", word) is not None
    )


def _may_be_amount(word: str | None) -> bool:
    """Whether the word is, or may become, the second number of a range, a ratio or a product."""
    if word is None:
        return True
    return (
        _NUMBER_FIRST.match(word) is not None
        or _DAYS_AND_MONTHS.fullmatch(_bare(word)) is not None
        or word in _BETWEEN_ANY
    )


def _is_around_sign(words: Sequence[str], index: int) -> bool:
    """Whether the phrase would end before or after a sign: 'mg | / kg', '5 – | 10'."""
    word, following = words[index], _at(words, index + 1)
    if word in _BETWEEN_ANY:
        return index > 0
    if word in _BETWEEN_NUMBERS and following not in _DASHES:  # "x - 3 = 4" has a variable
        return _is_amount(words, index - 1) and _may_be_amount(following)
    if following is None:
        return _ENDS_WITH_SIGN.search(word) is not None
    if following in _BETWEEN_ANY:
        return not _STOP.search(_core(word))
    if following in _BETWEEN_NUMBERS:
        return _is_amount(words, index) and _may_be_amount(_at(words, index + 2))
    return _ENDS_WITH_SIGN.search(word) is not None or (
        _is_amount(words, index) and _SIGN_AND_NUMBER.match(following) is not None
    )


def _is_abbreviation_before_number(words: Sequence[str], index: int) -> bool:
    """Whether a full stop only marks an abbreviation: 'Rm. | 302', '5 ft. | 10 in.'."""
    core, following = _core(words[index]), _at(words, index + 1)
    if not core.endswith("."):
        return False
    if core == "I." and index and _bare(words[index - 1]) in _MONARCHS:
        return following is None or not _NEW_SENTENCE.match(following)  # William I. Thomas
    after_number = index > 0 and _HAS_DIGIT.search(words[index - 1]) is not None
    if core == "U.S." and after_number:  # "410 U.S. 113" is a volume and a page
        return following is None or following[:1].isdigit()
    if core == "P.O.":
        return following is None or following.casefold().startswith("box")
    name = re.split("[-–—/]", core[:-1].lower())[-1]  # "2026–Dec. 31"
    next_word = "" if following is None else following.lstrip(_OPENERS)
    if name in _LABELS and (following is None or _can_be_labelled(name, next_word)):
        return True
    if name in _MONTHS:
        return following is None or next_word[:1].isdigit()
    if name in _SHORT_WORDS or (name in _SHORT_UNITS and after_number):
        return following is None or next_word[:1].islower() or next_word[:1].isdigit()
    return False


def _can_be_labelled(name: str, next_word: str) -> bool:
    bare = _bare(next_word)
    if re.match(r"#?(?:[A-Z]{1,3}-?)?\d", next_word) or (_ROMAN.fullmatch(bare) is not None):
        return True
    if name in _LABELS_AND_WORDS:
        return False
    return re.fullmatch(r"[A-Z]\d*|[ivxl]+", bare) is not None and bare != "I"


def _is_before_roman_numeral(words: Sequence[str], index: int) -> bool:
    """Whether the phrase would end before a numeral, or within the name before it."""
    word, following = _core(words[index]), _at(words, index + 1)
    if following is None or not word or _STOP.search(word):
        return False
    bare = _bare(following)
    is_counted = _COUNTED.fullmatch(word) is not None
    is_name = word[0].isupper() and word[1:2].islower()
    if _ROMAN.fullmatch(bare):
        return True
    if is_counted and _LOWER_ROMAN.fullmatch(bare):
        return True
    if _ROMAN_LETTER.fullmatch(bare):
        return is_counted or word in _MONARCHS or (is_name and bare != "I")
    if _ROMAN.fullmatch(word) or _ROMAN_LETTER.fullmatch(word):
        # "II to III" and "IV drip": the next word decides how the numeral is read
        return bare in ("to", "and", "or", "through") or word in ("I", "IV")
    before = _at(words, index - 1)
    if bare in ("to", "and", "or", "through"):
        return False
    if before is not None and word in ("to", "and", "or", "through") and _ROMAN.fullmatch(before):
        return _ROMAN.fullmatch(bare) is not None or bare in ("I", "V", "X")
    if not is_name or not (bare[:1].isupper() and bare[1:2].islower()):
        return False
    if _STOP.search(_core(following)):
        return False
    after = _at(words, index + 2)
    return word in _RANKS or after is None or _ROMAN.fullmatch(_bare(after)) is not None


def _is_between_label_and_digits(words: Sequence[str], index: int) -> bool:
    """Whether digits may follow a word such as "code": 'Your code | is 739154'."""
    start = index
    while start >= 0:
        core = _core(words[start]).rstrip(":")
        if _STOP.search(core.removesuffix(".")) or (
            core.endswith(".") and core[:-1].lower() not in _LABELS
        ):
            return False
        name = core.rstrip(".").lower()
        if name in _DIGIT_LABELS:
            break
        is_keyword = len(core) > 2 and core.isalpha() and core.isupper()  # "Text HELP to 82-474"
        if name not in _FILLERS and not is_keyword:
            return False
        start -= 1
    if start < 0:
        return False
    for following in words[index + 1 :]:
        bare = _bare(following)
        if bare.lower() in _FILLERS or (bare.isupper() and len(bare) > 2 and bare.isalpha()):
            if _STOP.search(_core(following).rstrip(":")):
                return False
            continue
        return _DIGITS.match(following.lstrip(_OPENERS)) is not None
    return not _STOP.search(_core(words[index]).rstrip(":"))


def _is_between_label_and_code(words: Sequence[str], index: int) -> bool:
    """Whether a code or a day may follow a word that decides how it is read: 'Flight | UA 482'."""
    word, following = _core(words[index]), _at(words, index + 1)
    name = word.rstrip(":").lower()
    if _STOP.search(word.rstrip(":")):
        return False
    # "2.3M hits": the noun tells millions from a size
    if name == "c/o" or re.fullmatch(r"\$?\d[\d.,]*[kKmM]", word):
        return True
    if following is None:
        return False
    bare = following.lstrip(_OPENERS)
    if _DAY.match(following) and name in _DAY_LABELS:
        return True
    starts_with_digit = bare[:1].isdigit()
    if name in _CODE_LABELS:
        is_patient = name == "pt"
        return starts_with_digit or is_patient or re.match(r"[A-Z]{1,3}\b", bare) is not None
    return starts_with_digit and re.fullmatch(r"[A-Z]{2,5}", word) is not None


def _is_between_label_and_number(
    words: Sequence[str],
    index: int,
    labels: re.Pattern[str],
    number: re.Pattern[str],
    window: int,
) -> bool:
    """Whether a number may follow a word that decides how it is read: 'Dilute | it 1:10'."""
    for start in range(index, max(-1, index - window), -1):
        if _STOP.search(_core(words[start])):
            return False
        if labels.fullmatch(_bare(words[start])):
            break
    else:
        return False
    end = start + window
    for place, following in enumerate(words[index + 1 : end + 1], start=index + 2):
        is_divided = following.isdigit() and _at(words, place) in (None, "/")
        if number.match(following) or (number is _RATIO and is_divided):
            return True
        if _STOP.search(_core(following)):
            return False
    # most goals and boiling pots have no minutes: no phrase waits for them
    return number is not _MINUTES and len(words) <= end
