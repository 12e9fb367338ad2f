"""Measures: an amount or a range of amounts with a unit, which may be a product or a quotient.

Units are composed: prefix and base ("mmol"), powers ("m³", "m3"), products ("N·m"), and quotients
of any length ("mg/kg/min", "10 mg/5 mL", "150,000/µL"). A range is read within its measure, because
the unit belongs to both ends: "0.5–1 mg" is zero point five to one milligram.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.tts.text.numbers import (
    AMOUNT,
    NUMBER,
    NUMBER_START,
    SCALE_WORD,
    amount,
    is_one,
)
from appliance.engines.tts.text.rule import Match, Rules, any_of, rule

_PREFIXES = {
    "p": "pico",
    "n": "nano",
    "µ": "micro",
    "u": "micro",
    "m": "milli",
    "c": "centi",
    "d": "deci",
    "h": "hecto",
    "k": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
    "P": "peta",
}
# Symbol: singular, plural, prefixes that are in use.
_BASES = {
    "m": ("meter", "meters", "nµumcdk"),
    "g": ("gram", "grams", "pnµumk"),
    "L": ("liter", "liters", "nµumcd"),
    "l": ("liter", "liters", "µmcd"),
    "s": ("second", "seconds", "nµm"),
    "A": ("amp", "amps", "nµumk"),
    "V": ("volt", "volts", "nµumkM"),
    "W": ("watt", "watts", "nµumkMG"),
    "Wh": ("watt hour", "watt hours", "mkMGT"),
    "Ah": ("amp hour", "amp hours", "mk"),
    "VDC": ("volt D C", "volts D C", "m"),
    "VAC": ("volt A C", "volts A C", "m"),
    "VA": ("volt amp", "volt amps", "kM"),
    "Hz": ("hertz", "hertz", "mkMGT"),
    "Pa": ("pascal", "pascals", "mhkMG"),
    "J": ("joule", "joules", "mkMG"),
    "N": ("newton", "newtons", "mkM"),
    "Ω": ("ohm", "ohms", "mkMG"),
    "ohm": ("ohm", "ohms", "kM"),
    "F": ("farad", "farads", "pnµum"),
    "H": ("henry", "henries", "nµm"),
    "T": ("tesla", "teslas", "mµ"),
    "C": ("coulomb", "coulombs", "mµn"),
    "mol": ("mole", "moles", "pnµumk"),
    "M": ("molar", "molar", "pnµm"),
    "bar": ("bar", "bar", "m"),
    "B": ("byte", "bytes", "kMGTP"),
    "iB": ("bibyte", "bibytes", ""),
    "bit": ("bit", "bits", "kMG"),
    "bps": ("bit per second", "bits per second", "kMGT"),
    "b": ("bit", "bits", "MG"),
    "cal": ("calorie", "calories", "k"),
    "eV": ("electron volt", "electron volts", "mkMGT"),
    "Bq": ("becquerel", "becquerels", "kMG"),
    "Gy": ("gray", "grays", "mcµ"),
    "Sv": ("sievert", "sieverts", "mµ"),
    "Eq": ("equivalent", "equivalents", "mµ"),
    "eq": ("equivalent", "equivalents", "m"),
    "Osm": ("osmole", "osmoles", "m"),
    "osm": ("osmole", "osmoles", "m"),
    "Ci": ("curie", "curies", "mµ"),
    "IU": ("international unit", "international units", "mµk"),
    "lx": ("lux", "lux", "k"),
    "lm": ("lumen", "lumens", "k"),
    "cd": ("candela", "candelas", "m"),
    "t": ("ton", "tons", "k"),
    "px": ("pixel", "pixels", ""),
    "pixels": ("pixel", "pixels", "M"),
}
# Bases that mean nothing, or something else, without a prefix.
_PREFIX_ONLY = frozenset(
    ("B", "H", "T", "C", "M", "b", "F", "t", "iB", "cd", "pixels", "eq", "Eq", "ohm")
)
_UNPREFIXED = {
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "msec": ("millisecond", "milliseconds"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "d": ("day", "days"),
    "wk": ("week", "weeks"),
    "wks": ("week", "weeks"),
    "mo": ("month", "months"),
    "mos": ("month", "months"),
    "yr": ("year", "years"),
    "yrs": ("year", "years"),
    "y/o": ("year old", "year old"),
    "mcg": ("microgram", "micrograms"),
    "MCG": ("microgram", "micrograms"),
    "MG": ("milligram", "milligrams"),
    "ML": ("milliliter", "milliliters"),
    "KG": ("kilogram", "kilograms"),
    "Kg": ("kilogram", "kilograms"),
    "KM": ("kilometer", "kilometers"),
    "Km": ("kilometer", "kilometers"),
    "cc": ("C C", "C C"),
    "U": ("unit", "units"),
    "mU": ("milliunit", "milliunits"),
    "gtt": ("drop", "drops"),
    "gtts": ("drop", "drops"),
    "mmHg": ("millimeter of mercury", "millimeters of mercury"),
    "mm Hg": ("millimeter of mercury", "millimeters of mercury"),
    "cmH2O": ("centimeter of water", "centimeters of water"),
    "cm H2O": ("centimeter of water", "centimeters of water"),
    "ohm": ("ohm", "ohms"),
    "ha": ("hectare", "hectares"),
    "in": ("inch", "inches"),
    "″": ("inch", "inches"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "yds": ("yard", "yards"),
    "mi": ("mile", "miles"),
    "nmi": ("nautical mile", "nautical miles"),
    "sq ft": ("square foot", "square feet"),
    "sq mi": ("square mile", "square miles"),
    "sq m": ("square meter", "square meters"),
    "cu ft": ("cubic foot", "cubic feet"),
    "cu yd": ("cubic yard", "cubic yards"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "lbf": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "fl oz": ("fluid ounce", "fluid ounces"),
    "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "Tbsp": ("tablespoon", "tablespoons"),
    "pt": ("pint", "pints"),
    "qt": ("quart", "quarts"),
    "gal": ("gallon", "gallons"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "° C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "° F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "K": ("kelvin", "kelvin"),
    "dB": ("decibel", "decibels"),
    "dBA": ("decibel A", "decibels A"),
    "dBm": ("D B M", "D B M"),
    "psi": ("P S I", "P S I"),
    "PSI": ("P S I", "P S I"),
    "hp": ("horsepower", "horsepower"),
    "HP": ("horsepower", "horsepower"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "RPM": ("revolution per minute", "revolutions per minute"),
    "bpm": ("beat per minute", "beats per minute"),
    "mph": ("mile per hour", "miles per hour"),
    "MPH": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "yo": ("year old", "year old"),
    "y": ("year", "years"),
    "atm": ("atmosphere", "atmospheres"),
    "Torr": ("torr", "torr"),
    "bps": ("basis point", "basis points"),
    "barg": ("bar gauge", "bar gauge"),
    "psig": ("P S I G", "P S I G"),
    "psia": ("P S I A", "P S I A"),
    "Fr": ("French", "French"),
    "mpg": ("mile per gallon", "miles per gallon"),
    "fps": ("frame per second", "frames per second"),
    "gpm": ("gallon per minute", "gallons per minute"),
    "cfm": ("cubic foot per minute", "cubic feet per minute"),
    "ppm": ("part per million", "parts per million"),
    "ppb": ("part per billion", "parts per billion"),
    "dpi": ("dot per inch", "dots per inch"),
    "BTU": ("B T U", "B T U"),
    "kn": ("knot", "knots"),
    "Nm": ("newton meter", "newton meters"),
    "kNm": ("kilonewton meter", "kilonewton meters"),
    "KB": ("kilobyte", "kilobytes"),
    "Kbps": ("kilobit per second", "kilobits per second"),
    "cGy": ("centigray", "centigrays"),
    "%": ("percent", "percent"),
    "‰": ("per thousand", "per thousand"),
    "gsm": ("gram per square meter", "grams per square meter"),
}


def _prefixed(prefix: str, name: str) -> str:
    return (
        f"{_PREFIXES[prefix]}-{name}" if name.startswith(("ohm", "e")) else _PREFIXES[prefix] + name
    )


def _composed() -> dict[str, tuple[str, str]]:
    units: dict[str, tuple[str, str]] = {}
    for base, (one, many, prefixes) in _BASES.items():
        if base not in _PREFIX_ONLY:
            units[base] = one, many
        for prefix in prefixes:
            units[prefix + base] = _prefixed(prefix, one), _prefixed(prefix, many)
    return units


# Symbol: singular and plural.
UNITS: Final = {**_composed(), **_UNPREFIXED}
# Words that may stand after a slash: "$5/month", "2 tablets/day".
_PERIODS = (
    "second|minute|hour|day|night|week|month|quarter|year|dose|kg|person|people|patient|user|unit"
    "|page|piece|item|head|capita|tablet|capsule|vial|bag|bottle|puff|shift|visit|call|copy|lb|mile"
    "|gallon|liter|kilo|inch|foot|ton|cycle|set|serving|case|box|seat|room|ticket|share|core|token"
    "|request|actuation|spray|actuation|minute|acre|side|field|hpf|child|adult|student|employee"
)
_POWER = r"(?:(?:\^[-+]?\d)|(?<=[mntd])[23](?!\d))?"
_SYMBOL = rf"(?:{any_of(UNITS)}){_POWER}"
_PRODUCT = rf"{_SYMBOL}(?:[·*]{_SYMBOL}|(?<=ft)-lbs?f?|(?<=in)-lbs?f?|(?<=lb)-(?:ft|in))?"
_PER_PART = rf"(?:{AMOUNT}\s?)?(?:{_PRODUCT}(?![\w^])|(?:{_PERIODS})\b)"
_PER = rf"(?:\s?/\s?{_PER_PART})"
# "16/min" has a count and no unit. "1/2 tablet" is no such count: only "mg/5 mL" has a number.
_PER_COUNT = rf"/(?:{_SYMBOL}(?![\w^])|(?:{_PERIODS})\b)"
UNIT: Final = rf"(?:{_PRODUCT}{_PER}{{0,3}}|{_PER_COUNT}{_PER}{{0,2}})(?![\w^]|'s)"
RANGE: Final = r"\s?[-–—−]\s?|\s(?:to|through)\s"
_SIGNED = rf"(?:minus |plus )?{AMOUNT}"
# Symbols that are also words or letters of a label: a unit only under further conditions.
_AFTER_LABEL = re.compile(
    r"\b(?:gate|seat|row|room|rooms|apt|apartment|unit|suite|exhibit|section|schedule|appendix|part"
    r"|group|level|table|figure|plan|grade|class|bay|bed|block|building|hall|platform|track|pier"
    r"|terminal|box|no|number|form|rule|type|step|option|line|zone|ward|stage|exit|bus|lot|route|highway|flight|dock|door|page|chapter|item|train|channel"
    r"|pump|valve|tank|hole|site|aisle|locker)\.?\s$",
    re.I,
)
_LETTERS = frozenset("ABCDFGHJKLMNSTUVWdghlms")
_DETERMINER = re.compile(
    r"\b(?P<article>an?)\s$|\b(?:the|this|that|my|your|his|her|our|its|their|one|another|each)\s$",
    re.I,
)
_NOUN_AFTER = re.compile(
    r"\s(?!(?:of|per|in|at|for|to|and|or|is|are|was|were|will|must|should|may|can|has|had|by|before"
    r"|after|every|each|twice|daily|once|on|with|over|from|than|if|when|as|away|long|wide|high|deep"
    r"|tall|back|ago|later|apart|more|less|only|into|until|then|but|that|given|through|below|above"
    r"|under|up|down|the|a|an|left|remain|you|we|he|she|they|it|i|so|not|now|here|there)\b)"
    r"[a-z]{3,}"
)


# Nouns that a measure describes without a determiner, too: "5 mg tablets", "100 m race".
_DESCRIBED_AFTER = re.compile(
    r"\s(?:angle|turn|bend|rotation|elbow|corner|view|arc|camera|race|run|walk|hike|sprint|dash|swim"
    r"|drive|tablet|capsule|pill|dose|vial|syringe|bag|bottle|can|jar|box|bucket|bolus|patch|tube"
    r"|pack|package|container|tank|pipe|hose|cable|rope|cord|wire|board|ladder|wall|fence|bolt|nut"
    r"|screw|drill|socket|wrench|resistor|capacitor|inductor|fuse|breaker|battery|bulb|motor|engine"
    r"|supply|outlet|lens|screen|monitor|disk|drive|needle|catheter|stent|suture|lesion|mass|nodule"
    r"|infant|window|interval|lease|mortgage|warranty|contract|radius|wave|carrier)(?:s|es)?\b"
)


def is_attributive(match: Match) -> bool:
    """Return whether the measure stands before a noun: 'a 5 km run', 'the $3bn merger'."""
    # "a 10 by 15 cm photo"
    before = re.sub(rf"(?:{NUMBER}(?:\s\w{{1,4}})? by )+$", "", match.string[: match.start()])
    determiner = _DETERMINER.search(before)
    if not determiner:
        return False
    return bool(determiner["article"]) or bool(_NOUN_AFTER.match(match.string, match.end()))


def unit_words(symbols: str, plural: bool) -> str:
    """'mg/kg/min' -> 'milligrams per kilogram per minute'; '/µL' -> 'per microliter'."""
    first, *denominators = (
        (part.strip() for part in symbols.split("/")) if symbols not in UNITS else [symbols]
    )
    words = [_product_words(first, plural)] if first else []
    for part in denominators:
        number = re.match(rf"({AMOUNT})\s?(?=\D)", part)
        unit = part[number.end() :] if number else part
        many = bool(number) and not is_one(number[1])  # type: ignore[index]
        name = _product_words(unit, many)
        words.append(f"per {amount(number[1])} {name}" if number else f"per {name}")
    return " ".join(words)


def _product_words(symbols: str, plural: bool) -> str:
    if symbols in UNITS:
        return UNITS[symbols][plural]
    parts = re.split(r"[·*]|(?<=ft|in|lb)-", symbols)
    names = [_power_words(part, plural and part is parts[-1]) for part in parts]
    return " ".join(names)


def _power_words(symbol: str, plural: bool) -> str:
    if symbol in UNITS:
        return UNITS[symbol][plural]
    found = re.fullmatch(r"(.+?)(?:\^\+?(-?\d)|([23]))", symbol)
    if not found or found[1] not in UNITS:
        return symbol  # a word, such as "month"
    name, power = UNITS[found[1]][plural], found[2] or found[3]
    if power.startswith("-"):
        return f"per {UNITS[found[1]][0]}" + (" squared" if power == "-2" else "")
    is_length = UNITS[found[1]][0].endswith(("meter", "foot", "inch", "yard", "mile"))
    if power == "2":
        return f"square {name}" if is_length else f"{name} squared"
    if power == "3":
        return f"cubic {name}" if is_length else f"{name} cubed"
    return name


_UNIT_NAMES = any_of({many for _, many in UNITS.values() if many.islower()})


def is_measure(text: str, before: str) -> bool:
    """Return whether a number with letters is a measure ("16GB") and no code ("Seat 16A")."""
    if not re.fullmatch(rf"{AMOUNT}{UNIT}", text) or (
        text[-1] in "BDUK" and not text[-2].isalpha()
    ):
        return False
    return not _AFTER_LABEL.search(before)


def _is_unit(match: Match) -> bool:
    unit, space = match["unit"], match["space"]
    before, after = match.string[: match.start()], match.string[match.end() :]
    if unit in _LETTERS and _AFTER_LABEL.search(before):
        return False
    if unit == "in":  # "Put 5 in the box", "3-in-1"
        if re.match(r"-\d", after):
            return False
        follows_feet = re.search(r"\d\s?(?:ft|feet|foot)\.?\s$", before)
        return (
            space == "-"
            or bool(follows_feet)
            or bool(re.match(r"\.(?=\s[a-z]|\sx\s|$)|\s(?:by|x|wide|long|tall)\b", after))
        )
    if unit in ("A", "C", "H", "F", "T", "B", "D", "G", "U") and not space:  # "221B Baker Street"
        return unit == "A" and not re.match(r"\s[A-Z]", after) and not match["sep"]
    if unit == "pt":  # "a 12 pt font"
        return after.startswith(" of")
    if unit == "K" and _DETERMINER.search(before):  # "a 5 K run"
        return False
    if re.match(r"\.[A-Z]", after):  # "18 U.S.C."
        return False
    if unit in ("K", "d", "y", "mo", "b") and space != " ":
        return unit != "K" and space != "-"
    return True


def _measure(match: Match) -> str:
    if not _is_unit(match):
        return match[0]
    low, high, unit = match["low"], match["high"], match["unit"]
    rest = match.string[match.end() :]
    attributive = (
        match["space"] == "-"
        or (unit == "″" and bool(_NOUN_AFTER.match(rest)))
        or bool(_DESCRIBED_AFTER.match(rest))
        or is_attributive(match)
    )
    scale = f" {match['scale'].strip()}" if match["scale"] else ""
    words = _signed_words(low)
    if high:
        unit_of_low = match["unit1"]
        is_said_twice = match["sep"].strip() in ("to", "through")  # as it is written
        if unit_of_low and (unit_of_low != unit or is_said_twice):
            words += " " + unit_words(unit_of_low, plural=not is_one(low))
        link = " through " if match["sep"].strip() == "through" else " to "
        words += link + _signed_words(high)
    plural = not attributive and (bool(scale) or not is_one(high or low))
    stop = "" if match.string[match.end() :][:1].isspace() else " "
    return f" {words}{scale} {unit_words(unit, plural)}{stop}"


def _signed_words(text: str) -> str:
    sign, _, rest = text.rpartition(" ") if text.startswith(("minus ", "plus ")) else ("", "", text)
    if text.startswith(("minus ", "plus ")):
        sign, _, rest = text.partition(" ")
        return f"{sign} {amount(rest)}"
    return amount(rest)


def _per_words(match: Match) -> str:
    return f"{match[1]} {unit_words('/' + match[2], False)}"


def _alone(match: Match) -> str:
    """'in mg/dL' -> 'in milligrams per deciliter'; pairs of capitals ('N/A') are no units."""
    return match[0] if match[0].isupper() else unit_words(match[0], plural=True)


def _inches(match: Match) -> str:
    """Read a double quote after a number as inches, unless it closes a quotation."""
    return match[0] if match.string.count('"', 0, match.start()) % 2 else f"{match[1]}″"


DIMENSIONS: Rules = (
    rule(r"\bx\s?(?=\d+\s?(?:days?|weeks?|wks?|months?|d|h|hours?|minutes?|min)\b)", "for "),
    rule(r"(?<=[A-Za-z])/\((\w{1,3}·\w{1,3})\)", r"/\1"),
    rule(r"(?<=\d)(\s?)in\.(?=\s[a-z]|\sx\s|,)", "″"),
    rule(
        r"(?<=\d)(\s?(?:ft|lbs?|oz|hrs?|min|sec|yrs?|yd|mi|gal|tsp|tbsp))\.(?=\s[a-z(\d]|,)", r"\1"
    ),
    rule(r"(\d+)'([–-]\d+)'(?!\w)", r"\1\2 ft"),
    rule(r"(?<![A-Za-z]\d)(?<=\d)'\s?(1[01]|\d)(?!\d)(?:\"|″|'')?(?!\w)", r" foot \1"),
    rule(r'(?<![\d,$£€])(?<!\d\.)(\.?\d{1,3}(?:\.\d+|/\d+)?)"(?!\w)', _inches),
    # "6 x 4 ft", "10 cm × 15 cm"
    rule(
        rf"{NUMBER_START}({AMOUNT})(\s?(?:{_SYMBOL}(?!\w)|″)|-)?\s?[x×]\s?(?=(?!10\^){AMOUNT}"
        rf"(?:\s?(?:{_SYMBOL}(?!\w))?\s?[x×]\s?{AMOUNT})?(?:[\s-]?(?:{_SYMBOL}|inch|inches|feet|foot|meters?)(?!\w)|″))",
        r"\1\2 by ",
    ),
)
MEASURES: Rules = (
    rule(
        rf"{NUMBER_START}(?:(?P<low>{AMOUNT})(?:\s?(?P<unit1>{UNIT}))?(?P<sep>{RANGE})"
        rf"(?P<high>{_SIGNED})(?P<scale>\s(?:{SCALE_WORD})\b)?(?P<space>[\s-]?)(?P<unit>{UNIT}))",
        _measure,
    ),
    rule(
        rf"{NUMBER_START}(?P<low>{AMOUNT})(?P<high>)(?P<unit1>)(?P<sep>)"
        rf"(?P<scale>\s(?:{SCALE_WORD})\b)?(?P<space>[\s-]?)(?P<unit>{UNIT})",
        _measure,
    ),
    rule(
        rf"((?:\d|[a-z])\s[a-z]{{3,}})\s?/\s?((?:{_PERIODS}|h|hrs?|min|d|wk|mo|yr|kg|m?L)(?:/(?:{_PERIODS}))?)\b",
        _per_words,
    ),
    rule(rf"\b({_UNIT_NAMES})/((?:{_PERIODS}))\b", _per_words),
    rule(r"\b([a-z]{3,})/((?:[mµd]?L|mm\^?3|min|kg|h|hpf)(?:/(?:min|h|kg))?)(?!\w)", _per_words),
    rule(rf"(?<![\w/.-]){_PRODUCT}{_PER}{{1,3}}(?![\w/^])", _alone),
)
