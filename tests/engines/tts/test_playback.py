"""PlaybackLeads: when the audio of a session will have been played."""

from __future__ import annotations

from appliance.engines.tts.playback import PlaybackLeads


def test_audio_is_played_after_the_audio_before_it() -> None:
    leads = PlaybackLeads()
    leads.add(1, 2.0, now=10.0, is_first=True)
    leads.add(1, 1.0, now=10.5)
    assert leads.ends_at(1) == 13.0


def test_audio_after_a_gap_is_played_from_its_arrival() -> None:
    leads = PlaybackLeads()
    leads.add(1, 1.0, now=0.0, is_first=True)
    leads.add(1, 1.0, now=5.0)
    assert leads.ends_at(1) == 6.0


def test_new_reply_drops_the_audio_of_an_interrupted_one() -> None:
    leads = PlaybackLeads()
    leads.add(1, 30.0, now=0.0, is_first=True)
    leads.add(1, 0.25, now=1.0, is_first=True)
    assert leads.ends_at(1) == 1.25


def test_session_without_audio_has_nothing_to_play() -> None:
    leads = PlaybackLeads()
    leads.add(1, 9.0, now=0.0)
    assert leads.ends_at(2) < 0.0
    leads.remove(1)
    leads.remove(1)
    assert leads.ends_at(1) < 0.0
