"""PlaybackLeads: when the audio of a reply is about to run out."""

from __future__ import annotations

from appliance.engines.tts.playback import LATE_SECONDS, PlaybackLeads


def test_reply_is_late_shortly_before_its_audio_has_been_played() -> None:
    leads = PlaybackLeads()
    leads.add(1, 2.0, now=10.0, is_first=True)
    leads.add(1, 1.0, now=10.5)
    assert not leads.is_late(1, 13.0 - LATE_SECONDS - 0.01)
    assert leads.is_late(1, 13.0 - LATE_SECONDS + 0.01)


def test_audio_after_a_gap_is_played_from_its_arrival() -> None:
    leads = PlaybackLeads()
    leads.add(1, 1.0, now=0.0, is_first=True)
    leads.add(1, 1.0, now=5.0)
    assert not leads.is_late(1, 5.4)
    assert leads.is_late(1, 5.6)


def test_new_reply_drops_the_audio_of_an_interrupted_one() -> None:
    leads = PlaybackLeads()
    leads.add(1, 30.0, now=0.0, is_first=True)
    leads.add(1, 0.25, now=1.0, is_first=True)
    assert leads.is_late(1, 1.0)


def test_session_that_plays_nothing_is_never_late() -> None:
    leads = PlaybackLeads()
    leads.add(1, 9.0, now=0.0)
    assert not leads.is_late(2, 0.0)
    assert leads.is_late(1, 8.9)
    leads.remove(1)
    leads.remove(1)
    assert not leads.is_late(1, 8.9)
