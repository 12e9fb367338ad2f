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
from appliance.engines.tts.text.unit_names import UNITS

# Words that may stand after a slash: "$5/month", "2 tablets/day".
_DENOMINATOR_WORDS = (
    "second|minute|hour|day|night|week|month|quarter|year|dose|kg|person|people|patient|user|unit"
    "|page|piece|item|head|capita|tablet|capsule|vial|bag|bottle|puff|shift|visit|call|copy|lb|mile"
    "|gallon|liter|kilo|inch|foot|ton|cycle|set|serving|case|box|seat|room|ticket|share|core|token"
    "|request|actuation|spray|acre|side|field|hpf|child|adult|student|employee|tab|cap|pill|drop"
    "|puff|ampoule|sachet|patch|syringe|pump|infusion|injection|frame|sample|eye|cell|nostril"
    "|decade|century|household|hectare"
)
_SHORT_WORDS = {
    "tab": "tablet",
    "cap": "capsule",
    "hpf": "high power field",
    "lpf": "low power field",
}
_POWER = r"(?:(?:\^[-+]?\d)|(?<=[mntd])[23](?!\d)|(?<=/s)[23](?!\d))?"
_SYMBOL = rf"(?:{any_of(UNITS)}){_POWER}"
_PRODUCT = rf"{_SYMBOL}(?:[·*]{_SYMBOL}|(?<=ft)-lbs?f?|(?<=in)-lbs?f?|(?<=lb)-(?:ft|in))?"
_PER_PART = rf"(?:{AMOUNT}\s?)?(?:{_PRODUCT}(?![\w^])|(?:{_DENOMINATOR_WORDS})\b)"
_PER = rf"(?:\s?/\s?{_PER_PART})"
# "16/min" has a count and no unit. "1/2 tablet" is not such a count: only "mg/5 mL" has a number.
_PER_COUNT = rf"/(?:{_SYMBOL}(?![\w^])|(?:{_DENOMINATOR_WORDS})\b)"
UNIT: Final = rf"(?:{_PRODUCT}{_PER}{{0,3}}|{_PER_COUNT}{_PER}{{0,2}})(?![\w^]|'s)"
RANGE: Final = r"\s?[-–—−]\s?|\s(?:to|through)\s"
_SIGNED = rf"(?:minus |plus )?{AMOUNT}"
# Symbols that are also words or letters of a label: a unit only under further conditions.
_AFTER_LABEL = re.compile(
    r"\b(?:gate|seat|row|room|rooms|apt|apartment|unit|suite|exhibit|section|schedule|appendix|part"
    r"|group|level|table|figure|plan|grade|class|bay|bed|block|building|hall|platform|track|pier"
    r"|terminal|box|no|number|form|rule|type|step|option|line|zone|ward|stage|exit|bus|lot|route"
    r"|highway|flight|dock|door|page|chapter|item|train|channel"
    r"|pump|valve|tank|hole|site|aisle|locker|courtroom|court|wing|pod|cell|corridor|bench|rack"
    r"|cabinet|shelf|panel|lane|car|coach|theat(?:er|re)|clinic|lab|entrance|staircase|stairwell"
    r"|counter|window|slot|bin|drawer|shaft|dorm|cubicle|study|road|street|avenue|mile|marker"
    r"|grid|quadrant|trail|tee|stand)\.?\s$",
    re.I,
)
_LETTERS = frozenset("ABCDFGHJKLMNSTUVWdghlmst")
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
    r"\s(?:angle|turn|bend|rotation|elbow|corner|view|arc|camera|race|run|walk|hike|sprint|dash"
    r"|swim"
    r"|drive|tablet|capsule|pill|dose|vial|syringe|bag|bottle|can|jar|box|bucket|bolus|patch|tube"
    r"|pack|package|container|tank|pipe|hose|cable|rope|cord|wire|board|ladder|wall|fence|bolt|nut"
    r"|screw|drill|socket|wrench|resistor|capacitor|inductor|fuse|breaker|battery|bulb|motor|engine"
    r"|supply|outlet|lens|screen|monitor|disk|drive|needle|catheter|stent|suture|lesion|mass|nodule"
    r"|infant|window|interval|lease|mortgage|warranty|contract|radius|wave|carrier|loop|sheet|stud"
    r"|panel|beam|peak|signal|rail|line|input|output|adapter|charger|plug|system|network|link|port"
    r"|card|stick|bandwidth|gap|clearance|opening|hole|layer|film|drive|limit|zone|shift|break|delay"
    r"|timeout|session|class|lesson|block|segment|increment|step|interval|plate|dumbbell|kettlebell"
    r"|truck|crane|hoist|jack|lift|forklift|trailer|drop)(?:s|es)?\b(?!\s(?:of|from|to|in|into)\b)"
)
# A plural right after a measure is described by it: "90 dB peaks". Not so after a mass or a volume,
# which in a recipe has no "of": "500 g carrots"; and verbs end in s, too.
_NO_CONTENT = re.compile(
    r"(?:[kMGmµn]?(?:V|A|W|Hz|Ω|bar|Pa|N)|dBA?|VAC|VDC|kVA|[cmµkn]?m|ft|in|″|yd|mi|°|°[CF]|psi|hp"
    r"|h|hr|min|s|ms|sec|wk|mo|yr|[kMGT]?B|px|dpi|mph|km/h|[kMG]bps|[kMG]bit/s)$"
)
_PLURAL_AFTER = re.compile(
    r"\s(?!(?:is|was|has|does|this|its|his|as|us|less|plus|minus|times|across|always|perhaps|besides"
    r"|indoors|outdoors|upstairs|downstairs|towards|backwards|forwards|afterwards|upwards|downwards"
    r"|makes|gives|takes|weighs|costs|lasts|equals|leaves|remains|separates|means|works|goes|comes"
    r"|runs|falls|drops|rises|needs|requires|covers|helps|causes|keeps|exceeds|feeds|holds|fits"
    r"|seems|gets|stays|fills|passes|becomes|shows|says|appears|results|corresponds|suits|lies|lets"
    r"|suffices|ensures|allows|divides|elapses|counts|adds|starts|ends|begins|previous|various"
    r"|thus|degrees|meters|feet|inches|hours|minutes|seconds|[a-z]*ss|[a-z]*ous)\b)"
    r"[a-z]{3,}(?<![ius])s\b(?!\s(?:of|from|to|the|a|an|in|into|it|them|you)\b)"
)


