"""Reduces a sum that is told as a story to what counts in it, for `story_sums.py`. No I/O.

    I had fifty dollars and spent eighteen. How much is left? -> HAS ## PAY ? LEFT

English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import NUMBER, plain

PERIOD: Final = r"(?:second|minute|hour|day|night|week|month|year)"
_MOST_CHARS: Final = 300  # longer stories have more amounts, and would take long to match

# Nobody counts with these numbers, and times of the day have another arithmetic.
_OTHER_NUMBERS = re.compile(
    r"\b(?:numbers?|code|pin|one of|o'clock"
    rf"|(?:room|extension|floor|chapter|page|step|gate|line|bus) (?:{NUMBER})|(?:half|quarter"
    rf"|minutes|\w+teen|ten|twenty|five) (?:past|to) \w+|(?:{NUMBER}) ?[ap]\.?m)\b"
)

# The words that count in a summary, by kind; each may also end in -s or -ed. No summary has OTHER.
_WORDS: Final = {
    "OTHER": "not|doesn't|don't|half|twice|than|older|younger|thirds?|quarters?|to(?= #)",
    "RATE": "each|every|per|apiece|times|(?<!is )(?<!was )at(?= #)",
    "PERIOD": rf"an? (?:{PERIOD}|visit|lesson)",
    "WITH": "with(?= #)",
    "SHARE": "share|sharing|split|divide|distribute|into|together|bill (?:is|was|comes to)",
    "FALL": "fall|fell|fallen|drop|dropp|sink|sank|(?:goes|went) down|decrease|shorten|cool|reduce"
    "|off|discount|cheaper|less",
    "RISE": "rise|rose(?= (?:by )?#)|risen|(?:goes|went) up|increase|climb|warm|raise|grow|grew"
    "|more expensive",
    "LOSE": "lose|lost|eat|ate|eaten|sell|sold|use|(?:get|gets|got|sent|cut|cuts) off|leave|left"
    "|away|(?:go|goes|went) (?:home|to)|flew|break|broke|broken|drink|drank|take|took|taken|remove"
    "|die|throw|threw|cancel|cancell|donate|lend|lent|return|stolen|occupied|reserve|full|gone"
    "|missing|watch|read|done|finish|walk|driven|drove",
    "PAY": "pay|paid|spend|spent",
    "GAIN": "gain|find|found|receive|add|win|won|join|come|came|arrive|(?:get|gets|got) (?:on|in)"
    "|more|another|(?:gives|gave) me",
    "GIVE": "give|gave|given",
    "GET": "get|got",
    "BUY": "buy|bought",
    "EARN": "earn",
    "SAVE": "save",
    "COST": "cost|weigh",
    "HAS": "has|have|had|is|are|was|were|am|last|make|made|bake|own|pick|collect|carry|carrie|hold"
    "|contain|caught|plant|(?:start|starts|begins|started) with",
}
_WORD = re.compile(
    "|".join(rf"(?P<{kind}>\b(?:{words})(?:e?s|e?d)?\b(?!'))" for kind, words in _WORDS.items())
)
_AMOUNT = re.compile("#( percent| per cent| ?%)?")
# What a story asks for: the first kind that its question matches.
_QUESTIONS: Final = {
    "IN_PERIOD": rf"\b(?:in|after) an? {PERIOD}\b",
    "BUYING": r"\bleft\b.*\b(?:buys?|bought) #|\b(?:buys?|bought) #.*\bleft\b",
    "LATER": r"how old will .*\bin # years",
    "EARLIER": r"how old (?:was|were) .*# years ago",
    "CHANGE": r"\bchange\b|\bback\b",
    "MORE": r"how (?:much|many(?: \w+)?) (?:more|fewer|less|\w+er)\b",
    "EACH": r"\b(?:each|every|per|one)\b(?! (?:minute|hour|day|night|week|month|year))",
    "LEFT": r"how (?:much|many|long)\b.*\b(?:left|remains?|remaining|still|over|free|empty"
    r"|available|stay(?=\W*$))\b",
    "TOTAL": r"how (?:much|many)\b.*\b(?:altogether|in total|in all|together|all told)\b",
    "NOW": r"^(?:and |so )?(?:what|how)\b.*\b(?:now|then)\b|^what(?: i|')s (?:it|the)\b|\bprice\b"
    r"|how (?:much|long|tall|high|heavy|warm|cold|hot|deep) is it\b"
    r"|\bdo(?:es)? .*\b(?:have|cost|weigh)\b"
    r"|how many\b.*\b(?:are there|(?:are|is) (?:on|in))\b",
    "SAVE": r"\bsave\b",
    "EARN": r"\bearn\b",
    "PAY": r"\b(?:pay|spend)\b",
}


def plain_story(text: str) -> str:
    """Return a text as the rules for stories expect it; '' if its numbers are not amounts."""
    told = re.sub(r"[!;:]", ".", plain(text))
    return "" if len(told) > _MOST_CHARS or _OTHER_NUMBERS.search(told) else told


def kind_of_question(question: str) -> str:
    """Return what is asked for: "How much is left?" -> LEFT; '' if it is none of the kinds."""
    return next((kind for kind, form in _QUESTIONS.items() if re.search(form, question)), "")


def summary_of(story: str, question: str) -> str:
    """Return the kinds of words in a story, its amounts, and what its question asks for.

    "I had # dollars and spent #", "how much is left if I buy # more?" -> "HAS ## PAY ? BUYING #":
    the kinds before the first amount, '#' for each amount or '%' for a part of another one, the
    kinds after it, and the kind and the amounts of the question. Kinds are in alphabetical order.
    """
    first = story.find("#")
    words = [(word.lastgroup or "", word.start() < first) for word in _WORD.finditer(story)]
    before = {kind for kind, is_before in words if is_before} or ({"HAS"} if first == 0 else set())
    after = {kind for kind, is_before in words if not is_before} - {"HAS"}
    told, asked = (
        "".join("%" if part else "#" for part in _AMOUNT.findall(text))
        for text in (story, question)
    )
    kinds = (*sorted(before), told, *sorted(after), "?", kind_of_question(question), asked)
    return " ".join(filter(None, kinds))
