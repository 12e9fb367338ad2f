"""The playback buffer, with explicit times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.playback import Playback, SimulatedSpeaker, first_audible, last_audible
from tests.fakes import tone

RATE = 24_000
CHUNK = 960  # samples of 40 ms


def loud(samples: int = CHUNK) -> bytes:
    return b"\x00\x10" * samples


def quiet(samples: int = CHUNK) -> bytes:
    return b"\x08\x00" * samples


def test_playback_starts_when_the_prebuffer_is_full() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.08)
    playback.push(loud(), now=0.0)
    assert playback.pull(CHUNK, starts_at=0.0) == bytes(2 * CHUNK)
    playback.push(loud(), now=0.04)
    assert playback.pull(CHUNK, starts_at=0.04) == loud()
    assert playback.take().first_audible_at == pytest.approx(0.04, abs=1e-3)


def test_reply_shorter_than_the_prebuffer_plays_after_its_duration() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.08)
    playback.push(loud(240), now=1.0)
    played = playback.pull(RATE, starts_at=0.5)
    assert played.count(b"\x10") == 240
    assert playback.drained
    assert playback.take().first_audible_at == pytest.approx(1.08, abs=1e-3)


def test_late_packet_is_an_underrun_and_its_gap_is_recorded() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.0)
    playback.push(loud(), now=0.0)
    playback.pull(CHUNK, starts_at=0.0)
    playback.pull(CHUNK, starts_at=0.04)
    playback.push(loud(), now=0.08)
    playback.pull(CHUNK, starts_at=0.1)
    heard = playback.take()
    assert heard.underruns == 1
    assert heard.gap_seconds == heard.longest_gap_seconds == pytest.approx(0.06)
    assert heard.seconds == pytest.approx(0.04 + 0.06 + 0.04)


def test_silence_between_two_replies_is_not_an_underrun() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.0)
    playback.push(loud(), now=0.0)
    playback.pull(2 * CHUNK, starts_at=0.0)
    assert playback.take().underruns == 0
    playback.push(loud(), now=5.0)
    playback.pull(2 * CHUNK, starts_at=5.0)
    heard = playback.take()
    assert (heard.underruns, heard.pcm) == (0, loud())


def test_flush_silences_immediately_and_counts_dropped_audio() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.0)
    playback.push(loud(10 * CHUNK), now=0.0)
    playback.pull(CHUNK, starts_at=0.0)
    assert playback.flush(now=0.04) == pytest.approx(0.36)
    assert playback.pull(CHUNK, starts_at=0.04) == bytes(2 * CHUNK)
    heard = playback.take()
    assert heard.pcm == loud()
    assert heard.dropped_seconds == pytest.approx(0.36)
    assert heard.ended_at == pytest.approx(0.04)


def test_first_audible_sample_is_after_leading_silence() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.0)
    playback.push(quiet() + loud(), now=0.0)
    playback.pull(2 * CHUNK, starts_at=2.0)
    assert playback.take().first_audible_at == pytest.approx(2.04)


def test_silent_reply_is_never_audible() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.0)
    playback.push(quiet(), now=0.0)
    playback.pull(CHUNK, starts_at=0.0)
    assert playback.take().first_audible_at is None


def test_audible_since_restarts_after_each_silence() -> None:
    playback = Playback(RATE, prebuffer_seconds=0.0)
    playback.push(quiet() + loud(), now=0.0)
    playback.pull(CHUNK, starts_at=1.0)
    assert playback.audible_since is None
    playback.pull(CHUNK, starts_at=1.04)
    playback.take()  # taking the record does not count as silence
    playback.push(loud(), now=1.08)
    playback.pull(2 * CHUNK, starts_at=1.08)
    assert playback.audible_since == pytest.approx(1.04)
    playback.push(loud(2 * CHUNK), now=3.0)
    playback.pull(CHUNK, starts_at=3.0)
    assert playback.audible_since == pytest.approx(3.0)
    playback.flush(now=3.04)
    playback.push(loud(), now=4.0)
    playback.pull(CHUNK, starts_at=4.0)
    assert playback.audible_since == pytest.approx(4.0)


def test_start_and_end_of_speech_are_detected() -> None:
    pcm = bytes(200) + tone(0.1, 16_000) + bytes(200)
    first, last = first_audible(pcm), last_audible(pcm)
    assert first is not None
    assert last is not None
    assert 100 <= first <= 102
    assert 1696 <= last <= 1699
    assert first_audible(bytes(20)) is last_audible(b"") is None


@settings(deadline=None)  # a shared machine can stall
@given(
    chunks=st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 0.2)), max_size=12),
    blocks=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    prebuffer=st.sampled_from([0.0, 0.08, 0.15]),
)
def test_all_audio_is_played_once_and_in_order_for_any_chunking(
    chunks: list[tuple[int, float]], blocks: list[int], prebuffer: float
) -> None:
    playback = Playback(RATE, prebuffer)
    sent, out, now, sample = b"", b"", 0.0, 0
    for index, (samples, pause) in enumerate(chunks):
        pcm = (1000 + np.arange(sample, sample + samples) % 1000).astype("<i2").tobytes()
        sample += samples
        playback.push(pcm, now)
        sent += pcm
        count = blocks[index % len(blocks)]
        out += playback.pull(count, now)
        now += pause
    out += playback.pull(2 * RATE, now + 1.0)
    heard = np.frombuffer(out, "<i2")
    assert heard[heard != 0].tobytes() == sent
    assert playback.drained


def test_simulated_speaker_plays_in_real_time() -> None:
    speaker = SimulatedSpeaker(Playback(RATE, prebuffer_seconds=0.0), now=10.0)
    speaker.push(loud(2 * CHUNK), now=10.0)
    speaker.advance(10.04)
    assert not speaker.drained
    speaker.advance(10.09)
    assert speaker.drained
    assert speaker.first_audible_at == speaker.audible_since == pytest.approx(10.0)


def test_simulated_speaker_plays_until_the_moment_of_a_flush() -> None:
    speaker = SimulatedSpeaker(Playback(RATE, prebuffer_seconds=0.0), now=0.0)
    speaker.push(loud(RATE), now=0.0)
    speaker.flush(now=0.25)
    assert speaker.take().seconds == pytest.approx(0.25)
