"""Abbreviations, with or without a period. Before numbers: "Rm. 101" becomes "Room 101"."""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.tts.text.rule import Match, Rules, any_of, ends_sentence, rule

# Titles, written with a capital and a period, before a name.
_TITLES = {
    "Dr": "Doctor",
    "Drs": "Doctors",
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Prof": "Professor",
    "Sgt": "Sergeant",
    "Capt": "Captain",
    "Cpt": "Captain",
    "Lt": "Lieutenant",
    "Col": "Colonel",
    "Maj": "Major",
    "Cpl": "Corporal",
    "Pvt": "Private",
    "Cmdr": "Commander",
    "Adm": "Admiral",
    "Gen": "General",
    "Rev": "Reverend",
    "Fr": "Father",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gov": "Governor",
    "Pres": "President",
    "Hon": "Honorable",
    "Det": "Detective",
    "Insp": "Inspector",
    "Supt": "Superintendent",
    "Atty": "Attorney",
    "Amb": "Ambassador",
    "Mme": "Madame",
    "Mlle": "Mademoiselle",
    "Messrs": "Messieurs",
    "Mt": "Mount",
    "Ft": "Fort",
    "Pt": "Point",
}
# With a period, in lower case or with a capital. The period is dropped unless the sentence ends.
_WORDS = {
    "jr": "Junior",
    "sr": "Senior",
    "dept": "department",
    "hosp": "hospital",
    "depts": "departments",
    "govt": "government",
    "univ": "university",
    "assn": "association",
    "inc": "Incorporated",
    "ltd": "Limited",
    "corp": "Corporation",
    "bros": "Brothers",
    "ave": "Avenue",
    "blvd": "Boulevard",
    "rd": "Road",
    "ln": "Lane",
    "pkwy": "Parkway",
    "hwy": "Highway",
    "sq": "Square",
    "bldg": "Building",
    "e.g": "for example",
    "i.e": "that is",
    "etc": "et cetera",
    "vs": "versus",
    "cf": "compare",
    "viz": "namely",
    "a.k.a": "also known as",
    "approx": "approximately",
    "avg": "average",
    "max": "maximum",
    "temp": "temperature",
    "misc": "miscellaneous",
    "incl": "including",
    "excl": "excluding",
    "esp": "especially",
    "resp": "respectively",
    "appt": "appointment",
    "acct": "account",
    "amt": "amount",
    "qty": "quantity",
    "tel": "telephone",
    "ext": "extension",
    "ref": "reference",
    "hr": "hour",
    "hrs": "hours",
    "yrs": "years",
    "pts": "patients",
    "ed": "edition",
    "eds": "editions",
    "orig": "original",
    "min": "minimum",
    "mgr": "manager",
    "pls": "please",
    "mfr": "manufacturer",
    "educ": "education",
    "asst": "assistant",
    "attn": "attention",
    "mfg": "manufacturing",
    "no": "number",
}
# Only before a number, a Roman numeral or a single letter: "p. 12", "Chap. IV", "Apt. C".
_LABELS = {
    "p": "page",
    "pg": "page",
    "l": "line",
    "ll": "lines",
    "fn": "footnote",
    "ep": "episode",
    "eps": "episodes",
    "div": "division",
    "lvl": "level",
    "prob": "problem",
    "sched": "schedule",
    "dist": "district",
    "pp": "pages",
    "pgs": "pages",
    "ch": "chapter",
    "chap": "chapter",
    "chs": "chapters",
    "art": "article",
    "arts": "articles",
    "para": "paragraph",
    "paras": "paragraphs",
    "par": "paragraph",
    "sec": "section",
    "secs": "sections",
    "sect": "section",
    "subsec": "subsection",
    "cl": "clause",
    "fig": "figure",
    "figs": "figures",
    "eq": "equation",
    "eqs": "equations",
    "exh": "exhibit",
    "app": "appendix",
    "vol": "volume",
    "vols": "volumes",
    "bk": "book",
    "pt": "part",
    "ver": "version",
    "rev": "revision",
    "rm": "room",
    "rms": "rooms",
    "apt": "apartment",
    "ste": "suite",
    "bldg": "building",
    "flr": "floor",
    "fl": "floor",
    "ext": "extension",
    "acct": "account",
    "rte": "route",
    "rt": "route",
    "hwy": "highway",
    "est": "established",
    "ca": "about",
    "ser": "series",
    "tel": "telephone",
    "ph": "phone",
    "amend": "amendment",
    "wt": "weight",
    "ht": "height",
    "temp": "temperature",
    "nos": "numbers",
    "cert": "certificate",
    "reg": "regulation",
    "inv": "invoice",
    "ord": "order",
    "stat": "statute",
    "ctrm": "courtroom",
    "crtrm": "courtroom",
    "doc": "document",
    "dkt": "docket",
    "dwg": "drawing",
}
# Read as letters, with periods or without.
_PRESCRIPTION = {
    "b.i.d": "B I D",
    "t.i.d": "T I D",
    "q.i.d": "Q I D",
    "p.r.n": "P R N",
    "p.o": "P O",
    "i.v": "I V",
    "i.m": "I M",
    "s.c": "S C",
    "q.d": "Q D",
    "q.h.s": "Q H S",
    "h.s": "H S",
    "a.c": "A C",
    "p.c": "P C",
    "n.p.o": "N P O",
}
_STREETS = {
    "St": "Street",
    "Dr": "Drive",
    "Ave": "Avenue",
    "Rd": "Road",
    "Blvd": "Boulevard",
    "Ln": "Lane",
    "Ct": "Court",
    "Pl": "Place",
    "Pkwy": "Parkway",
    "Hwy": "Highway",
    "Sq": "Square",
    "Ter": "Terrace",
    "Cir": "Circle",
}
_ANY_STREET = "|".join([*_STREETS, *_STREETS.values(), "Way"])
_COMPASS = {
    "N": "North",
    "S": "South",
    "E": "East",
    "W": "West",
    "NE": "Northeast",
    "NW": "Northwest",
    "SE": "Southeast",
    "SW": "Southwest",
}
_STATES = "DC|D.C."
# Special spellings, matched as whole words.
_WRITTEN: Final = {
    "C++": "C plus plus",
    "c++": "C plus plus",
    "C#": "C sharp",
    "F#": "F sharp",
    ".NET": "dot net",
    "Node.js": "node J S",
    "e.g": "for example",
    "i.e": "that is",
    "eg": "for example",
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "H2O": "H two O",
    "HbA1c": "H B A one C",
    "CO2": "C O two",
    "Ph.D": "P H D",
    "Ph.D.": "P H D",
    "24/7": "twenty-four seven",
    "24x7": "twenty-four seven",
    "AT&T": "A T and T",
    "w/out": "without",
    "w/o": "without",
    "Wi-Fi": "Wi-Fi",
}
_LABELS_WITHOUT_PERIOD = "Bldg|Apt|Ste|Rm|Rte|Hwy|Fig|Sec|[Ee]xt|[Aa]cct"
# Also units or words at the end of a sentence.
_ALSO_WORDS = frozenset(("hr", "hrs", "min", "yrs", "max", "no", "temp", "ed", "pts"))
_ALTERNATIVES = (
    "yes/no|he/she|she/he|his/her|him/her|his/hers|s/he|on/off|true/false|pass/fail|male/female"
)


