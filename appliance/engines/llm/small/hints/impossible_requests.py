"""Recognizes what the appliance cannot do or know, because small models answer it nevertheless.

Asked for the temperature outside, a small model says "70 degrees", and asked to remember something
for the next call, that it will. The prompt says what is true after such a question:

    What is the temperature outside? (You have no weather report.)
    Can you call an ambulance? (You cannot do this.)

The rules name kinds of requests: a polite or plain command with a verb of acting, a question
whether it is done, and a question for the weather of a time or place. What else is asked stays as
it is. English, as `llm.language`. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.engines.llm.small.hints.imagination import is_imagined
from appliance.link.engine import Tool

_SHIPPED_TOOLS = frozenset(("current_time", "end_call"))
NO_WEATHER: Final = "You have no weather report."
NO_ACTION: Final = "You cannot do this."

_OPENING = (
    r"^\W*(?:(?:please|now|then|and|okay|ok|hey|so|well|yes|no)\b[\s,.]*)*"
    r"(?:(?:can|could|will|would) you (?:please |just |maybe |also |now |quickly )*"
    r"|i (?:want|need|would like) you to |i'd like you to )?"
)
_SOMEBODY = (
    r"(?:my|the|a|an|him|her|them|us|our|this|someone|somebody|security|reception|doctor|dr|nurse"
    r"|mr|mrs|ms|mister|police|911|back)\b"
)
# What can be said is no matter of a computer: "Extend the story.", "Deliver a speech."
_NOT_SAID = (
    r"(?!(?:\w+ ){0,2}(?:story|tale|poem|rhyme|speech|joke|song|riddle|explanation|sentence|answer"
    r"|words?|meaning|definition|history|discussion|conversation|debate|summary|ideas?|examples?"
    r"|topic|subject|paragraph|description|list of|recipe|rules?|text|picture of|map of|image of"
    r"|argument|question|difference|theory|plot|origin)\b)"
)
_ACTIONS = "|".join(
    (
        rf"(?:call|phone|ring|dial|text|inform|notify|warn|alert|contact) {_SOMEBODY}",
        r"(?:call|phone|ring) me (?:back|up|again|later|tomorrow|tonight|when|if|once|in an?|at"
        r"|on)\b",
        rf"(?:read|show|open|check|give) (?:me |us )?(?:my|the|your|a|an) {_NOT_SAID}(?:\w+ )?"
        r"(?:messages?|e-?mails?|mail|texts?|voicemails?|inbox|calendar|photos?|pictures?|images?|map|screen)\b",
        r"(?:add|put|write) .*\b(?:to|on|in|into|onto) (?:my|the|our|your) (?:\w+ )?(?:list"
        r"|playlist|calendar|diary|cart|basket|order|account|file|notes?|schedule|waiting list"
        r"|agenda|bill)\b",
        r"(?:track|refund|block|reset|confirm|extend|upgrade|activate|deactivate|unblock|charge)"
        rf" (?:my|the|our) {_NOT_SAID}",
        r"(?:replace|return|move) (?:my|our)\b",
        rf"give {_SOMEBODY}(?: \w+)? (?:a|another) (?:call|ring|message)\b",
        r"(?:text|message) (?!is\b|was\b|received\b|me (?:in|about)\b)\w+",
        r"(?:drop|write|shoot) (?:\w+ ){0,3}(?:an? )?(?:e-?mail|text(?: message)?|message"
        r"|letter) to\b",
        r"(?:drop|shoot) (?:\w+ ){1,2}an? (?:e-?mail|line|message)\b",
        r"play (?:me )?(?!(?:a |the |with |along)?(?:game|role|part|quiz|me\b|along))\w+",
        r"put on (?:some |the |my |a )?(?:\w+ )?(?:music|radio|song|playlist|lights?|tv|television"
        r"|film|movie|heating)\b",
        r"start (?:a|an|the) (?:countdown|timer|alarm|recording|call)\b",
        r"(?:book|reserve|order|buy|get|fetch|bring) (?:more|another)\b",
        r"order \w+s for (?:me|us|my|him|her)\b",
        r"call (?:it|the \w+|my \w+) off\b",
        r"(?:get|fetch|bring|find) the (?:doctor|nurse|midwife|manager|boss|supervisor|police"
        r"|ambulance|receptionist|technician|guard|porter|priest)\b",
        r"let me (?:speak|talk) (?:to|with) (?!you\b)",
        r"give me (?:your|the|a) (?:manager|boss|supervisor|human|colleague|(?:real )?person"
        r"|operator)\b",
        r"(?:hand|switch) me (?:over|to)\b",
        r"check (?:if|whether|on)\b",
        r"come (?:to my|to the|here|over|and (?:get|help|see|pick))\b",
        r"(?:sign|log|check) (?:me|us) (?:up|in|out|on)\b",
        r"(?:pick|drive|take|bring) (?:me|us|him|her|them) (?:up|down|home|out|to)\b",
        r"(?:make|keep) (?:it|the \w+) (?:warmer|colder|cooler|brighter|darker|louder|quieter)\b",
        r"(?:dial\b|(?:mute|unmute|hang up|navigate|deliver|ship|vacuum|iron|bake|lend)"
        rf"(?:\W*$| (?:me|us|it|this|that|to|\d|some|(?:my|the|our|your|an?) {_NOT_SAID})))",
        rf"tell (?!me\b|us\b|you\b){_SOMEBODY}(?! (?:story|joke|truth|time)\b)",
        rf"let {_SOMEBODY}.* know\b",
        r"(?:send|email|e-mail|mail|fax|forward|transfer|connect|post)\b",
        r"(?:put|pass|patch) me (?:through|on|over|in touch)\b",
        rf"ask (?!me\b|us\b|you\b){_SOMEBODY}",
        r"(?:make sure|see to it) (?:that )?(?:someone|somebody|he|she|they|the|my)\b",
        r"(?:have|get) (?:someone|somebody|the \w+|a doctor|a nurse) (?:to )?(?:call|come|see)\b",
        r"(?:report|submit|file|register|log|record) (?:a|an|the|my|this|it)\b",
        r"(?:google|search|download|install|look up) (?!is\b|was\b|has\b)\w",
        r"look for (?:my|his|her|our|the)\b",
        r"take (?:a|my) (?:photo|picture|temperature|blood pressure)\b",
        r"(?:clean|wash|cook|feed|water|carry|fix|repair) (?:the|my|me|this|it)\b",
        r"make me (?:a|an|some)\b",
        r"(?:book|reserve|order|buy|get|fetch|bring|find) (?:me|us|a|an|my|some|two|three)\b",
        r"(?:pay|renew|cancel|reschedule|schedule|delete|save|print|unlock|lock|dim|wake|remind)\b",
        r"(?:turn|switch) (?:on|off|up|down|it|the|my)\b",
        r"(?:open|close|shut|start|check|change|update|raise|lower) (?:the|my)\b",
        r"set (?:me )?(?:a|an|the|my) (?:alarm|timer|reminder)\b",
        r"play (?:me )?(?:a|the|some|my) ?(?:music|song|radio|video|film|movie)\b",
        r"take a (?:message|note)\b",
        r"make (?:me )?(?:a|an) (?:note|appointment|reservation|booking|call)\b",
        r"(?:write|note) (?:this|that|it) down\b",
        r"(?:remember|keep) .*\b(?:for|until) (?:my |the )?next\b",
        r"(?:remember|keep) .*\b(?:tomorrow|next time|next week)\b",
    )
)
_ACTION = re.compile(rf"{_OPENING}(?:{_ACTIONS})", re.IGNORECASE)
# What can be done by talking: "Find me a word that rhymes with house", "Remind me what I said".
_TALK = re.compile(
    rf"{_OPENING}(?:(?!(?:bring|get) .*\b(?:book|magazine|ticket)s?\b)"
    r"(?:find|get|give|make|check|change|start|fix|play|bring|update|come up with)\b.*"
    r"\b(?:words?|rhymes?|synonyms?|jokes?|poems?|story|stories|riddles?|sentences?|examples?|topics?"
    r"|subject|answers?|spelling|grammar|quiz|questions?|facts?|ideas?|recipes?|list of"
    r"|translation)\b"
    r"|remind me (?:what|where|who|how|which|when|again|of (?:my|what)))",
    re.IGNORECASE,
)
# The same in other forms: a polite question, a wish, and a question whether it is done.
_DOING = (
    r"(?:calling|phoning|ringing|telling|asking|informing|sending|e-?mailing|mailing|texting"
    r"|forwarding|transferring|connecting|booking|ordering|getting|bringing|fetching|turning"
    r"|switching|opening|closing|shutting|locking|checking|looking|cancell?ing|rescheduling"
    r"|renewing|printing|reminding|waking|putting|passing)"
)
_DONE = (
    r"(?:call(?:ed)?|phoned?|r[iau]ng|dial(?:l?ed)?|reach(?:ed)?|contact(?:ed)?|notif(?:y|ied)"
    r"|set (?:it|the|an?|my)|text(?:ed)?|inform(?:ed)?|sen[dt]|e-?mail(?:ed)?|forward(?:ed)?"
    r"|transfer(?:red)?|book(?:ed)?|order(?:ed)?|pa(?:y|id)|cancel(?:l?ed)?|renew(?:ed)?"
    r"|schedule[d]?|turn(?:ed)?|switch(?:ed)?|open(?:ed)?|lock(?:ed)?|print(?:ed)?"
    r"|note(?:d)?|t(?:ell|old) (?!me\b|us\b))"
)
_OTHER_ACTION = re.compile(
    rf"^\W*(?:please )?(?:would|do) you mind {_DOING}\b"
    r"|^\W*i(?:'d like| need| want| would like) (?:an appointment|a (?:taxi|cab|reservation|booking"
    r"|table)|to (?:make|get) an? (?:appointment|reservation|booking)"
    # what a service does; "I want to buy a car" may be about the car
    r"|to (?:book|reserve|order|cancel|reschedule|renew) (?:a|an|my|the|some|two|three)"
    r"|to (?:file|report|submit) (?:a|an|my|the)"
    r"|to (?:speak|talk) (?:to|with) (?:a|the|your|someone|somebody|doctor|dr|mr|mrs|ms)"
    r"|a (?:taxi|cab) to)\b"
    r"|^\W*(?:please )?(?:can|could|may|might) i (?:please )?(?:speak|talk) (?:to|with)"
    r" (?!you\b)\w+"
    r"|^\W*(?:the )?(?:lights?|radio|tv|heating|music) (?:on|off|up|down)\b\W*(?:please\W*)?$"
    rf"|^\W*(?:and |so )?(?:have|did) you (?:already |just |really )?{_DONE}\b",
    re.IGNORECASE,
)
_ASKS_WHETHER_DONE = re.compile(r"^\W*(?:and |so )?(?:have|did) you\b", re.IGNORECASE)
# "Is it on its way?" is known only because the request before was refused.
_ABOUT_REFUSED = re.compile(
    r"^\W*(?:(?:and|so|then|okay|great|good|thanks|thank you)\b\W*)*"
    r"(?:(?:is|are|has|have|was|did|does|will) (?:it|that|he|she|they|the \w+|my"
    r" \w+)\b[^?]*\b(?:done"
    r"|sent|booked|ordered|off|on|coming|ready|told|called|arrived?|arrives|confirmed|reserved|set"
    r"|cancell?ed|paid|open|closed|locked|now|already|yet|answer(?:ed)?|here|get it|got it|know)"
    r"|(?:it|that|the \w+|my \w+) (?:is|has been) (?:done|sent|booked|ordered|off|on|coming|set"
    r"|paid"
    r"|reserved|cancell?ed|locked|confirmed)"
    r"|(?:when|what time|how (?:long|soon)) (?:will|does|is|do|did) (?:it|he|she|they|the \w+|my"
    r" \w+)\b"
    r"[^?]*\b(?:arrive|come|be (?:here|there|ready|delivered|done)|coming|get here|take|call|answer"
    r"|go|start))\b[^.]*\?\W*$",
    re.IGNORECASE,
)
_NOW = (
    r"(?:outside|outdoors|today|tonight|tomorrow|now|at the moment|this (?:morning|evening)"
    r"|(?:on|next) (?:mon|tues|wednes|thurs|fri|satur|sun)day)"
)
_ASKS_FOR_WEATHER = re.compile(
    rf"\b(?:(?:what(?:'s| is| will)|how(?:'s| is)|know|tell me)\b.*"
    rf"\b(?:weather|forecast|temperature {_NOW})"
    r"|(?:is it|will it|is there|will there be|is the sun|how (?:hot|cold|warm|windy)|does it)\b"
    rf".*\b{_NOW}"
    r"|(?:do i need|should i (?:take|bring|wear|carry)|will i need) (?:an? |my )(?:\w+"
    r" )?(?:umbrella"
    r"|coat|jacket)|is it (?:still )?(?:raining|snowing) (?:in|at|over|out)"
    r"|is it (?:hot|cold|warm|wet|nice) out"
    # the average temperature in a country is general knowledge, today's is not
    r"|what(?:'s| is) the temperature in (?!general)(?-i:[A-Z])\w+)\b",
    re.IGNORECASE,
)
_WEATHER = re.compile(
    r"\b(?:weather|forecast|temperature|hot|cold|warm|wind(?:y)?|rain(?:ing|y)?|snow(?:ing|y)?|wet"
    r"|dry|sun(?:ny)?|shining|storm(?:y)?|fog(?:gy)?|cloud(?:y|s)?|umbrella|coat|jacket)\b",
    re.IGNORECASE,
)


def may_act(tools: Sequence[Tool]) -> bool:
    """Return whether there are tools of the site, which may do what callers ask for."""
    return any(tool.name not in _SHIPPED_TOOLS for tool in tools)


def limit_of(text: str) -> str:
    """Return what the prompt says about a request that cannot be fulfilled; '' for all others."""
    text = text.replace("’", "'")
    if _ASKS_FOR_WEATHER.search(text) and _WEATHER.search(text):
        return NO_WEATHER
    if _TALK.match(text) or is_imagined(text):
        return ""
    return NO_ACTION if _ACTION.match(text) or _OTHER_ACTION.match(text) else ""


def refusal_of(text: str, limit: str) -> str:
    """Return how the reply to a request begins whose limit is `limit`."""
    if limit == NO_WEATHER:
        return "I am sorry, I do not know the weather."
    return "No, I cannot" if _ASKS_WHETHER_DONE.match(text) else "I am sorry, I cannot"


def asks_about_refused(text: str) -> bool:
    """Return whether a question right after a refusal takes the request as fulfilled."""
    return bool(_ABOUT_REFUSED.search(text.strip()))
