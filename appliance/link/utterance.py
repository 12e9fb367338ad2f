"""The speech of a turn on the gateway's side, which the client of the link sends to the engine."""

from __future__ import annotations

from appliance.link.engine import INPUT_SAMPLE_RATE


class Utterance:
    """The speech of one turn, or of a part of it.

    id   id by which chat messages refer to this utterance
    pcm  16 kHz mono int16 PCM, growing until `complete`
    """

    __slots__ = ("complete", "id", "pcm")

    def __init__(self, id: int) -> None:
        self.id = id
        self.pcm = bytearray()
        self.complete = False

    @property
    def seconds(self) -> float:
        """Length so far."""
        return len(self.pcm) / (2 * INPUT_SAMPLE_RATE)
