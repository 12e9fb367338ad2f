"""Codes: telephone, account, case and model numbers, rooms and rules.

They are read digit by digit or in pairs of digits, and not as quantities. A hyphen in a code is a
pause. Two numbers with a hyphen are a code if they cannot be a range: "23-1045" and "555-0120", but
not "18-65".
"""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import (
    COUNTED_NOUN,
    cardinal,
    digits,
    integer,
    label,
    ordinal,
)
from appliance.engines.tts.text.roman import value
from appliance.engines.tts.text.rule import Match, Rules, rule
from appliance.engines.tts.text.units import UNIT, is_label, is_measure

# Words before a number that is read digit by digit.
_DIGIT_LABELS = (
    r"PINs?|SSN|social security|ext|extension|acct|account"
    r"|(?:numbers?|digits) (?:that )?(?:ending|ends|ended|end)(?: in| with)"
    r"|last (?:four|4|three|six)|passcode|password|access code|zip|zip code|routing|card|serial"
    r"|badge|MRN|record|confirmation"
    r"|reference|tracking|code|press|dial|call|ring|text|member|policy|patient ID|ID|voicemail|OTP"
    r"|error"
    r"|P\.?O\.? box|CPT|NPI|NDC|hotline|combination|keypad|pager|bleep|beeper|fax"
)
_FILLERS = (
    r"(?:\s(?:numbers?|no\.?|codes?|digits|ending|ends|ended|end"
    r"|is|are|was|were|of|the|your|in|with|for|to|my|SSN"
    r"|account"
    r"|card|ID|on|that|at|line|[A-Z]{3,})|:|\s?#)*"
)
# Words before the number of a place, a rule or a vehicle: "Room 101" is one oh one.
_LABELS = (
    r"rooms?|suites?|rules?|flights?|routes?|highways?|interstate|bus|train|building|apartment|gate"
    r"|forms?|sections?|exhibit|valve|pumps?|channel|locker|unit|model|bed|ward|track|bay|class"
    r"|course"
    r"|US|U\.S\.|SR|exit|title|article|code|division|line|hall|boeing|airbus|tank|motor|alarm|block"
    r"|cell|zone|docket|bill|order|port|courtroom|[HS]\.R\.|[HS]\.B\."
)
# Before the ZIP code of an address.
_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ"
    "|NM|NY|NC|ND|OH|OK|OR|PA|PR|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
)
_PAUSE = ", "
# Before two numbers with a hyphen: a code, also where the numbers could be a range.
_NAMED_BEFORE = re.compile(
    r"\b(?:no\.?|number|docket|case|account|claim|file|order|invoice|ticket|lot|batch|serial|id"
    r"|code"
    r"|part|p/n|s/n|document|drawing|page|report|item|law|Pub\. L\.|bulletin|memo|circular"
    r"|resolution|ordinance|patent|badge|policy|protocol|sheet|job|work order|PO|catalog(?:ue)?"
    r"|asset|tag|unit|model)\s?(?:#|is|number|no\.)?\s?$",
    re.I,
)
_WORDS_IN_CODES = re.compile(r"[A-Z]?[a-z]+|[A-Z]{4,}")


def _groups(match: Match) -> str:
    """Read digits group by group, with a pause between groups; a leading '+' is said."""
    plus = "plus " if match[0].startswith("+") else ""
    groups = re.findall(r"\d+", match[0])
    if groups[0] == "1" and len(groups) > 3 and groups[1].endswith("00"):
        words = [f"one {cardinal(groups[1][0])} hundred", *map(digits, groups[2:])]
        return f" {_PAUSE.join(words)} "
    return f" {plus}{_PAUSE.join(map(digits, groups))} "


def _code_groups(match: Match) -> str:
    """Spell groups if letters and digits are mixed in two of them, and they have many digits."""
    groups = match[0].split()
    mixed = sum(bool(re.search(r"\d", group) and re.search("[A-Z]", group)) for group in groups)
    if mixed < 2 or any(map(str.isalpha, groups)) or len(re.findall(r"\d", match[0])) < 8:
        return match[0]
    return _PAUSE.join(map(spelled, groups))


def _labelled_digits(match: Match) -> str:
    numbers = re.split(r"(\s(?:or|and)\s)", match[2])
    return match[1] + "".join(
        part if part.strip().isalpha() else _PAUSE.join(map(digits, re.findall(r"[0-9]+", part)))
        for part in numbers
    )


