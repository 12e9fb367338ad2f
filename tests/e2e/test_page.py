"""A spoken turn from the page, in Chromium, with the real models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client.wav import read_wav, write_wav
from client.wire import MIC_SAMPLE_RATE
from tests.e2e.appliance import QUESTIONS, Appliance
from tests.page.chromium import Browser
from tests.page.user import captions, logged_in

SECOND = bytes(2 * MIC_SAMPLE_RATE)


@pytest.fixture
def speaking_browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser whose microphone hears the first question once, after 3 s."""
    wav = tmp_path / "question.wav"
    write_wav(wav, 3 * SECOND + read_wav(QUESTIONS[0]) + 20 * SECOND, MIC_SAMPLE_RATE)
    browser = Browser(Path(f"{wav}%noloop"))
    yield browser
    browser.stop()


async def test_question_spoken_into_the_page_is_answered(
    appliance: Appliance, speaking_browser: Browser
) -> None:
    async with speaking_browser.tab() as tab:
        await tab.open(f"http://localhost:{appliance.port}/")
        await logged_in(tab, appliance.token)
        await tab.click("#talk")
        await tab.wait_for("document.body.dataset.status === 'speaking'")
        await tab.wait_for("document.querySelector('#captions .bot .latency')?.textContent")
        said, answered = await captions(tab)
        assert "france" in said.lower()
        assert "paris" in answered.lower()
        await tab.click("#talk")
        assert (tab.errors, tab.violations) == ([], [])
        assert {urlsplit(url).netloc for url in tab.requests} == {f"localhost:{appliance.port}"}
