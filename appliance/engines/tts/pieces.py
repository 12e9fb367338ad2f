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
# Measured for three voices: a word begins up to 10 frames before the end of the first padding, up
# to 23 at a speed of 0.7. Without a mark, it ends up to 13 frames after the start of the last two
# tokens; with a mark, nearly always 8 or more before it.
LEAD_MARGIN_FRAMES, TAIL_MARGIN_FRAMES = 12, 16


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames to vocode together: `start` to `stop`, with context from `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def find_words(
    durations: NDArray[np.float32], frames: int, speed: float, ends_with_mark: bool
) -> tuple[int, int]:
    """Return the first frame and the end of the part with words, with a margin.

    The first and the last token are padding, and before the last one there may be a punctuation
    mark: they are mostly silent. Their durations are in units of FRAMES_PER_DURATION frames.
    """
    margin = round(LEAD_MARGIN_FRAMES / min(1.0, speed) ** 2)
    lead = int(durations[0]) * FRAMES_PER_DURATION - margin
    tail = int(durations[-2:].sum()) * FRAMES_PER_DURATION
    if not ends_with_mark:
        tail -= TAIL_MARGIN_FRAMES
    start, end = max(0, lead), frames - max(0, tail)
    return (start, end) if end - start > MIN_PIECE_FRAMES else (0, frames)


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
