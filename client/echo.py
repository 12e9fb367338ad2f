"""Echo cancellation: what the loudspeaker plays is removed from what the microphone hears.

WebRTC's audio processing module does it (package pywebrtc-audio): 25 to 40 dB less echo at delays
of 10 to 250 ms, for 0.5 % of a core. The wheel has 0.4 MB; that of livekit has the same module and
12 MB, with a runtime of its own.

Two threads of the sound system call an `EchoCanceller`: `played` the loudspeaker's, `remove` the
microphone's. The module finds the delay between both by itself; the queue here only has to keep
their order.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np

from client.audio import new_resampler, resample
from client.wire import MIC_SAMPLE_RATE

# The clocks of two devices differ. Above this, the oldest audio of the loudspeaker is dropped.
MAX_QUEUED_SECONDS = 0.25
KEPT_SECONDS = 0.1


class AudioProcessor(Protocol):
    """The part of WebRTC's module that is used: int16 samples at MIC_SAMPLE_RATE."""

    def process(self, near: Any, far: Any) -> Any:
        """Return `near` without what it has of `far`. Both have the same length."""


def load_processor() -> AudioProcessor | None:
    """Return WebRTC's echo canceller, or None where the package is missing."""
    try:
        from pywebrtc_audio import AudioProcessor as WebRTCProcessor
    except ImportError:
        return None
    processor: AudioProcessor = WebRTCProcessor(
        sample_rate=MIC_SAMPLE_RATE, echo_cancellation=True, high_pass_filter=True
    )
    return processor


class EchoCanceller:
    """Removes the loudspeaker's sound from the microphone's. `rate`: the loudspeaker's, in Hz."""

    def __init__(self, processor: AudioProcessor, rate: int) -> None:
        self._processor = processor
        self._resampler = new_resampler(rate, MIC_SAMPLE_RATE)
        self._lock = threading.Lock()
        self._far = bytearray()
        self._listening = False

    def played(self, pcm: bytes) -> None:
        """Note what the loudspeaker plays next, silence included: mono int16."""
        pcm = resample(self._resampler, pcm)
        with self._lock:
            if not self._listening:  # before the first sound of the microphone
                return
            self._far += pcm
            if len(self._far) > _bytes(MAX_QUEUED_SECONDS):
                del self._far[: len(self._far) - _bytes(KEPT_SECONDS)]

    def remove(self, frame: bytes) -> bytes:
        """Return the microphone's frame, mono int16 at 16 kHz, without the loudspeaker's sound."""
        with self._lock:
            self._listening = True
            far = bytes(self._far[: len(frame)])
            del self._far[: len(far)]
        far += bytes(len(frame) - len(far))
        near = np.frombuffer(frame, "<i2")
        cleaned: bytes = self._processor.process(near, np.frombuffer(far, "<i2")).tobytes()
        return cleaned


def _bytes(seconds: float) -> int:
    return 2 * round(seconds * MIC_SAMPLE_RATE)
