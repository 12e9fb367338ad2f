"""The pace of a client's audio: what is passed on, what is dropped, what is a flood. No I/O.

A microphone cannot record faster than real time, but its audio can arrive faster: after a stall of
the network, of the browser or of this process, everything that was recorded meanwhile arrives at
once. That is not the client's fault: audio that is too old to be answered is dropped, and the call
goes on. Only more audio than a stall can explain ends a session.
"""

from __future__ import annotations

from collections import deque

from appliance.errors import TooFast
from appliance.gateway.rate_limit import TokenBucket
from appliance.link.engine import INPUT_SAMPLE_RATE

BYTES_PER_SECOND = INPUT_SAMPLE_RATE * 2
MIN_CHARGED_BYTES = BYTES_PER_SECOND // 200  # 5 ms; a shorter frame costs as much to handle
# The longest stall that a connection survives: gateway.ping_seconds twice, and a margin.
STALL_SECONDS = 60.0
RELEASED_BYTES = BYTES_PER_SECOND // 5  # held audio that is passed on with one frame: 0.2 s
# A frame arrives in real time if this part of its duration has passed since the one before.
REAL_TIME_RATIO = 0.5


class InputPace:
    """The audio of one client.

    `ratio` is the pace that is allowed for any length of time, as a multiple of real time.
    `burst_seconds` of audio may arrive at once; of more, only the newest `burst_seconds` are kept.
    `dropped_bytes` counts the others.
    """

    def __init__(self, ratio: float, burst_seconds: float) -> None:
        self._burst_seconds = burst_seconds
        self.dropped_bytes = 0
        self._allowed = TokenBucket(
            BYTES_PER_SECOND * ratio, BYTES_PER_SECOND * (burst_seconds + STALL_SECONDS)
        )
        self._ratio = ratio
        self._kept = self._full_bucket()
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._catching_up = False
        self._arrived_at: float | None = None

    def receive(self, pcm: bytes, now: float) -> bytes:
        """Return the audio to pass on after `pcm` has arrived; it may be empty, or older.

        `now` is in monotonic seconds. Raises TooFast.
        """
        charged = self.charge(pcm, now)
        seconds = len(pcm) / BYTES_PER_SECOND
        waited = seconds if self._arrived_at is None else now - self._arrived_at
        self._arrived_at = now
        stalled = waited - seconds > self._burst_seconds
        if self._catching_up:
            self._catching_up = stalled or waited < REAL_TIME_RATIO * seconds
            self._kept = self._full_bucket()
        else:
            self._catching_up = stalled or not self._kept.take(charged, now)
        if self._catching_up or self._held:
            return self._hold(pcm)
        return pcm

    def charge(self, pcm: bytes, now: float) -> int:
        """Count audio that is not played at once, such as a recording. Return how many bytes count.

        Raises TooFast.
        """
        charged = max(len(pcm), MIN_CHARGED_BYTES)
        if not self._allowed.take(charged, now):
            raise TooFast
        return charged

    def _hold(self, pcm: bytes) -> bytes:
        """Hold `pcm` back. Return the held audio that is due; none while the client catches up."""
        self._held.append(pcm)
        self._held_bytes += len(pcm)
        while self._held_bytes > self._burst_seconds * BYTES_PER_SECOND and len(self._held) > 1:
            dropped = len(self._held.popleft())
            self._held_bytes -= dropped
            self.dropped_bytes += dropped
        released = bytearray()
        while self._held and not self._catching_up and len(released) < RELEASED_BYTES + len(pcm):
            released += self._held.popleft()
        self._held_bytes -= len(released)
        return bytes(released)

    def _full_bucket(self) -> TokenBucket:
        return TokenBucket(BYTES_PER_SECOND * self._ratio, BYTES_PER_SECOND * self._burst_seconds)