def is_attributive(match: Match) -> bool:
    """Return whether the measure stands before a noun: 'a 5 km run', 'the $3bn merger'."""
    # "a 10 by 15 cm photo"
    before = re.sub(
        rf"(?:{NUMBER}(?:\s\w{{1,4}})? by |{NUMBER}\s?(?:ft|lb|lbs|st|h|hr|min)\s)+$",
        "",
        re.sub(r"plus or minus ?$", "", match.string[: match.start()]),
    )
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
    match = re.fullmatch(r"(.+?)(?:\^\+?(-?\d)|([23]))", symbol)
    if not match or match[1] not in UNITS:
        return _SHORT_WORDS.get(symbol, symbol)  # a word, such as "month"
    name, power = UNITS[match[1]][plural], match[2] or match[3]
    if power.startswith("-"):
        return f"per {UNITS[match[1]][0]}" + (" squared" if power == "-2" else "")
    is_length = UNITS[match[1]][0].endswith(("meter", "foot", "inch", "yard", "mile"))
    if power == "2":
        return f"square {name}" if is_length else f"{name} squared"
    if power == "3":
        return f"cubic {name}" if is_length else f"{name} cubed"
    return name


_UNIT_NAMES = any_of({many for _, many in UNITS.values() if many.islower()})


def is_label(before: str) -> bool:
    """Return whether the text ends with a word such as "Seat", so that a code follows."""
    return bool(_AFTER_LABEL.search(before))


