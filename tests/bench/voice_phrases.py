"""Phrases for comparing the voice of two ways of synthesis. None was used for calibration.

A test compares them with the phrases in ops/bundle/calibration.py. No I/O.
"""

from __future__ import annotations

SINGLE_WORDS = (
    "Thanks.",
    "Maybe.",
    "Right.",
    "Three.",
    "Tuesday.",
    "Paris.",
    "Sorry?",
    "Exactly.",
    "Absolutely!",
    "Perhaps,",
)
SHORT_PHRASES = (
    "Good morning.",
    "Not at all.",
    "Let me check.",
    "You're welcome.",
    "That's correct,",
    "How about Friday?",
    "Nine thirty.",
    "See you tomorrow.",
    "It is raining.",
    "Both are open.",
)
FIRST_PHRASES = (  # as long as the first phrase of a reply
    "The capital of France is",
    "There are seven days in",
    "The museum opens at nine.",
    "Your package was sent yesterday,",
    "A group of fish is",
    "I found three free tables.",
    "The shortest route goes north,",
    "Penguins live in the south.",
    "Would you prefer the window?",
    "Gold is heavier than silver.",
)
SENTENCES = (
    "A healthy adult should drink about two litres of water every day.",
    "The bus to the airport stops right in front of the main station.",
    "Could you spell your last name for me, please?",
    "Lightning is seen before thunder is heard, because light is faster.",
    "Dr. Brown can see you on the 14th of March at half past two.",
    "The ticket costs $12.50, and children under six travel free.",
    "She wrote her first book at the age of nineteen.",
    "Whales breathe air, although they spend their whole life in the sea.",
    "If you press the green button twice, the machine starts again.",
    "We are closed on Monday, but the shop around the corner is open.",
    "What a wonderful surprise to meet you here after all these years!",
    "The old bridge was repaired with stone from a nearby quarry.",
)
SPELLED = (  # letters and digits, of which each may be the first sound of a phrase
    "C, A, T.",
    "B, as in boy.",
    "It is spelled M, E, Y, E, R.",
    "X, Y and Z.",
    "Your code is K, 7, Q, 2.",
    "Dial 5, 5, 5, 1, 2, 3.",
    "A, like apple,",
    "Room 4 B.",
)
PHRASES = (*SINGLE_WORDS, *SHORT_PHRASES, *FIRST_PHRASES, *SENTENCES, *SPELLED)
