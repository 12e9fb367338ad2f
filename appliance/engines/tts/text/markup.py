"""Markdown, HTML tags and emoticons: removed, but never together with a number.

">5 mg" at the start of a line is a comparison, not a quotation; "<3" is not a heart, and "8)" is an
item of a list.
"""

from __future__ import annotations

import re

from appliance.engines.tts.text.algebra import STARS_AND_BARS
from appliance.engines.tts.text.numbers import digits
from appliance.engines.tts.text.rule import Match, Rules, rule


def _masked(match: Match) -> str:
    """'***-**-6789' -> 'ending in six seven eight nine'."""
    return f"ending in {digits(match[1])}"


_TAGS = (
    "a|b|i|u|s|p|em|strong|br|hr|div|span|ul|ol|li|h[1-6]|code|pre|table|thead|tbody|tr|td|th|sub"
    "|sup|img|details|summary|blockquote|small|mark|del|ins|kbd|think|speak|section"
)

# Possessive, so that a long row of stars takes linear time.
# Up to three stars are bold text: "**12**".
_MASK = (
    r"(?:(?:[*•]{2,16}+|[xX]{2,16}+)-(?:[*•]{2,16}+|[xX]{2,16}+)|[*•]{4,16}+|[xX]{3,16}+)"
    r"(?:[- ](?:[*•]{2,16}+|[xX]{2,16}+)){0,3}+[- ]?"
)

MARKUP: Rules = (
    # a number of which only the end is shown: "***-**-6789"
    rule(rf"(?<![\w*•]){_MASK}(\d{{2,5}})(?![\w*-])", _masked),
    *STARS_AND_BARS,
    rule(r"```[\w+-]*", " "),
    rule(r"!?\[([^\[\]\n]*)\]\(([^()\s]|\([^()\s]*\))*(?:\s\"[^\"]*\")?\)", r"\1"),
    rule(rf"</?(?:{_TAGS})(?:\s[^<>\n]{{0,80}})?/?>|</[A-Za-z]{{1,20}}>", " ", re.I),
    rule(r"&(?:nbsp|#160);", " "),
    rule(r"&lt;", "<"),
    rule(r"&gt;", ">"),
    rule(r"&amp;", "&"),
    rule(r"^ ?(?:[-*_] ?){3,100}$", " ", re.M),
    rule(r"^[ |:-]{0,200}-{3}[ |:-]{0,200}$\n?", "", re.M),  # line under a table header
    rule(r"^ ?#{1,6} ", "", re.M),
    rule(r"^ ?>+(?! ?[\d.$£€=-]) ?", "", re.M),
    rule(r"^ ?[-*+•] (?:\[[ xX]\] )?", "", re.M),
    rule(r"(?<!\w)(\*{1,3}|_{1,3}|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2", re.S),
    rule(r"`+", ""),
    rule(r"\*{2,}|~~|(?<!\w)_+|_+(?!\w)", ""),
    rule(r"\s*\|\s*", ", "),
    rule(r"(?<!\w)(?:[:;][-o']?[)(\]\[dDpPoO/|]|\^_\^|:'\()(?!\w)", " "),
)
