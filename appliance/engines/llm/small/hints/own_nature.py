"""Answers about what the assistant itself is, because small models claim to be people. No I/O.

Asked whether it is a real person, sees the caller or will remember the call, a small model may say
yes. The answer is known, whatever the prompt of the site says, so the reply is given:

    Are you a real person? -> No, I am a computer program.
    Will you remember me tomorrow? -> No, I forget everything when the call ends.

The rules name questions about the assistant only. English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.openings import ASKS_TO_KNOW, FILLERS

IS_PROGRAM: Final = "I am a computer program."
CANNOT_SEE: Final = "I cannot see you."
IS_HERE: Final = "Yes, I am here."
HEARS: Final = "Yes, I can hear you."
FORGETS: Final = "No, I forget everything when the call ends."
HAS_NO_AGE: Final = "I am a computer program, so I have no age."
HAS_NO_PLACE: Final = "I am a computer program, so I am not at any place."

NO_NAME: Final = "You are a voice assistant and have no name."
_OPENING: Final = rf"\W*{FILLERS}(?:honestly[\s,]+)?{ASKS_TO_KNOW}(?:honestly[\s,]+)?"
_ENDING: Final = (
    r"(?:,? (?:or not|too|then|now|right now|at the moment|actually|really|please|by the way"
    r"|at all|today))*\W*"
)
_HUMAN: Final = r"(?:human|person|man|woman|girl|boy|real|alive|human being|living)"
_MACHINE: Final = (
    r"(?:robot|machine|computer(?: program)?|program|bot|chatbot|a\.?i\.?|artificial"
    r"(?: intelligence)?|recording|automatic|automated|software)"
)
_A: Final = (
    r"(?:(?:really|actually|just|only|still|even|even a|an?|the) )*"
    r"(?:(?:real|live|living|actual|true|normal) )?"
)
_TALK: Final = r"(?:talking|speaking|chatting)(?: here)? (?:to|with)"
_TO_HUMAN: Final = (
    rf"are you {_A}{_HUMAN}(?: (?:person|human|being))*",
    rf"(?:is this|is that|is it) {_A}{_HUMAN}(?: (?:person|being))?",
    rf"(?:am|are) (?:i|we) {_TALK} {_A}(?:{_HUMAN}|somebody|someone)(?: being| real)?",
    rf"(?:are you|is this|is it|am i {_TALK}) {_A}{_HUMAN},? or {_A}{_MACHINE}",
)
_TO_MACHINE: Final = (
    rf"(?:are you|is this|is that|is it) {_A}{_MACHINE}(?: voice)?",
    rf"(?:am|are) (?:i|we) {_TALK} {_A}{_MACHINE}",
    rf"(?:are you|is this|is it|am i {_TALK}) {_A}{_MACHINE},? or {_A}{_HUMAN}(?: being| person)?",
)
_TO_SEE: Final = (
    r"(?:can|do) you (?:really |actually )?(?:see|watch) (?:me|us|my \w+|this|that|what i\b.*"
    r"|how i\b.*|where i\b.*)",
    r"are you (?:looking at|watching) (?:me|us)",
    r"do you know what i look like",
)
_TO_PRESENCE: Final = (
    r"are you (?:still )?(?:there|here|with me|on the line|listening)(?: to me)?",
    r"is (?:anybody|anyone|somebody|someone) (?:still )?(?:there|here)",
)
_TO_HEAR: Final = (
    r"(?:can|do|could) you (?:still |even )?hear (?:me|us|this|what i say)(?: well)?",
)
_FOR_LOOKS: Final = (r"what (?:do i look like|am i wearing)",)
_LATER: Final = (
    r"(?:tomorrow|next time|next week|later|after (?:this|the) call|when i call (?:again|back|next"
    r" time)|the next time(?: i call)?|if i call (?:again|back)(?: tomorrow| later)?|forever|always"
    r"|in (?:an hour|a week|a month))"
)
_TO_REMEMBER: Final = (
    rf"(?:will|can|do|would) you (?:still |always )?(?:remember|recogni[sz]e|know) (?:me|us|this"
    rf"|that|it|my \w+|who i am|what i (?:said|told you)|our (?:call|conversation|talk)|this"
    rf" (?:call"
    rf"|conversation))(?: still)? {_LATER}",
    r"will you (?:remember|forget) (?:me|us|my \w+|this (?:call|conversation)|our \w+)",
    r"do you remember (?:me|us|our last (?:call|conversation|talk)|my last call|what i (?:said|told"
    r" you) (?:yesterday|last (?:time|week)))(?: from (?:yesterday|last (?:time|week)|before))?",
)
_TO_AGE: Final = (
    r"(?:how old are you|what is your age|what's your age|when were you born|when is your birthday"
    r"|what year were you born(?: in)?)",
)
_TO_PLACE: Final = (
    r"(?:where (?:are you(?: (?:from|located|based|calling from|sitting))?|do you (?:live|come from"
    r"|work|sit)|were you born)|(?:which|what) (?:city|country|town) (?:are you|do you live)"
    r"(?: (?:in|from))?)",
)
_LIFE: Final = (
    r"(?:eat|drink|sleep|dream|cook|smoke|drive|dance|breathe|cry|age|die|get (?:tired|hungry|bored"
    r"|sick|old|paid|cold|lonely)|feel (?:pain|sad|happy|lonely|tired|anything|things)|go (?:home"
    r"|outside|on holiday|to (?:work|bed|school)))"
)
_BODY: Final = (
    r"(?:body|heart|face|brain|soul|mother|father|mom|mum|dad|family|wife|husband|child|children"
    r"|kids?|son|daughter|parents?|brothers?|sisters?|siblings?|friends?|girlfriend|boyfriend|pets?"
    r"|dog|cat|car|house|home|job|feelings?|emotions?|hands?|eyes?|ears?|legs?|hair|birthday)"
)
_TO_LIFE: Final = (
    rf"(?:do|can|did|have) you (?:ever |also |really |even |always )?{_LIFE}"
    r"(?: (?:breakfast|lunch|dinner|food|coffee|tea|water|meat|beer|wine|alcohol|at night|well"
    r"|anything|much|a car|last night|in the (?:morning|evening)))*",
    rf"(?:do you have|have you got) (?:an? |any |your own )?(?:real )?{_BODY}"
    rf"(?:,? (?:or|and) (?:an? |any )?{_BODY})?",
    r"can you (?:touch|smell|taste|feel|hug|kiss|walk|move|swim|jump)(?: (?:me|things|it|this|that"
    r"|anything|food))?",
    r"were you (?:ever )?(?:born|a child|a baby|young)(?: in \w+| at \w+)?",
    r"have you (?:ever )(?:been (?:to|in) .*|eaten .*|tasted .*|tried .*|seen .*|had an? \w+"
    r"|visited .*|met .*|slept.*)",
    r"are you (?:married|single|hungry|thirsty|tired|sleepy|pregnant|in love|religious|rich"
    r"|conscious|sick|ill)",
)
# A small model answers with the caller's name.
_ASKS_FOR_BOTS_NAME = re.compile(
    r"\b(?:(?:what(?: is|'s|’s)|tell me|may i (?:know|ask)) your name|do you have a name"
    r"|what (?:do|should|can|may) i call you)(?:,? please)?\W*$",
    re.IGNORECASE,
)


def _rule(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"{_OPENING}(?:{'|'.join(patterns)}){_ENDING}", re.IGNORECASE)


_ANSWERS: Final = (
    (_rule(_TO_HUMAN), f"No, {IS_PROGRAM}"),
    (_rule(_TO_MACHINE), f"Yes, {IS_PROGRAM}"),
    (_rule(_TO_SEE), f"No, {CANNOT_SEE}"),
    (_rule(_FOR_LOOKS), CANNOT_SEE),
    (_rule(_TO_PRESENCE), IS_HERE),
    (_rule(_TO_HEAR), HEARS),
    (_rule(_TO_REMEMBER), FORGETS),
    (_rule(_TO_AGE), HAS_NO_AGE),
    (_rule(_TO_PLACE), HAS_NO_PLACE),
    (_rule(_TO_LIFE), f"No, {IS_PROGRAM}"),
)


def answer_about_itself(text: str) -> str:
    """Return the answer to a question about what the assistant is; '' for all other texts.

    Only the last sentence counts, because "I am scared. Are you a person?" asks the same.
    """
    sentences = re.split(r"(?<=[.!?])\s+", text.replace("’", "'").strip())
    for rule, answer in _ANSWERS:
        if rule.fullmatch(sentences[-1]):
            return answer
    return ""


def asks_for_name(text: str) -> bool:
    """Return whether a text asks for the assistant's name."""
    return bool(_ASKS_FOR_BOTS_NAME.search(text))
