"""Recognizes questions for facts of the place, because small models invent the answers. No I/O.

Asked for the address of the clinic, a small model says "123 Main Street". Nobody has told it, so
the prompt says what is true after such a question:

    What is the address of the clinic? (You have no information about this.)

The rules name what only somebody at the place can know: where its rooms and people are, when they
can be reached, how long the wait is, what things cost, what is in the caller's records, and what is
new today. They do not apply to what the caller has told before, and not with a system prompt of the
site or tools of the site, which may have the answers. English, as `llm.language`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.engines.llm.small.hints.openings import ASKS_TO_KNOW, FILLERS

NO_FACTS: Final = "You have no information about this."

_DET = (
    r"(?:the|your|our|this|my|his|her|their|that)(?: (?:next|nearest|closest|last|first|main|new))?"
)
_ROOM = (
    r"(?:clinic|hospital|pharmacy|office|reception|(?:front|help|information|service) desk"
    r"|cafeteria|canteen|restaurant|kitchen|gate|emergency (?:room|department|entrance)|er|icu"
    r"|ward|lab(?:oratory)?|x-?ray (?:department|room|unit)?|radiology|[a-z]+ department"
    r"|department|car park|parking(?: lot| garage| area)?|garage|lift|elevator|toilets?|restrooms?"
    r"|bathroom|washroom|entrance|exit|court(?:house|room)?|registry|factory|workshop|warehouse"
    r"|shop|store|bakery|library|gym|pool|bank|museum|station|bus stop|airport|surgery|practice"
    r"|(?:waiting|meeting|control|break|operating|delivery|staff|server) room|chapel|atm"
    r"|cash machine|theat(?:er|re)|playground|school|hotel|lobby|wing|archive|counter)"
)
_PERSON = (
    r"(?:doctors?|dr\.?|nurses?|midwi(?:fe|ves)|surgeons?|managers?|directors?|boss|supervisor"
    r"|foreman|judges?|clerk|lawyers?|attorneys?|receptionist|technicians?|engineers?|electrician"
    r"|plumber|porter|principal|teacher|mr\.?|mrs\.?|ms\.?|miss|professor|staff)"
)
_SERVICE = (
    r"(?:bus|train|tram|subway|ferry|flight|plane|shuttle|taxi|shift|appointment|meeting|hearing"
    r"|trial|operation|visit|delivery|order|parcel|package|shipment|bill|invoice|prescription"
    r"|ambulance|lunch|dinner|breakfast|visiting hours|bed|room)"
)
_RECORD = (
    r"(?:blood (?:pressure|type|sugar|group|test)|balance|account(?: balance)?|(?:lab |test |scan"
    r" |x-?ray )?results?|appointments?|bill|order|prescription|diagnosis|insurance|policy|dose"
    r"|medication|schedule|shift|salary|case|hearing|file|scan|x-?ray|parcel|package|delivery"
    r"|surgery|operation|flight|train|bus|doctor|nurse|lawyer|ticket|invoice|application)"
)
_BODY = r"(?:kidneys?|liver|heart|lungs?|appendix|brain|stomach|spleen|pancreas|bladder|tonsils)\b"
_PERSON_NAMED = rf"(?:{_DET} )?{_PERSON}"
_THING = rf"(?:{_DET} (?:{_ROOM}|{_PERSON}|{_SERVICE})|(?:doctor|dr\.?|nurse|mrs?\.?|ms\.?) \w+)"
_IS = r"(?:'s| is| are| was| were| will be)"
_DOES = r"(?:is|are|was|were|does|do|did|will|can|has|have)"

_OPENING = rf"^\W*{FILLERS}{ASKS_TO_KNOW}"
_KINDS: Final = (
    # where somebody or something is, and what is there
    rf"where{_IS} (?:{_THING}|my (?!{_BODY})\w+|you\b"
    r"|the (?:nearest|closest) (?!star|planet|galaxy))",
    rf"where (?:can|do|should|could) (?:i|we) (?:park|sit|wait|register|check in|sign in|pay|smoke"
    rf"|find {_THING}|meet|hand in|pick up|collect|enter|get in)\b",
    r"(?:on |in |at |from )?(?:which|what) (?:floor|room|ward|building|gate|platform|entrance|door"
    rf"|window|counter|desk|street|bus|train|line|wing|corridor|hall|bed|level) {_DOES}\b",
    r"(?:is|are) there (?:an?|any)\b.*\b(?:near(?:by)? ?(?:you|here|me|us)?|around here|close by"
    rf"|here|(?:in|at) (?:the|this|your) {_ROOM}|available|free)\W*$",
    r"(?:are there|do you have|have you got) (?:any )?(?:free|available|vacant|open)\b",
    # when
    r"(?:when|what time|until when|till when|from when|how late|how early|how long)"
    rf" {_DOES} (?:you (?:open|close|start|finish|serve)|{_THING}|(?:the )?next\b|my {_RECORD}"
    r"|lunch|dinner|breakfast|(?:i|we) (?:be seen|go home|leave|visit|see|come|eat|pick|collect))",
    rf"{_DOES} {_THING}\b(?! (?:an?|in general)\b).*",
    r"are (?:the|any) (?:shops|stores|banks|museums|offices|pharmacies|restaurants) (?:still"
    r" )?open\b",
    r"what(?:'s| is) (?:on|in) my (?:calendar|diary|schedule|agenda|inbox|list|to-do list)",
    r"what(?:'s| is) the (?:latest|current|newest) (?:news|score|stock|price|exchange rate)",
    r"what(?:'s| is) the (?:stock|share) price\b",
    r"when(?:'s| is) the next (?:bus|train|flight|ferry|tram|plane|boat|game|match)\b",
    r"are you (?:open|closed|busy|fully booked|hiring)\b",
    # how much there is to wait, to do, to pay
    r"how (?:busy|full|crowded)\b",
    r"how long (?:is|are|will) (?:the|your) (?:wait|queue|line|waiting|delay)",
    r"how long (?:do|will|must|should) (?:i|we) (?:have to |need to )?wait\b",
    r"how many (?:people|patients|visitors|callers|cars|staff|doctors|nurses|employees|beds|rooms"
    r"|seats|tables|places)\b.*\b(?:waiting|here|now|today|tonight|free|available|left|on duty"
    r"|work(?:ing)?|ahead|in (?:the|your) (?:queue|line|room|building)|before me|do you have)\b",
    rf"how far (?:is|are) (?:{_THING}|the nearest|it (?:to|from) {_THING})",
    r"how much (?:does|do|is|are|will|would|must|did)\b.*\b(?:costs?|pay|charge|owe|fee|ticket)\b",
    rf"what{_IS} (?:the|your|our) (?:\w+ )?(?:price|cost|fee|fare|charge|waiting time|wait)s?\b",
    r"what (?:does|do|will) .*\bcost\b",
    r"(?:do|can) you (?:take|accept|sell|offer|deliver|charge|rent)\b",
    r"do you have (?:an? )?(?:parking|car park|wi-?fi|wheelchairs?|lift|elevator|menu|vegetarian"
    r"|vacanc|appointments?|opening|pharmacy|cafeteria|restaurant|beds?|rooms?)",
    r"can (?:i|we) (?:park|pay (?:by|with|in|here)|smoke|visit|bring)\b",
    # who
    rf"who{_IS} (?:on (?:duty|call|shift)|in charge|working|responsible|(?:the|your|my|our)"
    rf" (?:{_PERSON}|chief|head|owner|ceo|mayor)\b|doctor \w+|dr\.? \w+)",
    r"who (?:won|is winning|scored|works|runs|owns|manages)\b.*\b(?:here|today|tonight|yesterday"
    r"|last night|now|(?:the|this|your) \w+)\b",
    # what is written down at the place
    rf"what{_IS} (?:the|your|our) (?:(?:tele)?phone number|fax number|mobile number"
    r"|number (?:of|for)|address|e-?mail(?: address)?|web ?site|extension (?:of|for)|wi-?fi"
    r"|password (?:of|for)|opening hours|visiting hours|office hours|menu|timetable|dress code"
    r"|location|name of (?:the|your|our))\b",
    rf"what{_IS} (?:on (?:the menu|tv|television|the radio)|for (?:lunch|dinner|breakfast)"
    r"|(?:in )?the news|new today|happening)",
    r"what (?:does|do) the (?:news|papers?|newspaper)\b",
    r"what happened (?:today|yesterday|last night|this (?:morning|week))",
    # what is in the caller's records
    rf"(?:what|when|who){_IS} my (?:\w+ )?{_RECORD}\b",
    rf"how (?:high|low|much|good|bad|many){_IS} my {_RECORD}\b",
    r"what (?:do|did|does) my (?:\w+ )?(?:results?|scan|x-?ray|file|tests?) (?:say|show)",
    # the same in an indirect question: "Do you know where the nearest toilet is?"
    rf"where {_THING} (?:is|are)\b",
    r"where (?:i|we) (?:can|should|could) (?:park|sit|wait|register|check in|sign in|pay|smoke)\b",
    rf"(?:when|what time|if|whether|how long) {_THING}"
    r" (?:is|are|opens?|closes?|starts?|begins?|ends?|leaves?|arrives?|comes?|takes?|will|has)\b",
    r"(?:when|what time) you (?:open|close)\b",
    r"(?:how long|how much) the (?:wait|waiting time|queue|fee|fare|ticket|parking|visit)\b",
    r"what (?:the|your|our) (?:(?:tele)?phone number|address|price|fee|fare|opening hours)\b",
    r"do i have (?:new|unread|more) (?:e-?mails?|messages?|mail|texts?)\b",
    r"do i have (?:an?|any) (?:\w+ )?(?:e-?mails?|appointments?|messages?|bills?|mail|debts?)\b",
)
# Not about this place: something with a name of its own ("the mayor of New York"), a kind of things
# ("a whale", "the museum of modern art"), a comparison, a story.
_GENERAL = re.compile(
    r"\b(?:in|of|from|to) (?:the )?(?!(?:Doctor|Dr|Mr|Mrs|Ms|Miss|Nurse)\b)[A-Z]"
    r"|\bof (?!the\b|your\b|my\b|our\b|this\b|that\b|his\b|her\b|doctor\b|dr\b"
    r"|gold|silver|oil|petrol|gas\b)"
    r"|\b(?:does|do|to|of) an? (?!visit|ticket|taxi|room|bed|meal|copy|coffee|appointment|seat)"
    r"|\bnext (?:leap year|(?:full |new )?moon|eclipse|olympi\w+|world cup|election|christmas"
    r"|easter|century|comet)|\bthan\b|\b(?:invented|discovered)\b|\bsmoke with\b"
    r"|\bin (?:the )?(?:world|film|movie|story|book|song|history)\b"
)
# What changes by the day is not known, wherever it is.
_CHANGES = re.compile(
    r"\b(?:the next (?:bus|train|flight|ferry|tram|plane|boat)|(?:latest|current) \w+"
    r"|(?:stock|share) price)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(rf"{_OPENING}(?:{'|'.join(_KINDS)})", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{4,}")
_WITHOUT_TOPIC_TEXT: Final = (
    "what when where which this that there here have does your their tell know many much long time"
    " today tonight tomorrow about with from they will please could would should next right"
)
_WITHOUT_TOPIC: Final = frozenset(_WITHOUT_TOPIC_TEXT.split())
_STEM_CHARS = 5  # "parking" and "park" differ, "closes" and "closed" do not
_TELLS = re.compile(
    r"\b(?:is|are|was|were|at|on|opens?|closes?|costs?|starts?|ends?|leaves?|arrives?|called|named)"
    r"\b|'s\b",
    re.IGNORECASE,
)


def asks_for_local_fact(text: str, told: Sequence[str] = ()) -> bool:
    """Return whether a caller asks for what nobody has told the model.

    `told` are the caller's earlier texts: what one of them is about, the model may know.
    """
    text = text.replace("’", "'")
    is_local = _ASKS.search(text) and (not _GENERAL.search(text) or _CHANGES.search(text))
    if not is_local:
        return False
    topics = _topics(text)
    return not any(_is_told(topics, earlier) for earlier in told)


def _is_told(topics: set[str], earlier: str) -> bool:
    is_statement = not earlier.rstrip().endswith("?") and bool(_TELLS.search(earlier))
    return is_statement and bool(topics & _topics(earlier))


def _topics(text: str) -> set[str]:
    words = _WORD.findall(text.lower())
    return {word[:_STEM_CHARS] for word in words if word not in _WITHOUT_TOPIC}