def _labelled(match: Match) -> str:
    """'Room 101' -> 'Room one oh one', 'Rooms 201-210' -> 'Rooms two oh one to two ten'."""
    numbers = re.sub(r"\s?[-–]\s?", " to ", match[2])
    return match[1] + re.sub(r"\d+", lambda m: label(m[0]), numbers)


def _standard(match: Match) -> str:
    """'ISO 9001:2015' -> 'ISO ninety oh one, twenty fifteen'."""
    return match[1] + _PAUSE.join(label(part) for part in re.findall(r"\d+", match[2]))


def _figure(match: Match) -> str:
    """'Figure 4-2' -> 'Figure four dash two'; 'Figures 4-6' is a range."""
    return f"{match[1]}{label(match[2])} dash {label(match[3])}"


def _regulation(match: Match) -> str:
    """'CFR 1910.147' -> 'CFR nineteen ten point one forty-seven'."""
    return f"{match[1]}{label(match[2])} point {label(match[3])}"


def _numbered(match: Match) -> str:
    return f"number {label(match[1])}"


def _numbered_code(match: Match) -> str:
    """'Order #A-2291' -> 'Order number A-2291': a code with letters is left to its own rule."""
    return f"number {match[1]}"


def spelled(text: str) -> str:
    """'4F7A' -> 'four F seven A': every letter and digit by its name."""
    return " ".join(
        cardinal(char) if char.isdecimal() else char.upper() for char in text if char.isalnum()
    )


def _star_code(match: Match) -> str:
    """'*67' -> 'star six seven', '#31#' -> 'pound three one pound'; '#31' is number 31."""
    keys, number, end = match.groups()
    if "*" not in keys and not end:
        return match[0]
    names = ["star" if key == "*" else "pound" for key in keys]
    return f"{' '.join(names)} {digits(number)}{' pound' if end else ''}"


def _token(match: Match) -> str:
    """Read a code of letters and digits: 'P-2304A' -> 'P twenty-three oh four A'."""
    text = match[0]
    runs = re.findall(r"[A-Za-z]+|\d+|-", text)
    changes = len([run for run in runs if run.isdecimal()])
    letters = [run for run in runs if run.isalpha()]
    is_time = bool(re.fullmatch(r"\d{1,2}[AP]M", text))
    is_words = any(len(run) > 1 and run.islower() for run in letters)
    before = match.string[: match.start()]
    if is_words or is_time or is_measure(text, before):
        return text
    if re.fullmatch(r"\d{2,3}K", text) and not is_label(before):
        return text  # thousands
    if _HYPHENATED_MEASURE.match(match.string, match.start()) and not is_label(before):
        return text
    if (changes >= 3 and "-" not in text) or re.search(r"\d[A-Z]+\d+[A-Z]", text):
        return f" {_PAUSE.join(spelled(part) for part in text.split('-'))} "
    parts = []
    for part in text.split("-"):
        words = []
        for run in re.findall(r"[A-Za-z]+|\d+", part):
            if run.isdecimal():
                words.append(label(run))
            elif len(run) > 2 and "-" not in text:
                words.append(run)  # "FAT32", "COVID19": the G2P knows which are words
            elif _WORDS_IN_CODES.fullmatch(run) and len(run) > 1:
                words.append(run)
            else:
                words.append(" ".join(run.upper()))
        parts.append(" ".join(words))
    # A pause helps in long codes, and would split "COVID nineteen".
    return (_PAUSE if len(parts) > 2 else " ").join(parts)


def _plural_token(match: Match) -> str:
    """'W-2s' -> 'W twos', '747s' -> 'seven forty-sevens', 'B-52s' -> 'B fifty-twos'."""
    letters = f"{' '.join(match[1])} " if match[1] else ""
    number = label(match[2])
    plural = "es" if number.endswith("six") else "s"
    if number.endswith("y"):
        number, plural = number[:-1], "ies"
    return f"{letters}{number}{plural}"


def _pair(match: Match) -> str:
    """Read two numbers with a hyphen as a code if they cannot be a range."""
    low, high = match[1], match[2]
    if any(len(number) > 1 and number.startswith("0") for number in (low, high)):
        return _groups(match)
    if low == high or (low, high) in (("24", "7"), ("7", "11")):  # "50-50"
        return f"{cardinal(low)} {cardinal(high)}"
    is_range = abs(len(high) - len(low)) <= 1 or (high.endswith("0") and int(low) < int(high))
    too_long = max(len(low), len(high)) > 4 and int(low) >= int(high)
    named = _NAMED_BEFORE.search(match.string, 0, match.start())
    if named or too_long or not is_range:
        return _groups(match)
    return match[0]


