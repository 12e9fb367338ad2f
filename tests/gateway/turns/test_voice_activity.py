"""Events of the user's speech, derived from the detector's states."""

from __future__ import annotations

import pytest
from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.frames.frames import (
    InputAudioRawFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.tests.utils import run_test

from appliance.gateway.turns.voice_activity import (
    MissingAudio,
    SpeechEvent,
    SpeechEvents,
    VoiceActivityProcessor,
)
from appliance.settings import TurnConfig

WINDOW_SECONDS = 0.032
QUIET, STARTING, SPEAKING, STOPPING = (
    VADState.QUIET,
    VADState.STARTING,
    VADState.SPEAKING,
    VADState.STOPPING,
)
BEGAN, FADED, STARTED, PAUSED, RESUMED, STOPPED = SpeechEvent


def events(states: list[VADState]) -> list[SpeechEvent]:
    """Return the events of one state per window."""
    detector, found, silent = SpeechEvents(pause_seconds=0.1), [], 0
    for state in states:
        silent = silent + 1 if state == STOPPING else 0
        found += detector.update(state, silent * WINDOW_SECONDS)
    return found


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([QUIET, STARTING, QUIET], [BEGAN, FADED], id="a click"),
        pytest.param(
            [QUIET, STARTING, SPEAKING, *[STOPPING] * 6, QUIET, QUIET],
            [BEGAN, STARTED, PAUSED, STOPPED],
            id="a word",
        ),
        pytest.param(
            [SPEAKING, *[STOPPING] * 3, SPEAKING, *[STOPPING] * 6, QUIET],
            [STARTED, PAUSED, STOPPED],
            id="a gap shorter than a pause",
        ),
        pytest.param(
            [SPEAKING, *[STOPPING] * 4, SPEAKING, *[STOPPING] * 6, QUIET],
            [STARTED, PAUSED, RESUMED, PAUSED, STOPPED],
            id="a pause",
        ),
        pytest.param(
            [SPEAKING, *[STOPPING] * 6, QUIET, STARTING, SPEAKING, QUIET],
            [STARTED, PAUSED, STOPPED, BEGAN, STARTED, PAUSED, STOPPED],
            id="two parts",
        ),
        pytest.param([SPEAKING, QUIET], [STARTED, PAUSED, STOPPED], id="one long frame"),
        pytest.param([STOPPING, QUIET], [STARTED, PAUSED, STOPPED], id="speech within one frame"),
    ],
)
def test_states_of_the_vad_become_speech_events(
    states: list[VADState], expected: list[SpeechEvent]
) -> None:
    assert events(states) == expected


def test_audio_on_time_needs_no_silence() -> None:
    missing = MissingAudio(limit_seconds=5.0)
    assert missing.due(0.0) == 0.0, "before the first audio"
    for number in range(50):
        missing.audio_arrived(number * 0.04)
        assert missing.due(number * 0.04 + 0.2) == 0.0


def test_missing_audio_is_replaced_from_the_last_audio_on() -> None:
    missing = MissingAudio(limit_seconds=5.0)
    missing.audio_arrived(10.0)
    assert missing.due(10.1) == 0.0
    assert missing.due(10.3) == pytest.approx(0.3)
    assert missing.due(10.4) == pytest.approx(0.1)
    assert missing.due(10.4) == 0.0


def test_delay_of_the_process_does_not_count_as_silence() -> None:
    missing = MissingAudio(limit_seconds=5.0)
    missing.audio_arrived(10.0)
    missing.process_was_late(2.0)
    assert missing.due(12.1) == 0.0
    assert missing.due(12.3) == pytest.approx(0.3)
    missing.process_was_late(1.0)  # the microphone is silent: the silence goes on
    assert missing.due(13.4) == pytest.approx(1.1)


def test_audio_after_a_gap_is_counted_anew() -> None:
    missing = MissingAudio(limit_seconds=5.0)
    missing.audio_arrived(10.0)
    assert missing.due(11.0) == pytest.approx(1.0)
    missing.audio_arrived(11.0)
    assert missing.due(11.1) == 0.0
    assert missing.due(11.3) == pytest.approx(0.3)


def test_no_more_silence_than_ends_a_turn() -> None:
    missing = MissingAudio(limit_seconds=2.0)
    missing.audio_arrived(0.0)
    assert missing.due(60.0) == 2.0
    assert missing.due(61.0) == 0.0


class QuietDetector:
    """Hears nothing, and notes whether each piece of audio might wait."""

    silence_seconds = started_seconds_ago = 0.0

    def __init__(self) -> None:
        self.may_wait: list[bool] = []

    def set_sample_rate(self, sample_rate: int) -> None:
        """Accept any rate."""

    async def analyze_audio(self, buffer: bytes, may_wait: bool = False) -> VADState:
        self.may_wait.append(may_wait)
        return QUIET

    async def cleanup(self) -> None:
        """Free nothing."""


async def test_soft_audio_waits_only_while_no_turn_is_open() -> None:
    """Within a turn, soft voice decides whether the turn has ended."""
    detector = QuietDetector()
    audio = InputAudioRawFrame(bytes(1280), 16_000, 1)
    await run_test(
        VoiceActivityProcessor(TurnConfig(), detector),
        frames_to_send=[
            audio,
            UserStartedSpeakingFrame(),
            audio,
            UserStoppedSpeakingFrame(),
            audio,
        ],
    )
    assert detector.may_wait == [True, False, True]
