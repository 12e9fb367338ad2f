"""Every state of the page, as JavaScript that puts an open page into it, without a call.

The screenshots and the accessibility tests use them. The calls that lead to these states are tested
in test_call.py and test_problems.py.
"""

from __future__ import annotations

from tests.page.chromium import Tab

_BEFORE = """
const view = await import("/page/view.js");
const {Conversation} = await import("/page/conversation.js");
const {LANGUAGES} = await import("/page/language.js");
const {statusWord} = await import("/page/status.js");
const strings = LANGUAGES[document.documentElement.lang];
const c = new Conversation();
const $ = (selector) => document.querySelector(selector);
const got = (type, data) => c.received({type, data});
const begin = () => { c.connecting(); got("bot-ready"); };
let pushToTalk = false;
const show = (microphone = "open", retrying = false) => {
  view.showLogin(false, true);
  view.showMicrophone(microphone, pushToTalk);
  const word = statusWord(c.status, c.userSpeaking, microphone, retrying);
  view.showConversation(c, word, strings);
};
const levels = (user, bot) => view.showLevels({user, bot, underruns: 0}, strings);
const problem = (reason, retrySeconds = null, detail = "", forgets = false) => {
  view.showProblem({reason, retrySeconds, detail}, strings, forgets);
  if (retrySeconds) view.showCountdown(retrySeconds, strings);
};
const turn = (number, user_text, reply_text, response_seconds) => got("server-message",
  {kind: "turn", turn: number, outcome: "answered", user_text, reply_text, response_seconds});
const turns = () => {
  turn(1, "What is the capital of France?", "The capital of France is Paris.", 0.89);
  turn(2, "What is a famous museum there?", "The Louvre is a famous museum in Paris.", 0.83);
};
const holdButton = (pressed) => {
  pushToTalk = true;
  $("#hold").setAttribute("aria-pressed", pressed);
};
"""

STATES = {
    "idle": "show();",
    "login": "view.showLogin(true, true);",
    "wrong-token": "view.showLogin(true, true); problem('wrong_token', null, 'The access token is "
    "missing or wrong.');",
    "connecting": "c.connecting(); show();",
    "listening": "begin(); levels(-45, -90); show();",
    "hearing": "begin(); turns(); got('user-started-speaking'); levels(-16, -90); show();",
    "thinking": "begin(); turns(); got('user-stopped-speaking'); levels(-50, -90); show();",
    "speaking": """begin(); turns();
        got("user-input", {text: "Which river flows through that city?"});
        got("bot-output", {spoken_status: "new", text: "The Seine flows through Paris."});
        c.playing(true); levels(-48, -14); show();""",
    "long": """begin(); for (let i = 0; i < 5; i++) turns();
        turn(9, "Tell me more.", "It has many rooms. ".repeat(30), 1.2);
        got("user-input", {text: "Stop."}); show(); $("#captions").scrollTop = 1e6;""",
    "muted": "begin(); turns(); levels(-90, -90); $('#mute').setAttribute('aria-pressed', 'true');"
    "show('muted');",
    "push-to-talk": "begin(); turns(); holdButton(false); show('released');",
    "push-to-talk-held": "begin(); turns(); holdButton(true); got('user-started-speaking');"
    "levels(-20, -90); show();",
    "blocked": "begin(); show('missing'); problem('microphone_blocked', null, 'NotAllowedError');",
    "no-microphone": "begin(); show('missing'); problem('no_microphone', null, 'NotFoundError');",
    "full": """problem("full", 5, "All 4 sessions are taken. Try again when a session has ended, "
        + "or raise VOICE_GATEWAY_MAX_SESSIONS."); show("open", true);
        $(".support").open = true;""",
    "draining": "problem('draining', 10, 'The appliance is draining: it accepts no new sessions.');"
    "show('open', true);",
    "starting": "problem('not_ready', 3, 'The appliance is not ready: it waits for llm.');"
    "show('open', true);",
    "restarting": "begin(); turns(); c.ended(); problem('shutdown', 2, 'The appliance is "
    "restarting.', true); show('open', true);",
    "reconnecting": "begin(); turns(); c.ended(); problem('lost', 1, '', true);"
    "view.showCountdown(0, strings); c.connecting(); show('open', true);",
    "unreachable": "problem('unreachable', 2); show('open', true);",
    "longest-words": """begin(); turns(); c.ended();
        const length = (words) => words.join(" ").length;
        const [reason] = Object.entries(strings.problems)
          .filter(([each]) => each !== "insecure").sort(([, a], [, b]) => length(b) - length(a))[0];
        problem(reason, null, "", true); show();""",
    "no-secure-context": "view.showLogin(false, false); problem('insecure');",
    "settings": """show(); $("#settings").open = true;
        const [microphone, loudspeaker] = ["#microphone", "#loudspeaker"].map($);
        const names = ["Jabra Speak 510 Mono (0b0e:0412)", "Built-in Audio Analogue Stereo"];
        for (const select of [microphone, loudspeaker]) view.setOptions(select,
          [{id: "", name: strings.device}, ...names.map((name) => ({id: name, name}))], names[0]);
        view.showLevels({user: -90, bot: -90, underruns: 2}, strings);
        $("#settings").scrollIntoView({block: "end"});""",
}


async def show(tab: Tab, state: str) -> None:
    """Put the freshly opened page into one of `STATES`."""
    await tab.evaluate(f"(async () => {{ {_BEFORE} {STATES[state]} }})()")
