"""Recognizes what the appliance cannot do or know, because small models answer it nevertheless.

Asked for the temperature outside, a small model says "70 degrees", and asked to remember something
for the next call, that it will. The prompt says what is true after such a question:

    What is the temperature outside? (You have no weather report.)
    Can you call an ambulance? (You cannot do this.)

The rules name kinds of requests: a polite or plain command with a verb of acting, a question
whether it is done, and a question for the weather (`weather.py`). A command that can be fulfilled
by talking is none of them (`imagination.py`). English, as `llm.language`. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.engines.llm.small.hints.imagination import is_imagined
from appliance.engines.llm.small.hints.openings import ASKS_TO_ACT, FILLERS
from appliance.engines.llm.small.hints.weather import asks_for_weather
from appliance.link.engine import Tool

_SHIPPED_TOOLS = frozenset(("current_time", "end_call"))
NO_WEATHER: Final = "You have no weather report."
NO_ACTION: Final = "You cannot do this."

_OPENING = rf"^\W*{FILLERS}{ASKS_TO_ACT}"
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
_ACTIONS: Final = (
    # reach somebody
    rf"(?:call|phone|ring|dial|text|inform|notify|warn|alert|contact) {_SOMEBODY}",
    r"(?:call|phone|ring) me (?:back|up|again|later|tomorrow|tonight|when|if|once|in an?|at|on)\b",
    rf"give {_SOMEBODY}(?: \w+)? (?:a|another) (?:call|ring|message)\b",
    rf"tell (?!me\b|us\b|you\b){_SOMEBODY}(?! (?:story|joke|truth|time)\b)",
    rf"ask (?!me\b|us\b|you\b){_SOMEBODY}",
    rf"let {_SOMEBODY}.* know\b",
    r"let me (?:speak|talk) (?:to|with) (?!you\b)",
    r"(?:put|pass|patch) me (?:through|on|over|in touch)\b",
    r"(?:hand|switch) me (?:over|to)\b",
    r"give me (?:your|the|a) (?:manager|boss|supervisor|human|colleague|(?:real )?person"
    r"|operator)\b",
    r"(?:get|fetch|bring|find) the (?:doctor|nurse|midwife|manager|boss|supervisor|police"
    r"|ambulance|receptionist|technician|guard|porter|priest)\b",
    r"(?:have|get) (?:someone|somebody|the \w+|a doctor|a nurse) (?:to )?(?:call|come|see)\b",
    r"(?:make sure|see to it) (?:that )?(?:someone|somebody|he|she|they|the|my)\b",
    # write, send and read messages
    r"(?:send|email|e-mail|mail|fax|forward|transfer|connect|post)\b",
    r"(?:text|message) (?!is\b|was\b|received\b|me (?:in|about)\b)\w+",
    r"(?:drop|write|shoot) (?:\w+ ){0,3}(?:an? )?(?:e-?mail|text(?: message)?|message|letter) to\b",
    r"(?:drop|shoot) (?:\w+ ){1,2}an? (?:e-?mail|line|message)\b",
    rf"(?:read|show|open|check|give) (?:me |us )?(?:my|the|your|a|an) {_NOT_SAID}(?:\w+ )?"
    r"(?:messages?|e-?mails?|mail|texts?|voicemails?|inbox|calendar|photos?|pictures?|images?|map"
    r"|screen)\b",
    # look up, note and remember
    r"(?:google|search|download|install|look up) (?!is\b|was\b|has\b)\w",
    r"look for (?:my|his|her|our|the)\b",
    r"check (?:if|whether|on)\b",
    r"(?:add|put|write) .*\b(?:to|on|in|into|onto) (?:my|the|our|your) (?:\w+ )?(?:list|playlist"
    r"|calendar|diary|cart|basket|order|account|file|notes?|schedule|waiting list|agenda|bill)\b",
    r"take a (?:message|note)\b",
    r"(?:write|note) (?:this|that|it) down\b",
    r"(?:remember|keep) .*\b(?:(?:for|until) (?:my |the )?next|tomorrow|next time|next week)\b",
    r"(?:report|submit|file|register|log|record) (?:a|an|the|my|this|it)\b",
    # book, order and manage
    r"(?:book|reserve|order|buy|get|fetch|bring) (?:more|another)\b",
    r"(?:book|reserve|order|buy|get|fetch|bring|find) (?:me|us|a|an|my|some|two|three)\b",
    r"order \w+s for (?:me|us|my|him|her)\b",
    r"make (?:me )?(?:a|an) (?:note|appointment|reservation|booking|call)\b",
    r"(?:pay|renew|cancel|reschedule|schedule|delete|save|print|unlock|lock|dim|wake|remind)\b",
    r"(?:track|refund|block|reset|confirm|extend|upgrade|activate|deactivate|unblock|charge)"
    rf" (?:my|the|our) {_NOT_SAID}",
    r"(?:replace|return|move) (?:my|our)\b",
    r"(?:sign|log|check) (?:me|us) (?:up|in|out|on)\b",
    r"call (?:it|the \w+|my \w+) off\b",
    # devices and music
    r"(?:turn|switch) (?:on|off|up|down|it|the|my)\b",
    r"(?:open|close|shut|start|check|change|update|raise|lower) (?:the|my)\b",
    r"(?:make|keep) (?:it|the \w+) (?:warmer|colder|cooler|brighter|darker|louder|quieter)\b",
    r"start (?:a|an|the) (?:countdown|timer|alarm|recording|call)\b",
    r"set (?:me )?(?:a|an|the|my) (?:alarm|timer|reminder)\b",
    r"play (?:me )?(?!(?:a |the |with |along)?(?:game|role|part|quiz|me\b|along))\w+",
    r"put on (?:some |the |my |a )?(?:\w+ )?(?:music|radio|song|playlist|lights?|tv|television"
    r"|film|movie|heating)\b",
    r"take (?:a|my) (?:photo|picture|temperature|blood pressure)\b",
    # move and make things
    r"come (?:to my|to the|here|over|and (?:get|help|see|pick))\b",
    r"(?:pick|drive|take|bring) (?:me|us|him|her|them) (?:up|down|home|out|to)\b",
    r"(?:clean|wash|cook|feed|water|carry|fix|repair) (?:the|my|me|this|it)\b",
    r"make me (?:a|an|some)\b",
    r"(?:dial\b|(?:mute|unmute|hang up|navigate|deliver|ship|vacuum|iron|bake|lend)"
    rf"(?:\W*$| (?:me|us|it|this|that|to|\d|some|(?:my|the|our|your|an?) {_NOT_SAID})))",
)
_ACTION = re.compile(rf"{_OPENING}(?:{'|'.join(_ACTIONS)})", re.IGNORECASE)
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
_OTHER_FORMS: Final = (
    rf"(?:would|do) you mind {_DOING}\b",
    # what a service does; "I want to buy a car" may be about the car
    r"i(?:'d like| need| want| would like) (?:an appointment"
    r"|a (?:taxi|cab|reservation|booking|table)"
    r"|to (?:make|get) an? (?:appointment|reservation|booking)"
    r"|to (?:book|reserve|order|cancel|reschedule|renew) (?:a|an|my|the|some|two|three)"
    r"|to (?:file|report|submit) (?:a|an|my|the)"
    r"|to (?:speak|talk) (?:to|with) (?:a|the|your|someone|somebody|doctor|dr|mr|mrs|ms))\b",
    r"(?:can|could|may|might) i (?:please )?(?:speak|talk) (?:to|with) (?!you\b)\w+",
    r"(?:the )?(?:lights?|radio|tv|heating|music) (?:on|off|up|down)\b\W*(?:please\W*)?$",
    rf"(?:have|did) you (?:already |just |really )?{_DONE}\b",
)
_OTHER_ACTION = re.compile(rf"^\W*{FILLERS}(?:{'|'.join(_OTHER_FORMS)})", re.IGNORECASE)
_ASKS_WHETHER_DONE = re.compile(rf"^\W*{FILLERS}(?:have|did) you\b", re.IGNORECASE)
# "Is it on its way?" is known only because the request before was refused.
_THING = r"(?:it|that|he|she|they|the \w+|my \w+)"
_STATE = r"(?:done|sent|booked|ordered|off|on|coming|confirmed|reserved|set|cancell?ed|paid|locked)"
_ABOUT_REFUSED = re.compile(
    rf"^\W*{FILLERS}(?:"
    rf"(?:is|are|has|have|was|did|does|will) {_THING}\b[^?]*\b(?:{_STATE}|ready|told|called"
    r"|arrived?|arrives|open|closed|now|already|yet|answer(?:ed)?|here|get it|got it|know)"
    rf"|{_THING} (?:is|has been) {_STATE}"
    rf"|(?:when|what time|how (?:long|soon)) (?:will|does|is|do|did) {_THING}\b"
    r"[^?]*\b(?:arrive|come|be (?:here|there|ready|delivered|done)|coming|get here|take|call|answer"
    r"|go|start))\b[^.]*\?\W*$",
    re.IGNORECASE,
)


def may_act(tools: Sequence[Tool]) -> bool:
    """Return whether there are tools of the site, which may do what callers ask for."""
    return any(tool.name not in _SHIPPED_TOOLS for tool in tools)


def limit_of(text: str) -> str:
    """Return what the prompt says about a request that cannot be fulfilled; '' for all others."""
    text = text.replace("’", "'")
    if asks_for_weather(text):
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
