"""The purposes of the jobs of the engine's threads, by urgency. No I/O."""

from __future__ import annotations

from enum import IntEnum


class JobPriority(IntEnum):
    """The purpose of a job; lower values run first."""

    GENERATE = 0  # a user is waiting for the first phrase of the reply, or about to hear a gap
    DUE_TOKEN = 1  # a user hears the reply, and the next phrase will soon be needed
    PREFILL = 2  # a user is pausing and will soon wait for the reply
    EARLY_TOKEN = 3  # a user hears the reply, and the next phrase is not needed yet
    SEGMENT = 4  # a user is still speaking; this part of the utterance is complete
    BACKGROUND = 5  # a user is still speaking or hears the reply; it may be done for nothing
    TRANSCRIBE = 6  # no user is waiting
    CLOSE = 7