_SHORTENED = {
    "nat": "national",
    "int": "international",
    "gov": "government",
    "dep": "department",
}
_BEFORE_STREET = re.compile(rf"\s(?:{_ANY_STREET})\b")


def _stop(match: Match) -> str:
    return "." if ends_sentence(match) else ""


def _word(match: Match) -> str:
    word = match[1].lower()
    if word in ("jr", "sr") and _BEFORE_STREET.match(match.string, match.end()):
        return _WORDS[word]
    # "e.g." and "vs." stand within a sentence, whatever follows
    return _WORDS[word] + (
        "" if word in ("e.g", "i.e", "vs", "cf", "no", "asst", "pls") else _stop(match)
    )


def _label(match: Match) -> str:
    if match[1] in ("P", "L"):  # "Fed. R. Civ. P. 12", "Pub. L. 104"
        return match[0]
    word = _LABELS[match[1].lower()]
    return (word.capitalize() if match[1][0].isupper() else word) + " "


def _street(match: Match) -> str:
    return f"{match['name']}{_STREETS[match['kind']]}{_stop(match) if match['dot'] else ''}"


def _square_foot(match: Match) -> str:
    """'cu. ft.' -> 'cu ft', which is a unit."""
    return f"{match[1]} {match[2]}{_stop(match) if match[0].endswith('.') else ''}"


def _prescription(match: Match) -> str:
    return _PRESCRIPTION[match[1].lower()] + _stop(match)


def _every(match: Match) -> str:
    """'q8h' -> 'every 8 hours', 'q4-6h' -> 'every 4-6 hours'."""
    names = {"h": "hour", "m": "minute", "d": "day", "w": "week"}
    unit = names[match[2][0]]
    stop = _stop(match) if match[0].endswith(".") else ""
    return f"every {unit}{stop}" if match[1] == "1" else f"every {match[1]} {unit}s{stop}"


