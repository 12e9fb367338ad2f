"""Unicode: brings the many forms of a character to one, and drops what an English voice cannot say.

Superscripts become an exponent ("10⁹" -> "10^9"), vulgar fractions become digits ("1½" -> "1 1/2"),
so that the rules for numbers need to know one notation only.
"""

from __future__ import annotations

import re
import unicodedata

# Signs that look alike. All hyphens are "-", all short dashes "–"; the minus sign stays, because
# "20−5" is a difference and "20–5" a range.
_SAME = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ`´", "'"),
        **dict.fromkeys("“”„«»", '"'),
        **dict.fromkeys("‐‑﹣-", "-"),
        **dict.fromkeys("‒–", "–"),
        **dict.fromkeys("˚º", "°"),
        **dict.fromkeys("⋅∙", "·"),
        "∼": "~",
        "⩽": "≤",
        "⩾": "≥",
        "≦": "≤",
        "≧": "≥",
        "μ": "µ",
        "′": "'",
    }
)
del _SAME[ord("`")]  # marks code in markdown
_KEEP = frozenset("\n°µ…™®©″")  # NFKC would change these
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT = re.compile(r"(?<=[\w)])[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
# "Ca²⁺" and "Cl⁻", but "10⁻³" is a power
_CHARGE = re.compile(r"(?<=[A-Za-z₂₃₄])([²³]?)([⁺⁻])(?![⁰¹²³⁴⁵⁶⁷⁸⁹])")
_PUNCTUATION = frozenset(".,;:!?…—'\"()-")
# Letters above this code point are unknown to the G2P's dictionaries; their base letters are not.
_LAST_KNOWN_LETTER = 0x2AF


def unify(text: str) -> str:
    """Replace styled letters, look-alikes, superscripts and vulgar fractions.

    Control characters become spaces, except for line breaks.
    """
    text = _CHARGE.sub(_charge, text)
    text = _SUPERSCRIPT.sub(lambda m: "^" + m[0].translate(_SUPERSCRIPTS), text.translate(_SAME))
    kept: list[str] = []
    for char in text:
        if char in _KEEP:
            kept.append(char)
        elif unicodedata.category(char) in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif unicodedata.decomposition(char).startswith("<fraction>"):
            space = " " if kept and kept[-1].isdecimal() else ""
            kept.append(space + unicodedata.normalize("NFKC", char).replace("⁄", "/"))
        elif char.isdecimal():
            kept.append(str(unicodedata.decimal(char)))
        else:
            kept.append(unicodedata.normalize("NFKC", char))
    text = unicodedata.normalize("NFC", "".join(kept)).replace("⁄", "/").replace("μ", "µ")
    return re.sub(r"[^\S\n]*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text))


def _charge(match: re.Match[str]) -> str:
    """Return the charge of an ion in words: '²⁺' -> ' two plus'."""
    number = {"²": " two", "³": " three"}.get(match[1], "")
    return f"{number} {'plus' if match[2] == '⁺' else 'minus'}"


def keep_sayable(text: str) -> str:
    """Keep Latin letters, punctuation and spaces; replace all else with spaces or nothing."""
    kept = []
    for char in text:
        if char.isalpha():
            kept.append(_latin(char))
        elif char in _PUNCTUATION or char.isspace():
            kept.append(char)
        elif unicodedata.category(char) not in ("Mn", "Cf", "Cs", "Co"):
            kept.append(" ")
    return "".join(kept)


def _latin(char: str) -> str:
    if "LATIN" not in unicodedata.name(char, ""):
        return " "
    if ord(char) <= _LAST_KNOWN_LETTER:
        return char
    base = unicodedata.normalize("NFD", char)[0]
    return base if ord(base) <= _LAST_KNOWN_LETTER else " "
