"""The page's modules without I/O, run in Chromium: each test imports one and uses it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from appliance import errors
from client import wire
from tests.page.chromium import Browser, Tab

TONE = (
    "Float32Array.from({length: LENGTH}, (_, i) => 0.5 * Math.sin(2 * Math.PI * HERTZ * i / RATE))"
)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_tab(browser: Browser) -> AsyncIterator[Tab]:
    """One tab for all tests of a module: each tab is a new process of the browser."""
    async with browser.tab() as tab:
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def tab(page_url: str, shared_tab: Tab) -> AsyncIterator[Tab]:
    """A page in which modules can be imported: it shows the icon, which loads none itself.

    It is loaded anew, so that nothing is left of the test before.
    """
    await shared_tab.open(f"{page_url}page/icon.svg")
    yield shared_tab
    errors, violations = list(shared_tab.errors), list(shared_tab.violations)
    shared_tab.errors.clear()
    shared_tab.violations.clear()
    assert (errors, violations) == ([], [])


async def run(tab: Tab, module: str, body: str) -> Any:
    """Run the body of a function that has the names of a module. Returns its value."""
    code = f"(async () => {{ const m = await import('/page/{module}'); {body} }})()"
    return await tab.evaluate(code)


def tone(hertz: float, rate: int, seconds: float = 1.0) -> str:
    length = str(int(rate * seconds))
    return TONE.replace("LENGTH", length).replace("HERTZ", str(hertz)).replace("RATE", str(rate))


async def test_frames_are_those_of_the_python_client(tab: Tab) -> None:
    sent = await run(
        tab,
        "frames.js",
        """const audio = m.encodeAudio(new Uint8Array([1, 2, 3, 4]), 16000);
        const message = m.encodeMessage("send-text", {content: "Grüß dich"}, "7");
        return {audio: [...audio], message: [...message]};""",
    )
    audio = wire.decode(bytes(sent["audio"]))
    assert isinstance(audio, wire.AudioFrame)
    assert (audio.pcm, audio.rate) == (b"\1\2\3\4", 16_000)
    message = wire.decode(bytes(sent["message"]))
    assert isinstance(message, wire.RTVIMessage)
    assert (message.type, message.text("content")) == ("send-text", "Grüß dich")


async def test_gateway_frames_are_decoded(tab: Tab) -> None:
    from pipecat.frames.protobufs import frames_pb2

    protos: Any = frames_pb2
    audio, message, interruption = (protos.Frame() for _ in range(3))
    audio.audio.id, audio.audio.name, audio.audio.pts = 2**40, "TTS#1", 2**50
    audio.audio.audio, audio.audio.sample_rate, audio.audio.num_channels = b"\1\2" * 960, 24_000, 1
    message.message.data = json.dumps({"label": "rtvi-ai", "type": "bot-ready"})
    interruption.interruption.id = 5
    encoded = [list(frame.SerializeToString()) for frame in (audio, message, interruption)]
    decoded = await run(
        tab,
        "frames.js",
        f"""const [audio, ...others] = {encoded}
          .map((each) => m.decodeFrame(Uint8Array.from(each)));
        return [audio.kind, audio.sampleRate, audio.channels, audio.pcm.length, ...others];""",
    )
    assert decoded[:4] == ["audio", 24_000, 1, 1920]
    assert decoded[4] == {"kind": "message", "message": {"label": "rtvi-ai", "type": "bot-ready"}}
    assert decoded[5] == {"kind": "interruption"}


async def test_broken_frames_raise_a_range_error_only(tab: Tab) -> None:
    names = await run(
        tab,
        "frames.js",
        """const whole = m.encodeMessage("send-text", {content: "x".repeat(300)}, "1");
        const names = new Set();
        for (let end = 0; end < whole.length; end++) {
          for (const bytes of [whole.slice(0, end), whole.with(end, 255), whole.with(end, 0)]) {
            try { m.decodeFrame(bytes); } catch (error) { names.add(error.name); }
          }
        }
        return [...names];""",
    )
    assert names == ["RangeError"]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
async def test_microphone_of_any_rate_becomes_16_khz(tab: Tab, rate: int) -> None:
    result = await run(
        tab,
        "resampler.js",
        f"""const input = {tone(1_000, rate)};
        const resampler = new m.Resampler({rate}, 16000);
        const output = [];
        for (let i = 0; i < input.length; i += 128) {{
          output.push(...resampler.push(input.subarray(i, i + 128)));
        }}
        const steady = output.slice(2000, 14000);  // whole periods of 16 samples
        let sine = 0, cosine = 0;
        steady.forEach((v, i) => {{
          sine += v * Math.sin(2 * Math.PI * i / 16) * 2 / steady.length;
          cosine += v * Math.cos(2 * Math.PI * i / 16) * 2 / steady.length;
        }});
        let error = 0;
        steady.forEach((v, i) => {{
          const phase = 2 * Math.PI * i / 16;
          const fit = sine * Math.sin(phase) + cosine * Math.cos(phase);
          error += (v - fit) ** 2;
        }});
        return {{samples: output.length, amplitude: Math.hypot(sine, cosine),
          noise: 10 * Math.log10(error / steady.length / 0.125 + 1e-12)}};""",
    )
    assert result["samples"] == pytest.approx(16_000, abs=150)
    assert result["amplitude"] == pytest.approx(0.5, rel=0.01)
    assert result["noise"] < -70  # dB below the tone


async def test_resampling_lets_no_frequency_above_8_khz_through(tab: Tab) -> None:
    level = await run(
        tab,
        "resampler.js",
        f"""const {{dbfs}} = await import('/page/pcm.js');
        return dbfs(new m.Resampler(48000, 16000).push({tone(10_000, 48_000)}).slice(200));""",
    )
    assert level < -60


async def play(tab: Tab, body: str) -> Any:
    """Run code with a PlaybackBuffer `b` of 1000 Hz and the helper `pull(milliseconds)`."""
    return await run(
        tab,
        "playback_buffer.js",
        f"""const b = new m.PlaybackBuffer(1000);
        const ones = (ms) => new Float32Array(ms).fill(1);
        const begun = [];
        const pull = (ms) => {{
          const out = new Float32Array(ms); begun.push(b.pull(out)); return [...out]; }};
        const sum = (samples) => samples.reduce((a, c) => a + c, 0);
        {body}""",
    )


async def test_playback_waits_for_120_ms_and_then_plays_every_sample(tab: Tab) -> None:
    played = await play(
        tab,
        """b.push(ones(80)); const early = sum(pull(20));
        b.push(ones(40)); const rest = sum(pull(20)) + sum(pull(200));
        return [early, rest, b.underruns, begun];""",
    )
    assert played == [0, 120, 0, [False, True, False]]


async def test_short_reply_is_played_after_120_ms(tab: Tab) -> None:
    assert await play(tab, "b.push(ones(10)); return [sum(pull(100)), sum(pull(50))];") == [0, 10]


async def test_gap_within_a_reply_is_an_underrun_and_one_between_replies_is_not(tab: Tab) -> None:
    underruns = await play(
        tab,
        """b.push(ones(120)); pull(150); const before = b.underruns;
        b.push(ones(120)); pull(150); const within = b.underruns;
        b.ended(); b.push(ones(120)); pull(150);
        return [before, within, b.underruns, begun];""",
    )
    assert underruns == [0, 1, 1, [True, False, True]]


async def test_flush_leaves_a_fade_of_5_ms(tab: Tab) -> None:
    heard = await play(
        tab,
        """b.push(ones(300)); pull(50); const dropped = b.flush();
        const rest = pull(50); b.push(ones(120)); pull(120);
        return [dropped, rest.filter((s) => s !== 0).length, rest[0] < 1, b.underruns,
          begun.at(-1)];""",
    )
    assert heard[0] == 245
    assert heard[1] <= 5
    assert heard[2:] == [True, 0, True]


async def test_closed_gate_of_the_microphone(tab: Tab) -> None:
    states = await run(
        tab,
        "microphone_gate.js",
        """const g = new m.MicrophoneGate(); const open = [];
        open.push(g.isOpen(0));
        g.muted = true; open.push(g.isOpen(0));
        g.pushToTalk = true; open.push(g.isOpen(0)); g.pressed = true; open.push(g.isOpen(0));
        g.pushToTalk = g.muted = false;
        g.halfDuplex = true; g.playback(true, 1); open.push(g.isOpen(1));
        g.playback(false, 2); open.push(g.isOpen(2.2), g.isOpen(2.4));
        return open;""",
    )
    assert states == [True, False, False, True, False, False, True]


async def test_own_backlog_above_a_second_is_dropped(tab: Tab) -> None:
    result = await run(
        tab,
        "backlog.js",
        "return [0, 32000, 32001].map(m.hasRoom);",
    )
    assert result == [True, True, False]


async def test_microphone_is_not_sent_while_more_than_a_second_waits(tab: Tab) -> None:
    sent = await run(
        tab,
        "connection.js",
        """const sent = [];
        globalThis.WebSocket = class {
          static OPEN = 1; readyState = 1; bufferedAmount = 0; send() { sent.push(1); } };
        const connection = new m.Connection("ws://x/", {frame() {}, closed() {}});
        return [0, 32001, 32000].map((waiting) => {
          sent.length = 0; connection._socket.bufferedAmount = waiting;
          connection.sendAudio(new Float32Array(640)); return sent.length; });""",
    )
    assert sent == [1, 0, 1]


async def test_muted_microphone_sends_silence(tab: Tab) -> None:
    sent = await run(
        tab,
        "call.js",
        """const c = new m.Call({}); const sent = [];
        c._connection = {sendAudio: (samples) => sent.push([samples.length, samples[0]])};
        for (const muted of [false, true]) {
          c.gate.muted = muted; c._captured(new Float32Array(640).fill(1)); }
        return sent;""",
    )
    assert sent == [[640, 1], [640, 0]]


async def converse(tab: Tab, steps: str) -> Any:
    """Run code with a connected Conversation `c` and the helper `got(type, data)`."""
    return await run(
        tab,
        "conversation.js",
        f"""const c = new m.Conversation(); const states = [];
        const got = (type, data = {{}}) => {{ c.received({{type, data}}); states.push(c.status); }};
        c.connecting(); states.push(c.status); got("bot-ready");
        {steps}
        return {{states, captions: c.captions, turns: c.turns}};""",
    )


TURN = {
    "kind": "turn",
    "turn": 1,
    "outcome": "answered",
    "response_seconds": 0.8,
    "user_text": "What is the capital of France?",
    "reply_text": "It is Paris.",
}


async def test_status_follows_a_turn(tab: Tab) -> None:
    result = await converse(
        tab,
        f"""got("user-started-speaking"); got("user-stopped-speaking");
        got("user-input", {{text: "What is the capital of France?", input_type: "transcription"}});
        got("bot-output", {{text: "It is Paris.", spoken_status: "new"}});
        got("bot-output", {{text: "It is Paris.", spoken_status: "spoken"}});
        c.playing(true); states.push(c.status); c.playing(false); states.push(c.status);
        got("server-message", {json.dumps(TURN)});""",
    )
    assert result["states"] == [
        *("connecting", "listening", "listening", "thinking"),
        *("thinking", "thinking", "thinking", "speaking", "listening", "listening"),
    ]
    assert [(each["speaker"], each["text"]) for each in result["captions"]] == [
        ("user", "What is the capital of France?"),
        ("bot", "It is Paris."),
    ]
    assert result["turns"] == [{"number": 1, "outcome": "answered", "seconds": 0.8}]


async def test_interrupted_reply_is_shown_as_far_as_it_was_heard(tab: Tab) -> None:
    cut = TURN | {"outcome": "interrupted", "reply_text": "It is"}
    result = await converse(
        tab,
        f"""got("user-stopped-speaking");
        got("bot-output", {{text: "It is Paris, on the Seine.", spoken_status: "new"}});
        c.playing(true); c.interrupted(); states.push(c.status);
        got("server-message", {json.dumps(cut)});""",
    )
    assert result["states"][-2:] == ["listening", "listening"]
    assert [each["text"] for each in result["captions"]] == [TURN["user_text"], "It is"]


async def test_question_in_two_parts_is_shown_once(tab: Tab) -> None:
    joined = {"kind": "turn", "turn": 1, "outcome": "joined", "user_text": "", "reply_text": ""}
    whole = TURN | {"turn": 2, "replaces": 1}
    result = await converse(
        tab,
        f"""got("user-stopped-speaking"); got("user-input", {{text: "What is the capital"}});
        got("server-message", {json.dumps(joined)});
        got("user-stopped-speaking"); got("user-input", {{text: "What is the capital of France?"}});
        got("server-message", {json.dumps(whole)});""",
    )
    texts = [each["text"] for each in result["captions"]]
    assert texts == ["What is the capital of France?", "It is Paris."]


async def test_question_that_interrupts_before_the_report_is_the_next_turns(tab: Tab) -> None:
    cut = TURN | {"outcome": "interrupted", "user_text": "", "reply_text": "It is"}
    joined = cut | {"outcome": "joined", "reply_text": ""}
    for report, texts in (
        (cut, ["Tell me a story.", "It is", "Stop."]),
        (joined, ["Stop."]),
    ):
        second = TURN | {"turn": 2, "user_text": "", "reply_text": "", "replaces": 1}
        if report is cut:
            del second["replaces"]
        result = await converse(
            tab,
            f"""got("user-input", {{text: "Tell me a story.", input_type: "chat"}});
            got("bot-output", {{text: "It is a", spoken_status: "new"}});
            got("user-input", {{text: "Stop.", input_type: "chat"}});
            got("server-message", {json.dumps(report)});
            got("server-message", {json.dumps(second)});""",
        )
        assert [each["text"] for each in result["captions"]] == texts


async def test_second_call_leaves_the_captions_of_the_first(tab: Tab) -> None:
    """The gateway counts the turns of each call from 1."""
    joined = {"kind": "turn", "turn": 1, "outcome": "joined", "user_text": "", "reply_text": ""}
    whole = TURN | {"turn": 2, "replaces": 1, "response_seconds": 1.5}
    result = await converse(
        tab,
        f"""got("server-message", {json.dumps(TURN)});
        got("user-input", {{text: "And", input_type: "transcription"}});
        c.ended(); c.connecting(); got("bot-ready");
        got("server-message", {json.dumps(joined)}); got("server-message", {json.dumps(whole)});""",
    )
    seconds = {turn["number"]: turn["seconds"] for turn in result["turns"]}
    shown = [(each["text"], seconds.get(each["turn"])) for each in result["captions"]]
    assert shown == [
        (TURN["user_text"], 0.8),
        (TURN["reply_text"], 0.8),
        ("And", None),
        (TURN["user_text"], 1.5),
        (TURN["reply_text"], 1.5),
    ]


async def test_status_word_says_what_the_microphone_does(tab: Tab) -> None:
    words = await run(
        tab,
        "status.js",
        """return [
          ["idle", false, "muted", false], ["idle", false, "open", true],
          ["connecting", false, "open", false], ["connecting", false, "open", true],
          ["listening", false, "open", false], ["listening", true, "open", false],
          ["listening", false, "muted", false], ["listening", false, "released", true],
          ["listening", false, "missing", false], ["speaking", false, "missing", false],
        ].map((each) => m.statusWord(...each));""",
    )
    assert words == [
        *("idle", "waiting"),
        *("connecting", "waiting"),
        *("listening", "hearing"),
        *("muted", "released"),
        *("missing", "speaking"),
    ]


async def test_words_of_the_catalogue_are_kept_for_support(tab: Tab) -> None:
    """They name settings, which callers cannot change."""
    refusal = errors.Full(limit=4)
    body = json.dumps({"reason": "full", "message": str(refusal), "advice": refusal.advice})
    kept = await run(tab, "problems.js", f"return m.refusal(503, {body}, '5').detail;")
    assert kept == f"{refusal} {refusal.advice}"


async def test_refusals_and_ends_become_problems(tab: Tab) -> None:
    found = await run(
        tab,
        "problems.js",
        """return [
          m.refusal(503, {reason: "full", message: "All 4 sessions are taken."}, "5"),
          m.refusal(502, {}, null), m.refusal(0, {}, null),
          m.refusal(429, {reason: "minutes_used"}, "3600"),
          m.closed(1012, "shutdown: The appliance is stopping."), m.closed(1006, ""),
          m.closed(1000, "idle: Nobody spoke for 120 seconds."), m.closed(1000, ""),
          m.closed(1000, "hung_up: The bot ended the conversation."),
          m.microphone("NotAllowedError"), m.microphone("NotFoundError"), m.microphone("?"),
        ].map((each) => each && [each.reason, each.retrySeconds]);""",
    )
    assert found == [
        ["full", 5],
        ["refused", None],
        ["unreachable", 2],
        ["minutes_used", None],
        ["shutdown", 2],
        ["lost", 1],
        ["idle", None],
        None,
        None,
        ["microphone_blocked", None],
        ["no_microphone", None],
        ["microphone_failed", None],
    ]


async def test_preferences_survive_what_is_not_theirs(tab: Tab) -> None:
    parsed = await run(
        tab,
        "preferences.js",
        """return ['null', '[]', '{"volume": 7, "pushToTalk": "yes", "language": "de"}', 'x', null]
          .map(m.parse).map((p) => [p.volume, p.pushToTalk, p.language]);""",
    )
    assert parsed == [
        [1, False, ""],
        [1, False, ""],
        [1, False, "de"],
        [1, False, ""],
        [1, False, ""],
    ]


async def test_language_is_the_first_that_the_page_speaks(tab: Tab) -> None:
    chosen = await run(
        tab, "language.js", "return [['fr', 'de-AT'], ['xx'], ['en-GB', 'de']].map(m.choose);"
    )
    assert chosen == ["de", "en", "en"]
