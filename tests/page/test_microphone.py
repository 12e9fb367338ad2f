"""What Chromium's page captures of the microphone while the page or the loudspeaker is late."""

from __future__ import annotations

from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway
from tests.page.chromium import Browser
from tests.page.user import ANSWERS, call, captions, signed_in

# Before the page's scripts: no sound reaches the loudspeaker, as on a computer that is so busy that
# it is always late. An audio context runs at the pace of the loudspeaker.
STILL = """
globalThis.AudioContext = class extends AudioContext {
  constructor(options) {
    super(options);
    this.suspend();
    this.resume = () => new Promise(() => {});
  }
};
"""
# `behind` returns how many seconds of what the browser has delivered the page has not got.
CAPTURE = """(async () => {
  const {Microphone} = await import("/page/microphone.js");
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => (globalThis.heard = await ask(wanted));
  globalThis.samples = 0;
  await Microphone.open("", true, (frame) => { samples += frame.length; });
  const [track] = heard.getAudioTracks();
  globalThis.behind = () =>
    track.stats.deliveredFrames / track.getSettings().sampleRate - samples / 16000;
})()"""
BUSY_SECONDS = 1.5  # Chromium itself keeps 0.1 s for a page that does not read
BUSY = f"""(() => {{
  const until = performance.now() + {1000 * BUSY_SECONDS};
  while (performance.now() < until);
}})()"""


async def test_question_is_heard_while_the_loudspeaker_stands_still(
    make_gateway: MakeGateway, speaking_browser: Browser
) -> None:
    async with (
        make_gateway(ScriptedLLM("It is Paris.")) as gateway,
        signed_in(speaking_browser, gateway, STILL) as tab,
    ):
        await call(tab)
        await tab.wait_for(ANSWERS)
        question, answer = await captions(tab)
        assert question.startswith("user ")
        assert answer == "bot It is Paris."


async def test_sound_that_comes_while_the_page_is_busy_is_captured_afterwards(
    page_url: str, speaking_browser: Browser
) -> None:
    async with speaking_browser.tab() as tab:
        await tab.open(f"{page_url}page/icon.svg")
        await tab.evaluate(CAPTURE)
        await tab.wait_for("samples > 16000")
        before = await tab.evaluate("behind()")
        await tab.evaluate(BUSY)
        await tab.wait_for(f"samples > {16_000 * (1 + BUSY_SECONDS)}")
        await tab.wait_for(f"behind() < {before + BUSY_SECONDS / 3}")
        assert (tab.errors, tab.violations) == ([], [])