def is_measure(text: str, before: str) -> bool:
    """Return whether a number with letters is a measure ("16GB") and no code ("Seat 16A")."""
    if not re.fullmatch(rf"{AMOUNT}{UNIT}", text) or (text[-1] in "BDK" and not text[-2].isalpha()):
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
    if unit in ("A", "C", "H", "F", "T", "B", "D", "G") and not space:  # "221B Baker Street"
        return unit == "A" and not re.match(r"\s[A-Z]", after)
    if unit == "″" and re.match(r"-\d", after):  # a thread
        return True
    if unit == "t":
        return space == " "
    if unit == "pt":  # "a 12 pt font"
        return after.startswith(" of")
    if unit == "K" and _DETERMINER.search(before):  # "a 5 K run"
        return False
    if re.match(r"\.[A-Z]", after):  # "18 U.S.C."
        return False
    if unit in ("K", "d", "y", "mo", "b", "ac") and space != " ":
        return unit != "K" and space != "-"
    return True


def _measure(match: Match) -> str:
    if not _is_unit(match):
        # The range stays a range: later rules would take its dash for a pause.
        start, end = (at - match.start() for at in match.span("sep"))
        return f"{match[0][:start]} to {match[0][end:]}" if match["sep"] else match[0]
    low, high, unit = match["low"], match["high"], match["unit"]
    rest = match.string[match.end() :]
    attributive = (
        match["space"] == "-"
        or (unit == "″" and bool(_NOUN_AFTER.match(rest)))
        or bool(_DESCRIBED_AFTER.match(rest))
        or bool(_NO_CONTENT.match(unit) and _PLURAL_AFTER.match(rest))
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
    """'minus 5' -> 'minus five': the rules for signs have made a word of the sign."""
    if text.startswith(("minus ", "plus ")):
        sign, _, number = text.partition(" ")
        return f"{sign} {amount(number)}"
    return amount(text)


def _per_words(match: Match) -> str:
    space = " " if match[0][0].isspace() else ""
    return f"{space}{match[1]} {unit_words('/' + match[2], False)}"


def _alone(match: Match) -> str:
    """'in mg/dL' -> 'in milligrams per deciliter'; pairs of capitals ('N/A') are not units."""
    return match[0] if match[0].isupper() else unit_words(match[0], plural=True)


def _inches(match: Match) -> str:
    """Read a double quote after a number as inches, unless it closes a quotation."""
    is_quoted = len(_OPENING_QUOTE.findall(match.string, 0, match.start())) % 2
    return match[0] if is_quoted else f"{match[1]}″"


def _feet(match: Match) -> str:
    """Read a single quote after a number as feet, unless it closes a quotation."""
    is_quoted = re.search(r"(?<!\w)'(?!\d0s)[^']*$", match.string[: match.start()])
    return match[0] if is_quoted else f"{match[1]} ft"


def _minutes(match: Match) -> str:
    """'2\'30"' -> '2 minutes 30 seconds'."""
    return f"{match[1]} minute{'' if match[1] == '1' else 's'} {int(match[2])} seconds"


def _millibars(match: Match) -> str:
    """'1013 mb' -> '1013 mbar': the pressure of the air; other numbers are megabytes."""
    return f"{match[1]} mbar" if 850 <= float(match[1]) <= 1100 else f"{match[1]} MB"


_COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
# "45'" is forty-five feet, but a goal and a recipe have minutes.
_TIMED_MINUTES = (
    r"(?i:(\b(?:goals?|scored|booked|penalty|bake|boil|simmer|roast|stoppage|equali[sz]er|steep"
    r"|knead)\b"
    r"(?:(?!\b(?:wide|tall|long|high|deep|x|by)\b)[^.;!?'\d]){0,24}\d{1,2}(?:'?[-–]\d{1,2})?))'(?![\w'])"
)
_OPENING_QUOTE = re.compile(r'(?<!\d)"')
_MASS = r"(?:mg|mcg|µg|g)"
_DOSE_UNIT = r"(?:[mk]?g|mcg|µg|[mµ]?[Ll]|IU|units?|mmol|mEq|%|tablets?|capsules?)(?!\w)"
DIMENSIONS: Rules = (
    # no length: "2 x 500 mg" is two times a dose
    rule(rf"(?<=\d)\s?[x×]\s?(?={NUMBER}\s?{_DOSE_UNIT})", " times "),
    rule(r"(?<=\d)\s?u(?=/(?:h|hr|kg|mL|day|d|L)\b)", " U"),
    rule(r"(?<=\d)u\b(?![.'/])", " units"),
    # a product without a sign: "W/m²K"
    rule(r"(?<=/m\^2)(?=K\b)|(?<=/m2)(?=K\b)", "·"),
    rule(r"(?<![\w.,])(\d{3,4}(?:\.\d)?)\s?mb\b", _millibars),
    rule(r"(?<![\w.,/-])(\d{1,2})\s(st)(?=\s\d{1,2}\s?lbs?\b)", r"\1 stone"),
    # the direction of a coordinate: "51.5° N"
    rule(r"(?<=\d[°'\"″])(\s?)([NSEW])\b(?![-'.]\w)", lambda m: f"{m[1]} {_COMPASS[m[2]]}"),
    # "3'-6"": feet and inches
    rule(r"(?<=\d)'-(?=\d{1,2}(?:\s\d+/\d+)?(?:\"|″|''))", "' "),
    rule(r"(?<=\d)(['\"″])\s?[x×]\s?(?=\d)", r"\1 x "),
    rule(_TIMED_MINUTES, lambda m: f"{m[1].replace(chr(39), '')} minutes"),
    # the strengths of a combined drug: "50/1000 mg", "500 mg/125 mg"; "1/2 mg" is a fraction
    rule(
        rf"(?<![\w./,-])(\d+(?:\.\d+)?)/(?=(?:[2-9]\d|\d{{3,}}|\d+\.\d+)\s?{_MASS}\b(?!/))",
        r"\1 slash ",
    ),
    # two ratings of a device: "230/400 V", "50/60 Hz"
    rule(
        r"(?<![\w./,-])(\d{2,}(?:\.\d+)?)/"
        r"(?=(?:[2-9]\d|\d{3,})(?:\.\d+)?[\s-]?(?:[kMG]?Hz|[mk]?V|VAC|VDC|[mk]?A|[mk]?W)\b(?!/))",
        r"\1 slash ",
    ),
    rule(
        rf"(\d\s?(?P<unit>{_MASS}))\s?/\s?(?={NUMBER}\s?(?P=unit)\b(?!/))",
        r"\1 slash ",
    ),
    # an angle: "48° 51' 30""
    rule(
        r"(\d{1,3})°\s?(\d{1,2})'(?:\s?(\d{1,2}(?:\.\d+)?)(?:\"|″|''))?(?![a-z\d])",
        lambda m: f"{m[1]}° {m[2]} minutes{f' {m[3]} seconds' if m[3] else ''} ",
    ),
    rule(r"(?<![\w.°])(?<!°\s)(\d{1,3})'\s?(1[2-9]|[2-5]\d|0\d)(?:\"|″|'')", _minutes),
    rule(r"\bx\s?(?=\d+\s?(?:days?|weeks?|wks?|months?|d|h|hours?|minutes?|min)\b)", "for "),
    rule(r"(?<=[A-Za-z])/\((\w{1,3}·\w{1,3})\)", r"/\1"),
    rule(r"(?<=\d)(\s?|-)in\.(?=\s[a-z]|\sx\s|,)", "″"),
    rule(
        r"(?<=\d)([\s-]?(?:ft|lbs?|oz|hrs?|mins?|secs?|yrs?|yds?|mi|gal|qt|tsp|tbsp|wks?|mos?))\."
        r"(?=\s[a-z(\d]|[,;:)/]|\s?[–-]\s?\d)",
        r"\1",
    ),
    rule(r"(\d+)'([–-]\d+)'(?!\w)", r"\1\2 ft"),
    rule(r"(?<![A-Za-z]\d)(?<=\d)'\s?(1[01]|\d)(?!\d)(?:\"|″|'')?(?!\w)", r" foot \1"),
    rule(r'(?<![\d,$£€])(?<!\d\.)(\.?\d{1,3}(?:\.\d+|/\d+)?)"(?!\w)', _inches),
    rule(rf"(?<![\w.,/'°])(?<!°\s)({NUMBER})'(?![\w'])", _feet),
    # "6 x 4 ft", "10 cm × 15 cm"
    rule(
        rf"{NUMBER_START}({AMOUNT})(\s?(?:{_SYMBOL}(?!\w)|″)|-)?\s?[x×]\s?(?=(?!10\^){AMOUNT}"
        rf"(?:\s?(?:{_SYMBOL}(?!\w))?\s?[x×]\s?{AMOUNT})?(?:[\s-]?(?:{_SYMBOL}|inch|inches|feet"
        rf"|foot|meters?)(?!\w)|″))",
        r"\1\2 by ",
    ),
)
_COUNTED = r"(?:\d|\bhalf)\)?\s(?:[A-Za-z][\w-]*\s){0,2}[A-Za-z][\w-]*"
# Before the rules for times, which read "1900 h" as an hour.
RATES: Rules = (
    # "25,000 units/250 mL", "2 capsules/12 h": before the measure after the slash becomes words
    rule(
        rf"({_COUNTED})\s?/\s?(?={AMOUNT}(?![/\w]*/\d)"
        rf"[\s-]?(?:{_PRODUCT}(?![\w^])|(?:{_DENOMINATOR_WORDS})\b|[A-Za-z-]+s\b))",
        r"\1 per ",
    ),
)
MEASURES: Rules = (
    rule(rf"(\d\s[a-z-]{{2,}}s)\s?/\s?({_PRODUCT}(?![\w^])(?:{_PER_COUNT})?)", _per_words),
    # a plural per a singular: "3 beds/nurse"
    rule(r"(\d\s[a-z-]{2,}s)/(?=[a-z-]{3,}(?<!s)\b(?!/))", r"\1 per "),
    rule(
        # the hyphen in "2-1/2 in" joins
        rf"{NUMBER_START}(?!\d+-\d{{1,2}}/\d)(?:(?P<low>{AMOUNT})(?:\s?(?P<unit1>{UNIT}))?(?P<sep>{RANGE})"
        rf"(?P<high>{_SIGNED})(?P<scale>\s(?:{SCALE_WORD})\b)?(?P<space>[\s-]?)(?P<unit>{UNIT}))",
        _measure,
    ),
    rule(
        rf"{NUMBER_START}(?P<low>{AMOUNT})(?P<high>)(?P<unit1>)(?P<sep>)"
        rf"(?P<scale>\s(?:{SCALE_WORD})\b)?(?P<space>[\s-]?)(?P<unit>{UNIT})",
        _measure,
    ),
    rule(
        rf"((?:\d|[a-z])\s[a-z]{{3,}})\s?/\s?((?:{_DENOMINATOR_WORDS}|h|hrs?|min|d|wk|mo|yr|kg"
        rf"|m?L)(?:/(?:{_DENOMINATOR_WORDS}))?)\b",
        _per_words,
    ),
    # what is dissolved: "20 mEq KCl/L"
    rule(rf"(?<=[a-z]s)\s+([A-Z][A-Za-z\d]{{1,5}})/({_PRODUCT})(?![\w^])", _per_words),
    rule(rf"\b({_UNIT_NAMES})/((?:{_DENOMINATOR_WORDS}))\b", _per_words),
    rule(r"\b([a-z]{3,})/((?:[mµd]?L|mm\^?3|min|kg|h|hpf)(?:/(?:min|h|kg))?)(?!\w)", _per_words),
    rule(rf"(?<![\w/.-]){_PRODUCT}{_PER}{{1,3}}(?![\w/^])", _alone),
)
