"""Works out sums that a caller tells as a story, because small models guess them. No I/O.

"A ticket costs nine pounds. How much are four tickets?" is answered with forty pounds. The result
of common stories is known, as that of other sums (`spoken_sums.py`):

    I had fifty dollars and spent eighteen. How much is left? -> 32
    Tom is twelve and his sister is three years younger. How old is his sister? -> 9

A story is one of the kinds of `_KINDS`: its verbs, and how many amounts it has. All others have no
result here. If they have two amounts and ask for another one, the model is asked to work step
by step ("First, 3 times 14 is"), and `stated_sums.py` adds the results. English, as `llm.language`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from appliance.engines.llm.small.hints.spoken_sums import NUMBER, number_value, written

STEP_BY_STEP: Final = "Work it out step by step."

_MOST_CHARS: Final = 300  # longer stories have more amounts, and would take long to match

_AMOUNT = re.compile(
    rf"(?:{NUMBER})|\b(?:twice|double|half|(?:a|an|per|each|every) (?:day|week|month|year|hour)"
    r"|dozen|in a (?:day|week|month|year)|once|a third|a quarter)\b"
)
_NUMBER = re.compile(NUMBER)
_ASKS = re.compile(
    r"\b(?:how (?:much|many|old|far|long|tall|high|heavy|warm|cold|hot|deep|fast|late)"
    r"|what(?:'s| is| was| does| do| did| will|'ll)? (?:the |my |our |his |her |its )?(?:\w+ )?"
    r"(?:total|left|cost|costs|pay|price|change|rest|sum|age|temperature|weight|distance|profit|it"
    r"|that|they|i|we|time)\b)[^?]*\?\W*$"
)
# Nobody counts with these numbers, and times of the day have another arithmetic.
_OTHER_NUMBERS = re.compile(
    r"\b(?:numbers?|code|pin|one of|o'clock"
    rf"|(?:room|extension|floor|chapter|page|step|gate|line|bus) (?:{NUMBER})|(?:half|quarter"
    rf"|minutes|\w+teen|ten|twenty|five) (?:past|to) \w+|(?:{NUMBER}) ?[ap]\.?m)\b"
)

_LOSES: Final = (
    r"(?:spen[dt]s?|gives?|gave|given|los[et]s?|eats?|ate|eaten|s[eo]lls?|sold|uses?|used|gets? off"
    r"|got off|lea(?:ve|ves)|left|go(?:es)? (?:home|away)|went (?:home|away|to)|br(?:eaks?|oken?)"
    r"|drinks?|drank|takes?|took|removed?|flew|fly away|flies away|died?|run away|ran away|pays?"
    r"|paid|cut off|throws?|threw|cancel(?:l?ed)?|donated?|lent|returned|was stolen|were stolen)"
)
_GONE: Final = (
    r"(?:taken|occupied|reserved|full|gone|missing|watched|read|done|finished|walked|driven|drove"
    r"|cut off)"
)
_GAINS: Final = (
    r"(?:f(?:i|ou)nds?|receives?|received|adds?|added|w[io]ns?|joins?|joined|comes?|came|arrives?"
    r"|arrived|gets? on|got on|gets? in|got in|gets? (?:another )?#|got (?:another )?#"
    r"|b(?:uys?|ought) (?:another )?# more|earns?|earned|save[sd]? (?:another )?#|another|more)"
)
_HAS: Final = (
    r"\b(?:has|have|had|there (?:are|were|is|was)|bakes?|baked|makes?|made|owns?|owned|picked"
    r"|collected"
    r"|bought|carries|carried|starts? with|started with|begins? with|holds?|got|caught|planted"
    r"|earns?|earned)\b"
)
_FALLS: Final = (
    r"\b(?:f[ae]lls?|fallen|dropp?e?d?s?|sank|sinks?|goes down|went down|decrease[sd]?|cuts? off"
    r"|shortened|los[et]s?|lost|cools?"
    r"|cooled)(?: down)?"
)
_RISES: Final = (
    r"\b(?:rises?|rose|risen|goes up|went up|increase[sd]?|climb(?:s|ed)?|warm(?:s|ed)?)(?: up)?"
)
_EACH: Final = r"\b(?:each|per|every|apiece|times)\b"
_REST: Final = (
    r"how (?:much|many)\b.*\b(?:left|remain|remains|remaining|still|over|free|empty|available"
    r"|stay|stayed|are there|(?:do|does) (?:i"
    r"|he|she|we|they|\w+) (?:now )?have|(?:are|is) (?:now|on|in)\b)"
)
_TOGETHER: Final = r"how (?:much|many)\b.*\b(?:altogether|in total|in all|together|all told)\b"
_PERIODS: Final = {
    ("day", "week"): 7, ("hour", "day"): 24, ("month", "year"): 12, ("night", "week"): 7,
    ("week", "year"): 52,
    ("minute", "hour"): 60, ("second", "minute"): 60,
}  # fmt: skip
_UNIT_OF_RATE: Final = (
    r"(?:hour|day|week|month|year|minute|second|night|lesson|visit|kilometer|kilometre|mile|kilo"
    r"|kilogram|liter|litre|person|meter|metre)"
)
_COSTS: Final = (
    r"(?:costs?|is|holds?|contains?|has|weighs?|needs?|takes?|lays?|eats?|drinks?|uses?|seats?"
    r"|carries)"
)


def story_result(text: str) -> str:
    """Return the result of the story that `text` tells; '' if it is none or another one."""
    values: list[Fraction] = []

    def keep(match: re.Match[str]) -> str:
        values.append(number_value(match[0]))
        return "#"

    told = _plain(text)
    if not told.endswith("?") or len(told) > _MOST_CHARS or _OTHER_NUMBERS.search(told):
        return ""
    told = re.sub(r"\b(each|every|which|this|that|no|any|the) one\b", r"\1", told)
    told = re.sub(r"\bone (?=\w+ (?:has|costs?|holds|contains|weighs|needs|takes) )", "a ", told)
    told = re.sub(r"\bin one (hour|day|week|minute|month|year)\b", r"an \1", told)
    told = re.sub(r"[$£€] ?(?=\d)", "", told)
    told = _NUMBER.sub(keep, told)
    told = re.sub(r"\bminus #", "-#", told)
    if "-#" in told:
        values[told[: told.index("-#")].count("#")] *= -1
        told = told.replace("-#", "#")
    story, _, question = told.rpartition(". ") if ". " in told else told.rpartition(", ")
    found = {
        result
        for kind in _KINDS
        if (result := kind(story, question, values)) is not None and result.denominator <= 100
    }
    return written(found.pop()) if len(found) == 1 else ""


def asks_for_story_sum(text: str) -> bool:
    """Return whether a text tells two amounts or more and asks for another one."""
    asked = _plain(text)
    if len(asked) > _MOST_CHARS or not _ASKS.search(asked) or _OTHER_NUMBERS.search(asked):
        return False
    return len(_AMOUNT.findall(asked)) >= 2 and bool(_NUMBER.search(asked))


def _plain(text: str) -> str:
    text = text.casefold().replace("’", "'").strip()
    return re.sub(r"(?<=[a-z])-(?=[a-z])", " ", re.sub(r"[!;:]", ".", text))


_Amounts = Sequence[Fraction]
_Kind = Callable[[str, str, _Amounts], Fraction | None]


def _rest(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I had # and spent #. How much is left?"""
    if len(n) != 2 or story.count("#") != 2 or not re.search(_REST, question):
        return None
    first, second = story.split("#")[:2]
    has = rf"{_HAS}|^\W*$" + (r"|\b(?:is|lasts)\b" if "left" in question else "")
    is_asked = bool(re.search(has, first)) and not re.search(_EACH, story)
    after = second + story.split("#")[2]
    loses = bool(re.search(rf"\b(?:{_LOSES}|{_GONE})\b", after)) or "cost" in after
    if re.search(r"\bdoesn't|\bdon't|\bnot\b|\bhalf\b|percent", story) or not is_asked:
        return None
    gains = bool(re.search(rf"\b{_GAINS}\b|\bmore\b", f"{second}#{story.split('#')[2]}"))
    if loses == gains or (loses and n[0] < n[1]):
        return None
    return n[0] - n[1] if loses else n[0] + n[1]