_DAYS_AND_MONTHS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# Before "St." these begin a name or a sentence: "Port St. Lucie", "Visit St. Mary's".
_PREFIX_NAMES = (
    "Port|Mount|Fort|Mt|Ft|East|West|North|South|Hotel|Hospital|Visit|See|To|In|At|On|The|From|Near"
    "|Saint|Call|Ask"
)
_STREET_NAME = (
    r"(?P<name>(?:\d+(?:st|nd|rd|th)|(?<=[a-z\d,] )(?!(?:" + _PREFIX_NAMES + r")\b)[A-Z][a-z]+"
    r"|(?<=[a-z]\. )(?!(?:" + _PREFIX_NAMES + r")\b)[A-Z][a-z]+)\s)"
)

ABBREVIATIONS: Rules = (
    rule(rf"(?<![\w.])({any_of(_PRESCRIPTION)})\.(?!\w)", _prescription),
    rule(r"\b(?:prn|npo|qhs|qid|tid)\b", lambda m: " ".join(m[0].upper())),
    rule(
        r"(?<=\d )(tab|cap)(?:(s?)\.(?=\s)|(s)\b(?!\.))",
        lambda m: f"{'tablet' if m[1] == 'tab' else 'capsule'}{m[2] or m[3] or ''}",
    ),
    rule(
        r"\b[qQ]\.?\s?(\d+(?:[-–]\d+)?)\.?\s?(h|hrs?|hours?|min|mins|minutes|d|days?|wks?|weeks?)\b\.?",
        _every,
    ),
    # streets before titles: "12 Oak Dr." is not a doctor, "42nd St." not a saint
    rule(
        rf"\b([NSEW]|N\.?E|N\.?W|S\.?E|S\.?W)\.\s(?=\d+(?:st|nd|rd|th)\b|[A-Z][a-z]+\s"
        rf"(?:{_ANY_STREET})\b)",
        lambda m: f"{_COMPASS[m[1].replace('.', '')]} ",
    ),
    rule(
        rf"(?<=\d )([NSEW])\s(?=\d+(?:st|nd|rd|th)\b|[A-Z][a-z]+\s(?:{_ANY_STREET})\b)",
        lambda m: f"{_COMPASS[m[1]]} ",
    ),
    rule(
        rf"(?<=\d )(?P<name>(?:[A-Z][a-z]+\s){{1,2}})(?P<kind>{any_of(_STREETS)})\b(?P<dot>\.?)",
        _street,
    ),
    rule(
        rf"{_STREET_NAME}(?P<kind>St|Ave|Rd|Blvd|Ln|Ct|Pl|Pkwy|Hwy|Sq|Ter|Cir)(?P<dot>\.)"
        rf"(?!\s[A-Z][a-z]+'s)",
        _street,
    ),
    rule(
        rf"{_STREET_NAME}(?P<kind>Dr)(?P<dot>\.)(?=$|[,;)]|\s(?:[a-z]|The|It|Turn|Then|Go)\b)",
        _street,
    ),
    rule(
        rf"(?<=\bon )(?!(?:{_DAYS_AND_MONTHS}))(?P<name>[A-Z][a-z]+\s)(?P<kind>Dr)(?P<dot>\.)",
        _street,
    ),
    rule(rf"{_STREET_NAME}(?P<kind>St|Ave|Rd|Blvd|Pkwy|Hwy)(?P<dot>)\b(?![.\w])", _street),
    rule(r"\bSt\.(\s+(?=[A-Z]))", "Saint "),
    rule(r"\bSte\.(\s+(?=[A-Z][a-z]))", "Saint "),
    rule(r"\bSt\.", lambda m: "Street" + _stop(m)),
    rule(
        rf"(?<![\w.])({any_of(_LABELS)})\.\s?(?=#?\d|[IVXivxl]+\b(?!/)|[A-Z]\d*\b(?![./]))",
        _label,
        re.I,
    ),
    rule(
        rf"(?<![\w.])({_LABELS_WITHOUT_PERIOD})\s(?=#?\d|[A-Z]\b)",
        _label,
    ),
    rule(
        r"(?<!said )(?<!says )(?<!say )(?<!answered )"
        r"(?:\bN|(?<!was )(?<!is )\bn)os?\.\s?(?=[A-Z]{0,3}-?\d)",
        "number ",
    ),
    rule(rf"(?<![\w.])(?<!\d )({any_of(_TITLES)})\.(?=\s[^\W\d]|$)", lambda m: _TITLES[m[1]]),
    rule(r"\bAssoc\.(?=\s(?:Prof|Justice|Dean|Director)\b)", "Associate"),
    rule(r"\bAssoc\.", "Association"),
    rule(r"\bRet\.(?=,)", "Retired"),
    rule(r"\b([Nn]at|[Ii]nt|[Gg]ov|[Dd]ep)'(l|t)\b", lambda m: _SHORTENED[m[1].lower()]),
    rule(r"\brev\.\s(?=[A-Z]\b)", "revision "),  # in lower case it is no title
    rule(r"\bEx\.\s(?=\d|[A-Z]\b)", "Exhibit "),
    rule(r"(?<=& )Co\.(?=\s[a-z]|,)", "Company"),
    rule(r"(?<=& )Co\.", "Company."),
    rule(r"\bet al\.(?=\s[a-z\d(,])", "et al"),
    rule(
        rf"(?<![\w.])({any_of(_WORDS.keys() - _ALSO_WORDS)})\.(?!\w)",
        _word,
        re.I,
    ),
    rule(r"(?<!\d\s)(?<!\d)\b([Mm]in|[Mm]ax|[Tt]emp)\.(?=\s[a-z\d])", _word),
    rule(r"(?<=\d)(st|nd|rd|th)\sed\.", r"\1 edition"),
    rule(r"(?<=\d)(st|nd|rd|th)\s[Ff]l(?:r\b|oor\b|\b)\.?", r"\1 floor"),
    rule(r"(?<=\d)\sff?\.(?=\s[a-z\d(]|[,;)]|$)", " and following"),
    # "312 pp. with maps", but "It fell 2 pp." are percentage points
    rule(r"(?<=\d )pp\.(?=\s[a-z(]|[,;)])", "pages"),
    rule(r"(?<=\d )ppl\b\.?", "people"),
    rule(r"\b(sq|cu|fl)\.\s?(ft|in|yd|mi|m|oz)\b\.?(?=\W|$)", _square_foot),
    rule(r"(?<=\d)\s?cm\s?H2O\b", " cmH2O"),
    rule(rf"(?<!slash )(?<!\w)({any_of(_WRITTEN)})(?![\w/])", lambda m: _WRITTEN[m[1]]),
    rule(
        r"\b(AB|A|B|O|Rh)\s?([+−-])(?=\s(?:blood|donors?|cells|units?|platelets|red|mother)\b)"
        r"|(?<=\btype )(AB|A|B|O)\s?([+−-])(?!\w)|\b(Rh)\s?([+−-])(?!\w)",
        lambda m: (
            f"{m[1] or m[3] or m[5]} {'positive' if '+' in (m[2], m[4], m[6]) else 'negative'}"
        ),
    ),
    rule(r"\bw/(?=\s|\w)", "with "),
    rule(r"\bc/o\b", "care of"),
    rule(r"\band/or\b", "and or"),
    rule(
        rf"\b({_ALTERNATIVES})\b",
        lambda m: "he or she" if m[1].lower() == "s/he" else m[1].replace("/", " or "),
        re.I,
    ),
    rule(r"§§\s?", "sections "),
    rule(r"§\s?", "section "),
    rule(r"¶¶\s?", "paragraphs "),
    rule(r"¶\s?(?=[\dA-Z])", "paragraph "),
    rule(r"(?:Ø|⌀)\s?(?=\d)", "diameter "),
    rule(r"\b(Cl|OH|HCO3|NO3)-(?=[\s,.;:)]|$)", r"\1 minus"),
    # the name of an element before its value; "na" is a word
    rule(r"\bNa(?=\+|\splus\b|\s?[<>=≤≥:]|\s\d)", "N A"),
    # gases in the blood and the breath: "SpO2", "PaCO2", "FiO2"
    rule(
        r"\b(p|P|Pa|Pv|Sp|Sa|Sv|Fi|Et)(C?)O2\b",
        lambda m: f"{' '.join((m[1] + m[2]).upper())} O two",
    ),
    rule(r"(?<=\w) v\. (?=[A-Z])", " versus "),
    rule(
        r"\b([Ww]inds?\s(?:from the\s)?|[a-z]+bound\s)([NSEW]|[NS][EW])\b",
        lambda m: m[1] + _COMPASS[m[2]].lower(),
    ),
    rule(r"(?<=[A-Z]-\d\d )([NSEW])\b(?!\.?\w|')", lambda m: _COMPASS[m[1]].lower()),
    rule(r"(?<=[A-Z]-\d )([NSEW])\b(?!\.?\w|')", lambda m: _COMPASS[m[1]].lower()),
    rule(r"\b([Nn])o\.(?=\s(?:of|is|was)\b)", r"\1umber"),
)
