"""A conversation in the page, in Chromium, with the real models and the sound of a desktop."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.e2e.appliance import QUESTIONS, Appliance
from tests.e2e.desktop import MISSING, RATE, Desktop, desktop
from tests.page.chromium import Browser, Tab
from tests.page.user import ANSWERS, LISTENING, SPEAKING, ask, captions, logged_in
from tests.recognizer import plain, words

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
MODEL_SECONDS = 180.0  # for an answer of the model, on a busy machine
# The user interrupts with words of which some may be lost: while the bot still speaks, Chromium's
# echo canceller removes most of a user's first words, and on a busy machine more of them.
WAIT = "Wait a moment, please. I have another question for you."
STORY = "Tell me a long story about a king, with ten sentences."
# Its caption has more words than "One moment, please.", which a slow model says first.
STORY_BEGINS = "document.querySelectorAll('#captions .bot .words')[1]?.innerText.length > 40"
LISTEN_SECONDS = 3.0  # of a story that takes longer
HEARD = 0.6  # of the words of the captions, by another recognizer than the appliance's
LOUD = 300  # of int16
INTERRUPTED = 'voice_turns_total{outcome="interrupted"}'
ECHO_VOLUME, ECHO_MILLISECONDS = 0.1, 60  # -20 dB


@pytest.fixture
def sound() -> Iterator[Desktop]:
    """A sound server with a virtual microphone and loudspeaker."""
    with desktop() as running:
        yield running


@pytest.fixture
def wait(tmp_path: Path) -> Path:
    """A recording of WAIT."""
    wav = tmp_path / "wait.wav"
    subprocess.run(["espeak-ng", "-v", "en-us+m7", "-w", str(wav), WAIT], check=True)
    return wav


@pytest.fixture
def browser(sound: Desktop) -> Iterator[Browser]:
    """A browser on that sound server."""
    running = Browser(desktop=sound.environment)
    yield running
    running.stop()


async def say(sound: Desktop, question: Path) -> None:
    """Speak into the microphone, while the tab is read."""
    await asyncio.to_thread(sound.say, question)


async def wait_for_answers(tab: Tab, count: int) -> None:
    """Wait until so many replies are complete, and the last one is played."""
    await tab.wait_for(f"{ANSWERS} >= {count}", MODEL_SECONDS)
    await tab.wait_for(LISTENING)


def heard_in(recording: Path) -> str:
    """Return what a listener of the recording hears, without the silence before and after it."""
    samples = np.fromfile(recording, "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(int)) > LOUD)
    return words(samples[loud[0] : loud[-1]], RATE) if len(loud) else ""


async def test_spoken_questions_are_answered_aloud_and_a_story_is_interrupted(
    appliance: Appliance, sound: Desktop, browser: Browser, wait: Path, tmp_path: Path
) -> None:
    # Without any echo, Chromium's echo canceller also removes most of a user who speaks at the same
    # time as the bot. A room has some.
    sound.reflect(ECHO_VOLUME, ECHO_MILLISECONDS)
    interrupted_before = appliance.metric(INTERRUPTED)
    first, last = tmp_path / "first.raw", tmp_path / "last.raw"
    async with browser.tab() as tab:
        await tab.open(f"http://localhost:{appliance.port}/")
        await logged_in(tab, appliance.token)
        await tab.click("#talk")
        await tab.wait_for("document.body.dataset.word === 'listening'")
        with sound.record(first):
            await say(sound, QUESTIONS[0])
            await wait_for_answers(tab, 1)
        await ask(tab, STORY)
        await tab.wait_for(f"{SPEAKING} && {STORY_BEGINS}", MODEL_SECONDS)
        await asyncio.sleep(LISTEN_SECONDS)
        await say(sound, wait)
        await wait_for_answers(tab, 3)
        assert appliance.metric(INTERRUPTED) == interrupted_before + 1
        await say(sound, QUESTIONS[1])
        await wait_for_answers(tab, 4)
        with sound.record(last):
            await say(sound, QUESTIONS[2])
            await wait_for_answers(tab, 5)
        said = await captions(tab)
        await tab.click("#talk")
        assert [each.partition(" ")[0] for each in said] == ["user", "bot"] * 5, said
        france, paris, story, king, wait_heard, _, museum, louvre, river, seine = said
        assert "france" in france.lower() and "paris" in paris.lower(), said
        assert story == f"user {STORY}"
        assert king != "bot "  # what was heard of it
        assert wait_heard != "user "  # what was heard of it
        assert "museum" in museum.lower() and "louvre" in louvre.lower(), said
        assert "river" in river.lower() and len(seine) > len("bot "), said
        shown = [word for caption in (paris, seine) for word in plain(caption).split()[1:]]
        heard = f"{heard_in(first)} {heard_in(last)}".split()
        assert sum(word in heard for word in shown) >= HEARD * len(shown), (shown, heard)
        assert appliance.metric(INTERRUPTED) == interrupted_before + 1
        assert (tab.errors, tab.violations) == ([], [])
        assert {urlsplit(url).netloc for url in tab.requests} == {f"localhost:{appliance.port}"}
