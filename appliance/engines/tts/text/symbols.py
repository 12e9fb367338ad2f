"""What is left when numbers are words: symbols get their names, and punctuation is made regular."""

from __future__ import annotations

import re

from appliance.engines.tts.text.rule import Match, Rules, any_of, rule

_NAMES = {
    "&": "and",
    "%": "percent",
    "°": "degrees",
    "×": "times",
    "÷": "divided by",
    "=": "equals",
    "π": "pi",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "Δ": "delta",
    "ε": "epsilon",
    "η": "eta",
    "κ": "kappa",
    "λ": "lambda",
    "µ": "mu",
    "ρ": "rho",
    "σ": "sigma",
    "Σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "χ": "chi",
    "ψ": "psi",
    "θ": "theta",
    "Ω": "omega",
    "ω": "omega",
    "∞": "infinity",
    "√": "the square root of",
    "∑": "the sum of",
    "∫": "the integral of",
    "∂": "partial",
    "∈": "in",
    "∩": "and",
    "∪": "or",
    "∝": "is proportional to",
    "↑": "up",
    "↓": "down",
    "↔": "to",
    "™": "",
    "®": "",
    "©": "",
    "•": ",",
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
    "¢": "cents",
    "″": "inches",
    "†": "",
}


def _hashtag(match: Match) -> str:
    """'#SafetyFirst' -> 'hashtag Safety First'."""
    return f"hashtag {re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', match[1])}"


SYMBOLS: Rules = (
    rule(r"(?<=\w)_(?=\w)", " "),
    rule(r"(?<!\w)#([A-Za-z]\w*)", _hashtag),
    rule(r"#(?=\w)", ""),
    rule(r"@(?=\w)", "at "),
    rule(r"\s@\s", " at "),
    rule(r"(?<=[a-z])\s?<\s?(?=[a-z])", " less than "),
    rule(r"(?<=[a-z])\s?>\s?(?=[a-z])", " greater than "),
    rule(any_of(_NAMES), lambda m: f" {_NAMES[m[0]]} "),
    rule(r"(?<=\w)\s?/\s?(?=\w)", " "),
    rule(r"(?<=[a-z])\.(?=[A-Z]\b)", " "),  # "Section IV.B"
    # "six(one)" and the plural "valve(s)" have no pause
    rule(r"(?<=\w)\(s\)", "s"),
    rule(r"(?<=\w)\((?=\w+\))", " ("),
    rule(r"\s[-–]{1,2}\s|--+|(?<=\w)–(?=\w)", " — "),
    rule(r"[\\^=<>{}\[\]|~*/#@+$§]", " "),
)

TIDY: Rules = (
    rule(r"(?<=[\w)'\"])[^\S\n]*\n\s*", ", "),  # read a line break as a pause
    rule(r"\.{2,}", "…"),
    rule(r"([!?])[!?]+", r"\1"),
    rule(r"…+", "…"),
    rule(r"\(\s*\)", " "),
    rule(r"\s+", " "),
    rule(r"\s+([,.;:!?…)])", r"\1"),
    rule(r"\(\s+", "("),
    rule(r"(?<=[a-z]),(?=[a-z])", ", "),
    rule(r"([,;:])(?:\s*[,;:])+", r"\1"),
    rule(r"[,;:]\s*([.!?…])", r"\1"),
    rule(r"([.!?…])(?:\s*[.,;:])+(?=\s|$)", r"\1"),
    rule(r"^[\s,.;:!?…)—-]+", ""),
)
