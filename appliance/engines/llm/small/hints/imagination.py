"""Recognizes requests that are only played or told, in stories, role play and games. No I/O.

"Bring me the menu." is refused, because a small model says that it brings it. These are not:

    Take me to the moon in a story.
    Play hangman with me.
    Make me a princess.

"Pretend to be a waiter" is no command that `impossible_requests.py` refuses. A game of earlier
turns does not count: "Call an ambulance." must be refused in it, too. English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.openings import ASKS_TO_ACT, FILLERS

_OPENING: Final = rf"^\W*{FILLERS}{ASKS_TO_ACT}"
_TALE: Final = (
    r"(?:story|stories|tale|poem|rhyme|verse|limerick|riddle|adventure|fable|legend|myth|role play)"
)
_WORK: Final = (
    rf"(?:{_TALE}|song|lullaby|novel|scene|sketch|dialogue|speech|fantasy|dream|imagination|mind)"
)
_ROLE: Final = (
    r"(?:hero|heroine|villain|king|queen|prince|princess|knight|pirate|captain|wizard|witch|fairy"
    r"|ghost|dragon|monster|robot|alien|giant|superhero|butler|judge|nurse|doctor|detective|spy"
    r"|thief|guest|client|patient|customer|waiter|waitress|teacher|lawyer|boss|interviewer"
    r"|shopkeeper|opponent|child|(?:bus|taxi) driver)"
)
_GAME: Final = (
    r"(?:games?|quiz|chess|checkers|cards|hangman|i spy|charades|trivia|scrabble|tic tac toe"
    r"|(?:twenty|20) questions|truth or dare|would you rather|simon says|hide and seek"
    r"|rock,? paper|word (?:association|chain)|riddles|pretend|make believe)"
)
_BEING: Final = (
    r"(?:dragon|unicorn|wizard|witch|fairy|knight|ghost|goblin|troll|mermaid|elf|ogre|monster"
    r"|genie|treasure(?: chest)?|magic \w+|spaceship|time machine)"
)
_SIGNS: Final = (
    # "in a story", "into a short poem", but not "in the story room"
    rf"\b(?:in|into) (?:an?|the|your|our|my|this|that|another) (?:\w+ ){{0,2}}{_WORK}\b"
    r"(?! (?:room|hall|shop|book|list|file|studio|club|night|mode))",
    r"\bin (?:an?|the|your|our|my|this) (?:\w+ )?game\b(?! \w)",
    rf"\b(?:take|bring) (?:me|us) .*\bwith an? (?:\w+ )?{_WORK}\b",
    r"\bfor (?:this|our|the|your) (?:adventure|quest|role play)\b(?! \w)",
    r"\bas (?:if|though) you (?:were|are|had)\b|\b(?:imaginary|fictional|make believe) \w",
    # "Play chess with me", "Start the quiz", "Play the villain", "Make me a princess"
    rf"\bplay (?:me |us )?(?:(?:an?|the|another|some) )?(?:\w+ )?{_GAME}\b(?! show)",
    r"\bplay (?!.*(?:music|song|radio|video|film|movie|album|podcast|jazz))(?:\w+ ){1,4}with"
    r" (?:me|us)\b",
    rf"{_OPENING}(?:start|open|begin|end|continue) (?:the|our|a|another) (?:\w+ )?{_GAME}\b",
    rf"\bplay (?:the|an?|my) (?:\w+ )?{_ROLE}\b(?! \w+ song| song| music)",
    rf"\bmake me (?:the|an?) (?:\w+ )?{_ROLE}\b",
    # "Tell my son a tale", "Ask the riddle again", "Turn me into a frog", "Change the ending"
    rf"{_OPENING}tell \w+(?: \w+)? (?:an?|some|another) (?:\w+ )*(?:{_WORK}|jokes?)\b",
    rf"{_OPENING}ask (?:the|another|a) (?:\w+ )?(?:{_WORK}|question)\b(?! (?:to|of)\b)",
    r"\bturn (?:\w+ ){1,3}into\b",
    r"\b(?:open|close|start|change|update|check) (?:the|my|your) (?:(?:end|ending|beginning|title"
    rf"|hero|plot|moral|discussion|debate|conversation)|(?:\w+ ){{0,2}}{_TALE})\b",
    r"\bput on (?:an?|your) (?:\w+ ){0,3}(?:accent|voice)\b",
    # "Call him Rex", "Call the dragon Smoky", "Wake the sleeping dragon", "a letter to Santa"
    rf"\bcall (?:him|her|it|them|the (?:\w+ )?(?:hero|heroine|villain|cat|dog|{_BEING}))"
    r" (?-i:[A-Z])\w+",
    rf"{_OPENING}\w+ (?:the|an?|my|this) (?:\w+ )?{_BEING}"
    r"(?=[.,!?']|$| (?:and|in|into|to|out|up)\b)",
    r"\bletter to (?:santa|father christmas|the (?:tooth fairy|moon|sun|stars|universe|future)"
    r"|my (?:future|younger|older) self)\b",
)
_IMAGINED = re.compile("|".join(_SIGNS), re.IGNORECASE)
# "Call the police, we are not in a story."
_REAL = re.compile(r"\bnot\b|n't\b|\bno (?:game|story|joke|tale)\b|\bstop\b", re.IGNORECASE)


def is_imagined(text: str) -> bool:
    """Return whether a text, a command, is about a story, a role or a game."""
    text = text.replace("’", "'").replace("-", " ")
    return bool(_IMAGINED.search(text)) and not _REAL.search(text)