def _plurals(match: Match) -> str:
    return _plural_token(match) if match[2] else f"{label(match[4])}s"


def _wireless(match: Match) -> str:
    """'802.11ac' -> 'eight oh two point eleven A C'."""
    return f"eight oh two point {cardinal(match[1])} {' '.join(match[2].upper())}".rstrip()


def _subsections(match: Match) -> str:
    """'403(b)' -> 'four oh three B', '6(1)(f)' -> 'six one F', '2(ii)' -> 'two two'."""
    parts = re.findall(r"\((\w+)\)", match["subs"])
    words = [
        cardinal(part)
        if part.isdecimal()
        else cardinal(value(part))
        if len(part) > 1 and value(part)
        else " ".join(part.upper())
        for part in parts
    ]
    letter = f" {match['letter'].upper()}" if match["letter"] else ""
    return f"{label(match['number'])}{letter} {' '.join(words)} "


def _case_number(match: Match) -> str:
    """'2:21-cv-00017' -> 'two, twenty-one, C V, zero zero zero one seven'."""
    kind = " ".join(match[3].upper())
    return f"{cardinal(match[1])}, {cardinal(match[2])}, {kind}, {label(match[4])}"


def _version(match: Match) -> str:
    """'2.10.3' -> 'two point ten point three'."""
    return " point ".join(integer(part) for part in match[0].split("."))


def _docket(match: Match) -> str:
    """'22-CR-105' -> 'twenty-two C R one oh five'."""
    return f"{cardinal(match[1])} {' '.join(match[2].upper())} {label(match[3])}"


def _series(match: Match) -> str:
    return f"F {ordinal(match[1])}" if match[0].startswith("F") else f"{ordinal(match[1])}"


def _house(match: Match) -> str:
    """'221B Baker' -> 'two twenty-one B Baker', '1600 Pine Ave' -> 'sixteen hundred Pine Ave'."""
    letter = f" {match[2]}" if match[2] else ""
    return f"{label(match[1])}{letter}"


# "a 2-L bottle", "a 12-V supply"
_HYPHENATED_MEASURE = re.compile(
    r"\d+-(?:[LVW]\s[a-z]|A\s(?:fuse|breaker|circuit|outlet|supply|charger|socket|plug|current|motor))"
)
_LABEL_LIST = r"\d{3,}(?:(?:\s?[-–]\s?|,\s(?:and\s|or\s)?|\s(?:and|or|to|through)\s)\d{3,})*"
_NOT_A_UNIT = rf"(?!\s?(?:{UNIT})|{COUNTED_NOUN}|[\w%]|\.\d|-\d|,\d)"

