"""Which frames of a phrase the vocoder computes together, so that speech can be streamed. No I/O.

A frame is 12.5 ms of speech. The vocoder needs some frames of context on both sides of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

FRAME_SAMPLES = 300  # at 24 kHz
FRAMES_PER_DURATION = 2  # the acoustic model gives the duration of each token in units of 25 ms
HARMONICS_PER_FRAME = 60

# Sizes in frames. The first piece is the first sound of a reply, which a caller waits for.
PIECE_FRAMES = (16, 24, 40, 60)
MIN_PIECE_FRAMES = 12
CONTEXT_FRAMES = 8  # more does not reduce the difference to a phrase that is vocoded as a whole
# Silence has a predicted energy of -10 to -8, speech of -4 to 10. In 348 phrases (29 texts, nine
# voices, speeds 0.6 to 1.8), the first sample above audio.AUDIBLE_PEAK came at most 3 frames before
# the first energy above SPEECH_ENERGY, and the last one 1.6 frames or more before the end of the
# energies above FADED_ENERGY.
SPEECH_ENERGY, FADED_ENERGY = -3.0, -6.5
LEAD_MARGIN_FRAMES, TAIL_MARGIN_FRAMES = 5, 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames to vocode together: `start` to `stop`, with context from `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def find_words(energies: NDArray[np.float32]) -> tuple[int, int]:
    """Return the first frame and the end of the part that is not silent, with a margin.

    `energies` is the energy that the acoustic model predicts for each frame, as a logarithm. The
    durations of the tokens do not tell where sound begins and ends: it begins up to 12 frames
    before the end of the first padding (32 at a speed of 0.6), and ends up to 13 frames after the
    start of the final mark.
    """
    speech, audible = (np.flatnonzero(energies > level) for level in (SPEECH_ENERGY, FADED_ENERGY))
    if not len(speech):
        return 0, len(energies)
    start = max(0, int(speech[0]) - LEAD_MARGIN_FRAMES)
    return start, min(len(energies), int(audible[-1]) + 1 + TAIL_MARGIN_FRAMES)


def one_piece(start: int, end: int, frames: int) -> Iterator[Piece]:
    """Return the frames from `start` to `end` as one piece, with all others as context."""
    yield Piece(start, end, 0, frames)


def plan_pieces(start: int, end: int, frames: int) -> Iterator[Piece]:
    """Divide the frames from `start` to `end` into pieces of the sizes PIECE_FRAMES.

    The first piece is short, so that its speech is soon available. Each of the next ones takes less
    time to compute than the ones before it take to play. A short rest is added to the last piece.
    """
    sizes = chain(PIECE_FRAMES, repeat(PIECE_FRAMES[-1]))
    while start < end:
        stop = min(end, start + next(sizes))
        if end - stop < MIN_PIECE_FRAMES:
            stop = end
        first, last = max(0, start - CONTEXT_FRAMES), min(frames, stop + CONTEXT_FRAMES)
        yield Piece(start, stop, first, last)
        start = stop
