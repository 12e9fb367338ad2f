"""Money: an amount or a range of amounts with a currency before or after it."""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.tts.text.numbers import (
    NUMBER,
    NUMBER_START,
    SCALES,
    cardinal,
    quantity,
    without_separators,
)
from appliance.engines.tts.text.rule import Match, Rules, any_of, rule
from appliance.engines.tts.text.units import RANGE, UNIT, is_attributive, unit_words

_DOLLAR = ("dollar", "dollars", "cent", "cents")
_POUND = ("pound", "pounds", "penny", "pence")
_EURO = ("euro", "euros", "cent", "cents")
_YEN = ("yen", "yen", "", "")
# Symbol or code: singular and plural of the currency, then of its hundredth part. INR is left out:
# in a hospital it is a blood test.
CURRENCIES: Final = {
    "$": _DOLLAR,
    "US$": _DOLLAR,
    "USD": _DOLLAR,
    "£": _POUND,
    "GBP": _POUND,
    "€": _EURO,
    "EUR": _EURO,
    "¥": _YEN,
    "JPY": _YEN,
    "CNY": ("yuan", "yuan", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "₿": ("bitcoin", "bitcoins", "", ""),
    **dict.fromkeys(("CHF", "SFr.", "Fr."), ("Swiss franc", "Swiss francs", "centime", "centimes")),
    **dict.fromkeys(("C$", "CA$", "CAD"), ("Canadian dollar", "Canadian dollars", "cent", "cents")),
    **dict.fromkeys(
        ("A$", "AU$", "AUD"), ("Australian dollar", "Australian dollars", "cent", "cents")
    ),
    **dict.fromkeys(("NZ$", "NZD"), ("New Zealand dollar", "New Zealand dollars", "cent", "cents")),
    "kr": ("krone", "kroner", "øre", "øre"),
    "DKK": ("Danish krone", "Danish kroner", "øre", "øre"),
    "NOK": ("Norwegian krone", "Norwegian kroner", "øre", "øre"),
    "SEK": ("Swedish krona", "Swedish kronor", "öre", "öre"),
    "PLN": ("zloty", "zlotys", "grosz", "groszy"),
    **dict.fromkeys(("Rs.", "Rs"), ("rupee", "rupees", "paisa", "paise")),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", "cent", "cents"),
    "S$": ("Singapore dollar", "Singapore dollars", "cent", "cents"),
    "R$": ("real", "reais", "centavo", "centavos"),
    "¢": ("cent", "cents", "", ""),
}
_BEFORE = rf"(?:{any_of(symbol for symbol in CURRENCIES if symbol != '¢')})"
_AFTER = rf"(?:[£€¥₹₩₽₿¢]|(?:{any_of(code for code in CURRENCIES if code.isalpha())})\b)"
_SCALE = (
    r"(?:\s?(?:k|K|m|M|mn|bn|b|B|tn|thousand|million|billion|trillion)"
    r"|-(?:million|billion|trillion|thousand))\b"
)


def _money(match: Match) -> str:
    names = CURRENCIES[match["symbol"]]
    scale = SCALES.get((match["scale"] or "").strip(" -").lower(), "")
    low, high, per = match["low"], match["high"], match["per"]
    hyphen = match.string[match.end() :].startswith("-")
    singular = is_attributive(match) or bool(
        hyphen and re.match(r"-(?!plus\b|ish\b)[a-z]", match.string[match.end() :])
    )
    low_scale = SCALES.get((match["low_scale"] or "").strip().lower(), "")
    if low_scale:
        words = f"{quantity(low)} {low_scale} to {_sum(high, scale, names, singular)}"
    elif high:
        words = f"{quantity(low)} to {_sum(high, scale, names, singular)}"
        if ("." in low and not scale) or (match["sep"].strip() == "to" and match["again"]):
            words = f"{_sum(low, '', names, False)} to {_sum(high, scale, names, singular)}"
    else:
        words = _sum(low, scale, names, singular)
    rate = f" {unit_words(per, False)}" if per else ""
    if thing := match["thing"]:
        rate = f" per {thing}"
    return f" {words}{rate}{'' if hyphen else ' '}"


def _sum(amount: str, scale: str, names: tuple[str, str, str, str], singular: bool) -> str:
    """('3.50', '', dollars) -> 'three dollars and fifty cents'."""
    one, many, cent, cents = names
    whole, _, part = amount.partition(".")
    if scale or (part and len(part) != 2) or not cent:
        is_one = singular or (amount == "1" and not scale)
        return f"{quantity(amount)} {scale} {one if is_one else many}"
    major, minor = without_separators(whole).lstrip("0"), part.lstrip("0")
    words = []
    if major or not minor:
        words.append(f"{cardinal(major or 0)} {one if major == '1' or singular else many}")
    if minor:
        words.append(f"{cardinal(minor)} {cent if minor == '1' or singular else cents}")
    return " and ".join(words)


_HIGH = (
    rf"(?:(?P<low_scale>{_SCALE})?(?P<sep>{RANGE})(?P<again>(?P=symbol)\s?)?(?P<high>{NUMBER}))?"
)
# "$3.99/dozen": a price is for any thing. "$5/off" is no price.
_RATE = (
    rf"(?:(?P<per>(?=/){UNIT})|/(?P<thing>(?!each\b|or\b|and\b|off\b|free\b)[a-z]{{3,}})\b(?!/))?"
)
# "$-45.10" is "-$45.10".
_SIGN_INSIDE = rf"(?P<symbol>{_BEFORE})\s?[-−](?=\.?\d)"

MONEY_SIGNS: Rules = (
    # a loss in a balance: "$(2.3) million"
    rule(rf"(?P<symbol>{_BEFORE})\((?P<sum>{NUMBER})\)", r"minus \g<symbol>\g<sum>"),
    rule(_SIGN_INSIDE, r"minus \g<symbol>"),
    # "8 x $12.50", "3/$10": so many for a price
    rule(rf"(?<=\d)\s?[x×*]\s?(?={_BEFORE}\s?\d)", " times "),
    rule(rf"({_BEFORE}\s?{NUMBER})\s?[x×*]\s?(?=\d)", r"\1 times "),
    rule(rf"(?<=\d)\s?/\s?(?={_BEFORE}\d)", " for "),
)
MONEY: Rules = (
    # the currency before, and before both ends of a range: "$10-20", "$10–$20", "USD 5"
    rule(
        rf"(?<![\w$£€])(?P<symbol>{_BEFORE})\s?(?P<low>{NUMBER}){_HIGH}(?P<scale>{_SCALE})?"
        rf"{_RATE}(?![\d%])",
        _money,
    ),
    # the currency after: "5 €", "10¢", "250 USD"
    rule(
        rf"{NUMBER_START}(?P<low>{NUMBER})(?:(?P<low_scale>{_SCALE})?(?P<sep>{RANGE})(?P<again>)(?P<high>{NUMBER}))?"
        rf"(?P<scale>{_SCALE})?"
        rf"\s?(?P<symbol>{_AFTER}){_RATE}",
        _money,
    ),
)