def _change(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I pay with # for something that costs #. How much change do I get?"""
    is_change = re.search(r"\bchange\b|get back|\bback\b", question)
    if len(n) != 2 or not is_change or not re.search(r"\b(?:pa(?:y|id)|g[ia]ve)\b", story):
        return None
    return abs(n[0] - n[1])


def _price(story: str, question: str, n: _Amounts) -> Fraction | None:
    """A ticket costs #. How much are # tickets?"""
    if len(n) != 2 or re.search(r"\b(?:left|remain|change|back|percent|than)\b", question):
        return None
    if re.search(
        r"# [a-z]+(?: [a-z]+)? (?:at|for) # [a-z]+ (?:each|apiece|per piece|a piece)", story
    ):
        return n[0] * n[1]
    of_each = (
        r"# [^#]*\b(?:each|every) [a-z ]*\b(?:has|have|costs?|holds|contains|gets|needs|eats"
        r"|lays) #"
    )
    many_of_one = (
        r"(?:^|\W)# [^#]*\b(?:cost|are|weigh|hold|contain|need|take|seat|carry) #[^#]*"
        r"\b(?:each|apiece)\b"
    )
    is_each = re.search(of_each, story) or re.search(many_of_one, story)
    if is_each and not re.search(rf"\b{_LOSES}\b", story):
        return n[0] * n[1]
    if story.count("#") != 1 or question.count("#") != 1:
        return None
    is_one = re.search(rf"\b(?:an?|one|each|every|the) [\w ]*\b{_COSTS} #", story) or re.search(
        rf"#[\w ]*\b(?:each|apiece|an?|per) ?{_UNIT_OF_RATE}?\b|\b(?:boxes|packs|bags) of #", story
    )
    asks = re.search(
        r"how (?:much|many|far|long)\b(?!.*\b(?:left|change|more|older|each)\b).*#", question
    )
    is_rest = re.search(r"\b(?:left|remain|percent|older|younger|than)\b", f"{story} {question}")
    return n[0] * n[1] if is_one and asks and not is_rest else None


def _rest_after_price(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I have # dollars and a book costs #. How much is left if I buy # books?"""
    is_story = re.search(r"\b(?:have|had|has) #[^#]*\b(?:costs?|is) #", story)
    is_asked = re.search(
        r"\bleft\b.*\bb(?:uy|uys|ought) #|\bb(?:uy|uys|ought) #.*\bleft\b", question
    )
    return n[0] - n[1] * n[2] if len(n) == 3 and is_story and is_asked else None


def _rate(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I earn # an hour and work # hours. How much do I earn? I drink # cups a day. In a week?"""
    rate = re.search(rf"#[^#.]*\b(?:an?|per|each|every) (?P<unit>{_UNIT_OF_RATE})\b", story)
    asks = r"how (?:much|many|far)\b|what (?:do|does|did|will|is|are)\b"
    if rate is None or not re.search(asks, question):
        return None
    whole = f"{story}. {question}"
    if re.search(r"\b(?:left|remain|percent|than|change)\b", whole):
        return None
    unit = rate["unit"]
    if whole.count("#") == 1:
        asked = re.search(r"\b(?:in|per|for|every|each) ?(?:an?|one)? (\w+)", question)
        many = _PERIODS.get((unit, asked[1])) if asked else None
        return None if many is None else n[0] * many
    others = f"{whole[: rate.start()]} {whole[rate.end() :]}"
    if len(n) == 2 and re.search(rf"# {unit}s\b", others):
        return n[0] * n[1]
    return None


def _times(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I take # tablets # times a day. How many is that a day? How many do I need for # days?"""
    match = re.search(r"# \w+,? # times (?:an?|per|each|every) (?P<unit>\w+)", story)
    if match is None or not re.search(r"how (?:much|many)\b", question):
        return None
    unit = match["unit"]
    if len(n) == 3 and re.search(rf"# {unit}s\b", story[match.end() :] + question):
        return n[0] * n[1] * n[2]
    if len(n) == 2 and re.search(rf"\b(?:an?|per|each|every|one) {unit}\b", question):
        return n[0] * n[1]
    if len(n) == 2 and (asked := re.search(r"\b(?:an?|per|one) (\w+)\W*$", question)):
        many = _PERIODS.get((unit, asked[1]))
        return None if many is None else n[0] * n[1] * many
    return None


def _share(story: str, question: str, n: _Amounts) -> Fraction | None:
    """We share # biscuits among # children. How many does each get?"""
    shares = re.search(
        r"\b(?:shares?|shared|sharing|splits?|divides?|divided|distributed?|cuts? .* into|bill"
        r" (?:is|was|comes to)"
        r"|pa(?:y|id) .* together)\b", story
    )  # fmt: skip
    each = re.search(r"\b(?:each|every|per|one)\b", question) and not re.search(r"\bwith #", story)
    if len(n) != 2 or not shares or not each or story.count("#") != 2 or min(n) <= 0:
        return None
    return max(n) / min(n)


_WHO: Final = r"(?P<{}>i|me|\w+)"
_OLDER = re.compile(
    rf"{_WHO.format('who')} (?:is|am|are|'s) # years? (?P<way>older|younger)"
    rf"(?: than (?:(?:my|his|her|our|the) )?{_WHO.format('than')})?"
)
_AGE = re.compile(rf"{_WHO.format('who')} (?:is|am|are|was) #(?! years? (?:older|younger))")


def _age(story: str, question: str, n: _Amounts) -> Fraction | None:
    """Tom is # and his sister is # years younger. How old is his sister?"""
    later = re.match(r"how old (?:will|was|were) .*(?:\bin # years|# years ago)", question)
    if later and len(n) == 2 and re.search(r"\b(?:is|am|are) #", story):
        return n[0] + n[1] if "in #" in question else n[0] - n[1]
    older, age = _OLDER.search(story), _AGE.search(story)
    if len(n) != 2 or older is None or age is None or not re.match(r"how old\b", question):
        return None
    is_first = older.start() < age.start()
    difference, known = (n[0], n[1]) if is_first else (n[1], n[0])
    sign = 1 if older["way"] == "older" else -1
    than = {"me": "i"}.get(older["than"] or "", older["than"] or age["who"])
    if age["who"] == than:
        return known + sign * difference
    return known - sign * difference if age["who"] == older["who"] else None


def _level(story: str, question: str, n: _Amounts) -> Fraction | None:
    """It was # degrees and it fell by #. What is it now?"""
    if len(n) != 2 or not re.match(r"(?:and |so )?(?:what|how)\b", question) or "to #" in story:
        return None
    if not re.search(r"\b(?:is|was|were|are|at|costs?|weighs?|weighed|has|had) #", story):
        return None
    if re.search(r"percent|twice|half", story):
        return None
    falls, rises = (re.search(rf"{verb} (?:by )?#", story) for verb in (_FALLS, _RISES))
    if bool(falls) == bool(rises):
        return None
    return n[0] - n[1] if falls else n[0] + n[1]


def _percent(story: str, question: str, n: _Amounts) -> Fraction | None:
    """A shirt costs # and is reduced by # percent. What does it cost now?"""
    if len(n) != 2 or not re.search(r"#[^#]*#(?: percent| per cent|%)", story):
        return None
    if not re.search(r"\b(?:now|then|pay|cost|price|weigh)\b", question) or "save" in question:
        return None
    falls = re.search(rf"\b(?:reduced|off|discount|cheaper|less)\b|{_FALLS}", story)
    rises = re.search(rf"\b(?:raised|more expensive|more)\b|{_RISES}", story)
    if bool(falls) == bool(rises):
        return None
    return n[0] * (100 - n[1] if falls else 100 + n[1]) / 100


def _multiple(story: str, question: str, n: _Amounts) -> Fraction | None:
    """Anna has twice as many books as Ben. Ben has #. How many does Anna have?"""
    match = re.search(
        r"(?P<who>\w+) \w+ (?P<times>twice|# times|half) as \w+ (?:\w+ )?as "
        r"(?:my |his |her )?(?P<than>\w+)", story
    )  # fmt: skip
    if match is None or match["who"] not in re.findall(r"\w+", question):
        return None
    many = {"twice": Fraction(2), "half": Fraction(1, 2)}.get(match["times"])
    factor = n[story[: match.start("times")].count("#")] if many is None else many
    others = list(n)
    if many is None:
        others.remove(factor)
    than = {"me": "i"}.get(match["than"], match["than"])
    if len(others) != 1 or not re.search(rf"\b{than} (?:has|have|is|am|owns?|had) #", story):
        return None
    return factor * others[0]


def _total(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I have # apples and # pears. How many is that in total?"""
    if not re.search(_TOGETHER, question) or question.count("#") or len(n) < 2:
        return None
    if re.search(rf"{_EACH}|\b{_LOSES}\b|percent|twice|half|\bat #|\ban? \w+\b", story):
        return None
    return Fraction(sum(n))


_SPENDS: Final = (
    re.compile(r"\b(?:bought|buys?|paid|pays?|spent|spends?)\b"),
    re.compile(r"\b(?:saved?|saves)\b"),
    re.compile(r"\b(?:earn(?:ed|s)?)\b"),
)


def _spent(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I bought a coat for # and shoes for #. How much did I spend?"""
    if len(n) != 2 or not re.search(r"[a-z][^#]*#[^#]*\band\b[^#]*#", story):
        return None
    if re.search(
        rf"{_EACH}|\ban? {_UNIT_OF_RATE}\b|\bat #|percent|twice|half|back|\b(?:had|have|left)\b",
        story,
    ):
        return None
    told, asked = ([bool(verb.search(text)) for verb in _SPENDS] for text in (story, question))
    is_same = told == asked and sum(told) == 1 and not question.count("#")
    return n[0] + n[1] if is_same and re.search(r"how much\b", question) else None


def _difference(story: str, question: str, n: _Amounts) -> Fraction | None:
    """I am # and my brother is #. How much older is he?"""
    asks = (
        r"how (?:much|many(?: \w+)?) (?:more|fewer|less|older|younger|taller|longer|heavier"
        r"|colder|warmer|smaller|farther|higher)\b"
    )
    if len(n) != 2 or not re.search(asks, question) or question.count("#"):
        return None
    return None if re.search(_EACH, story) else abs(n[0] - n[1])


_KINDS: Final[tuple[_Kind, ...]] = (
    _rest,
    _rest_after_price,
    _change,
    _price,
    _rate,
    _times,
    _share,
    _age,
    _level,
    _percent,
    _multiple,
    _total,
    _spent,
    _difference,
)
