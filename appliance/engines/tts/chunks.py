"""Cuts the phonemes of one phrase into chunks, each synthesised and handed on by itself."""

from __future__ import annotations

SOFT_PHONEMES = 64  # about 4 s of speech
HARD_PHONEMES = 110  # without any punctuation a longer chunk sounds better than a cut
MIN_PHONEMES = 12  # a shorter chunk sounds clipped

_MARKS = ".!?…;:,—"


def chunks(phonemes: str) -> list[str]:
    """The phonemes in pieces of at most HARD_PHONEMES, cut at punctuation, or else at a space."""
    found = []
    rest = phonemes.strip()
    while len(rest) > SOFT_PHONEMES:
        cut = _after_mark(rest)
        if not cut:
            if len(rest) <= HARD_PHONEMES:
                break
            cut = rest.rfind(" ", MIN_PHONEMES, SOFT_PHONEMES) + 1 or SOFT_PHONEMES
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [piece for piece in [*found, rest] if any(map(str.isalpha, piece))]


def _after_mark(text: str) -> int:
    """The last place right after a mark that leaves two pieces of some length; 0 if none."""
    for i in range(min(SOFT_PHONEMES, len(text) - MIN_PHONEMES) - 1, MIN_PHONEMES, -1):
        if text[i] in _MARKS and text[i + 1 : i + 2] == " ":
            return i + 1
    return 0