CODES: Rules = (
    rule(r"\b0[xX][0-9A-Fa-f]+\b", lambda m: spelled(m[0])),
    # hexadecimal addresses and bank accounts
    rule(
        r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b",
        lambda m: _PAUSE.join(spelled(p) for p in re.split("[:-]", m[0])),
    ),
    rule(
        r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){3,7}(?:\s?[A-Z0-9]{1,4})?\b",
        lambda m: _PAUSE.join(
            spelled(p) for p in (m[0].split() if " " in m[0] else re.findall(".{1,4}", m[0]))
        ),
    ),
    rule(r"\b(\d{1,2}):(\d{2})-([a-z]{2})-(\d+)(?!\w)", _case_number),
    rule(r"(?<![\w-])(\d{2})-([A-Za-z]{2,3})-(\d+)(?!\w)", _docket),
    rule(r"(?<=[A-Za-z])#(?=\d)", " # "),  # "ID#4821"
    # "ending -4417": the dash stands for the digits before
    rule(r"(?i:(\bend(?:ing|s|ed)(?:\s(?:in|with))?\s))[-–](?=\d{3,}\b)", r"\1"),
    # telephone numbers
    rule(r"(?<=\d{3}[-. ]\d{4})\s?x(?=\d{1,5}\b)", " extension "),
    # groups of letters and digits: "1Z 999 AA1 01 2345 6784"
    rule(
        r"\b(?=(?:\d[\dA-Z ]*?[A-Z]|[A-Z]))[A-Z\d]{1,6}(?: [A-Z\d]{1,6}){3,}\b(?![.,]\d|-)",
        _code_groups,
    ),
    # a plus sign and at least seven digits, with one kind of separator
    rule(
        r"\+(?=(?:[ ()-]{0,2}\d){7})\d{1,3}[ -]?(?:\(\d+\)\s?\d*|\d+)(?:[ -]\d+)+(?!\w|\.\d)",
        _groups,
    ),
    rule(r"\+\d{1,3}(?:\.\d+){3,}(?!\w)", _groups),
    rule(r"(?<![\w.-])(?:1[-. ])?(?:\(\d{3}\)\s?|\d{3}[-. /])\d{3}[-. ]\d{4}(?![\w-])", _groups),
    rule(r"\b1-(8\d\d)-(?=[A-Z])", lambda m: f"one, {cardinal(m[1])}, "),
    rule(r"\(0\d{2,4}\)\s?\d{3,4}[ -]?\d{3,4}(?![\w-])", _groups),
    rule(rf"(?:(?<=\b(?:{_STATES}) )|(?<=D\.C\. ))\d{{5}}(?:-\d{{4}})?(?![\w,.]\d)", _groups),
    rule(r"(?<![\w.-])0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}(?![\w-])", _groups),
    rule(r"(?<![\w.,/-])0\d{1,4}/\d{5,}(?![\w/-])", _groups),
    rule(
        r"(?i:(\bemergenc(?:y|ies)(?:\s(?:numbers?|calls?|line|services))?(?:\sis|:|,)?\s))"
        rf"(\d{{3}}){_NOT_A_UNIT}(?!\s[a-z])",
        lambda m: f"{m[1]}{digits(m[2])}",
    ),
    rule(r"(?<![\w.,-])\d{3}-\d{4}(?![\w-]|[,.]\d)", _groups),
    rule(r"(?<![\w.,-])(?:555[ .]\d{4}|\d{3} 0\d{3})(?![\w-]| \d)", _groups),
    rule(r"(?<![\w.,-])\d{4}(?:[ -]\d{4}){2,}(?![\w-])", _groups),
    rule(r"(?<![\w.,-])\d{2}(?: \d{2}){3,}(?![\w-])", _groups),
    rule(
        rf"\b((?i:{_DIGIT_LABELS})\b\.?{_FILLERS}\s)(\d{{3,}}(?:[ -]\d{{2,4}})*"
        rf"(?:\s(?:or|and)\s\d{{3,}})*|0\d+|\d{{2}}-\d{{3,}}){_NOT_A_UNIT}",
        _labelled_digits,
    ),
    rule(r"(?<![\w.,])\d+(?:\.\d+){2,}(?!\w|[.,]\d)(?!\s?[€£])", _version),
    # groups of digits
    rule(r"(?<![\w.,/'$£€-])\d+(?:-\d+)*-[A-Z]{1,2}(?![\w-])", _token),
    rule(r"(?<![\w.,-])\d+(?:-\d+){2,}(?![\w-]|[,.]\d)", _groups),
    rule(
        rf"(?<![\w.,:/$£€%-])(\d+)-(\d+){_NOT_A_UNIT}(?!/|\s\d+/\d|\s(?:thousand|million|billion"
        rf"|trillion)\b)",
        _pair,
    ),
    # law
    rule(r"\b(?:F\.\s?)([23])d\b", _series),
    rule(r"(?<=\.\s)([23])d\b", _series),
    rule(
        r"(?<![\w.,])(?<!\d[–-])(?P<number>\d+)(?P<letter>[A-Za-z]?)(?P<subs>(?:\((?:\d{1,2}|[a-zA-Z]"
        r"|[ivx]{2,5})\))+)\s?",
        _subsections,
    ),
    rule(r"(?<![\w.,])(401|403|457)([kb])(?!\w)", lambda m: f"{label(m[1])} {m[2].upper()}"),
    rule(r"(?<=\d)\s?G(?=\s(?:needle|IV|catheter|cannula|wire)s?\b)", " gauge"),
    # the parts of a section count by themselves: "§ 240.10b-5", "Section 4.10"
    rule(
        r"(?<=\b[Ss]ection\s)(\d+)\.(\d+)([a-z]?)(?:-(\d+))?(?![\w-]|[.,]\d)",
        lambda m: " ".join(
            [f"{label(m[1])} point {label(m[2])}", *(part.upper() for part in m[3])]
            + ([label(m[4])] if m[4] else [])
        ),
    ),
    # labels
    rule(r"(?<![\w.,])(\d{2,3})(?=\sU\.S\.\s\d)", lambda m: label(m[0])),
    rule(r"(?<=\d\sU\.S\.\s)(\d{3})(?![\w.,]\d|\w)", lambda m: label(m[0])),
    rule(
        r"\b((?:ISO|IEC|DIN|EN|ASTM|ANSI|NFPA|UL|IEEE)\s)(\d{3,5}(?:[:-]\d+)*)(?![\w.,]\d)",
        _standard,
    ),
    rule(
        rf"\b((?i:{_LABELS})\s(?:#\s?|[A-Z]{{2}}\s)?)({_LABEL_LIST}){_NOT_A_UNIT}"
        rf"(?!\s?[A-Za-z]?[/(])",
        _labelled,
    ),
    rule(r"#\s?(\d{4,})(?![\w.,]\d)", _numbered),
    rule(r"(?<!\w)#(?=[0-9A-Fa-f]{6}\b)(\w{6})", lambda m: f"hash {spelled(m[1])}"),
    rule(r"(?<!\w)#([A-Z]{1,4}-?\d)", _numbered_code),
    rule(
        r"(?<![\w.,$£€/:-])(\d{3,4})([A-Z]?)(?=\s(?:[NSEW]\.?\s)?(?:[A-Z][a-z]+\s){1,2}(?:Street"
        r"|Avenue|Road|Boulevard|Drive|Lane|Court|Place|Way|Terrace|Circle|Crescent|Parkway|Highway|Square)\b)",
        _house,
    ),
    rule(r"(?<![\w.,$£€/:-])(\d{3})([A-Z])(?=\s[A-Z][a-z])", _house),
    rule(r"\b((?:Figure|Table|Equation|Exhibit|Drawing)\s)(\d+)-(\d+)(?![\w-])", _figure),
    rule(r"\b(C\.?F\.?R\.?\s(?:section\s)?)(\d{2,4})\.(\d+)", _regulation),
    # keys of a telephone
    rule(
        rf"(?<![\w*])([*#]{{1,2}})(\d{{2,3}})(?:(#)|(?![\w*#]|[.,]\d)){_NOT_A_UNIT}(?<!^#\d\d)",
        _star_code,
    ),
    rule(r"(?i:(?<=\bpress )|(?<=\bdial )|(?<=\bhit ))\*", "star "),
    rule(r"(?i:(?<=\bpress )|(?<=\bdial )|(?<=\bhit ))#", "pound "),
    rule(r"(?<=[a-z\d])#(?!\w)", " pound"),
    rule(r"(?<=[a-z,] )#(?=[\s.,;:)\"']|$)", "pound"),
    rule(r"(?i:(?<=\bthen )|(?<=\bby )|(?<=\bthe )|(?<=\bor ))\*(?=[\s.,;:)]|$)", "star"),
    # wireless networks: "802.11ac"
    rule(r"\b802\.(\d+)([a-z]{0,2})\b", _wireless),
    # "214-1AG40": a letter between digits
    rule(
        r"(?<![\w.,/'$£€-])\d+-\d+[A-Z]{1,3}\d+(?:-[A-Z\d]+)*(?![\w-]|[.,]\d)",
        _token,
    ),
    rule(
        r"(?<![\w.,/'$£€:-])(?:([A-Z]{1,3})-?(\d{1,3})|(?<=\b)()(7[0-8]7|3[0-8]0))s\b(?!/)",
        _plurals,
    ),
    # model and serial numbers
    # three groups or more: "315-2EH14-0AB0"; "12-JAN-2026" is a date
    rule(
        r"(?<![\w.,/'$£€-])(?!\d{1,2}-[A-Z]{3}-)(?=[A-Z\d-]*\d[A-Z])(?=[\dA-Z-]*\d)"
        r"[A-Z\d]+(?:-[A-Z\d]+){2,}(?![\w-]|[.,]\d)",
        _token,
    ),
    rule(r"(?<![\w.,/'$£€-])\d{3,4}[A-Z](?![\w'-]|[.,]\d)", _token),
    rule(
        r"(?<![\w.,/'$£€-])(?=[A-Za-z\d-]*\d)(?=[\d-]*[A-Z])(?:[A-Z]{1,5}|\d{1,4}[A-Z])(?:-?"
        r"(?:\d+|[A-Z]{1,3}))*-?(?:\d+[A-Za-z]?|[A-Z])(?![\w'+]|-[\w]|[.,/:]\d)",
        _token,
    ),
)
