/** The page: connects elements, the call and the browser's events. */

import { Call } from "./call.js";
import * as gateway from "./gateway.js";
import { LANGUAGES, choose, format } from "./language.js";
import * as preferences from "./preferences.js";
import { element, setLanguage, setOptions, showConversation, showCountdown, showLevels, showLogin, showProblem } from "./view.js";

const chosen = preferences.load();
let tag = chosen.language in LANGUAGES ? chosen.language : choose(navigator.languages);
let strings = LANGUAGES[tag];
/** @type {ReturnType<typeof setTimeout> | undefined} */
let countdown;
/** @type {WakeLockSentinel | null} */
let wakeLock = null;
/** @type {{problem: import("./problems.js").Problem | null, forgets: boolean}} */
let told = { problem: null, forgets: false };

const call = new Call({
  changed: () => showConversation(call.conversation, strings),
  levels: (levels) => showLevels(levels, strings),
  microphone: (problem) => {
    tell(problem);
    listDevices();
  },
  ended: (problem, needsLogin) => {
    wakeLock?.release();
    if (needsLogin) {
      showLogin(true, true);
      // Who has not logged in yet has no wrong token.
      tell(problem?.reason === "wrong_token" ? null : problem);
      return;
    }
    tell(problem, call.conversation.captions.length > 0);
    if (problem?.retrySeconds) retryIn(problem.retrySeconds);
  },
});

/**
 * Show a problem, or remove the one that is shown.
 *
 * @param {import("./problems.js").Problem | null} problem
 * @param {boolean} forgets whether a conversation was lost
 */
function tell(problem, forgets = false) {
  told = { problem, forgets };
  showProblem(problem, strings, forgets);
}

async function begin() {
  clearTimeout(countdown);
  tell(null);
  if (call.running) return call.setMicrophone(chosen.microphone); // what failed in a running call
  keepAwake();
  await call.start(chosen);
}

/** @param {number} seconds */
function retryIn(seconds) {
  clearTimeout(countdown);
  if (seconds <= 0) return begin();
  showCountdown(seconds, strings);
  countdown = setTimeout(() => retryIn(seconds - 1), 1000);
}

async function keepAwake() {
  try {
    wakeLock = (await navigator.wakeLock?.request("screen")) ?? null;
  } catch {
    // The battery is low, or the page is hidden.
  }
}

async function listDevices() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  for (const [id, kind] of [["#microphone", "audioinput"], ["#loudspeaker", "audiooutput"]]) {
    const named = devices
      .filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default")
      .map(({ deviceId, label }, i) => ({
        id: deviceId,
        name: label || format(strings.unnamedDevice, { number: i + 1 }),
      }));
    const select = element(id, HTMLSelectElement);
    setOptions(select, [{ id: "", name: strings.device }, ...named], kind === "audioinput" ? chosen.microphone : chosen.loudspeaker);
    const label = select.closest("label");
    if (label) label.hidden = kind === "audiooutput" && !("setSinkId" in AudioContext.prototype);
  }
}

function applyPreferences() {
  preferences.save(chosen);
  call.gate.pushToTalk = chosen.pushToTalk;
  call.gate.halfDuplex = chosen.halfDuplex;
  call.setVolume(chosen.volume);
  element("#volume", HTMLInputElement).valueAsNumber = chosen.volume;
  element("#push-to-talk", HTMLInputElement).checked = chosen.pushToTalk;
  element("#half-duplex", HTMLInputElement).checked = chosen.halfDuplex;
  element("#hold", HTMLElement).hidden = !chosen.pushToTalk;
  element("#hold-hint", HTMLElement).hidden = !chosen.pushToTalk;
  element("#mute", HTMLElement).hidden = chosen.pushToTalk;
}

/** @param {boolean} pressed */
function press(pressed) {
  call.gate.pressed = pressed;
  element("#hold", HTMLElement).classList.toggle("pressed", pressed);
}

/** @param {boolean} muted */
function mute(muted) {
  call.gate.muted = muted;
  element("#mute", HTMLElement).setAttribute("aria-pressed", String(muted));
}

/** @param {EventTarget | null} target */
function takesKeys(target) {
  return target instanceof HTMLElement && target.matches("input, select, button, summary, textarea");
}

function listen() {
  element("#talk", HTMLElement).onclick = () => {
    clearTimeout(countdown);
    if (call.running) call.stop();
    else begin();
  };
  element("#problem button", HTMLElement).onclick = () => begin();
  element("#mute", HTMLElement).onclick = () => mute(!call.gate.muted);
  const hold = element("#hold", HTMLElement);
  hold.onpointerdown = (event) => {
    hold.setPointerCapture(event.pointerId);
    press(true);
  };
  hold.onpointerup = hold.onpointercancel = hold.onblur = () => press(false);
  document.addEventListener("keydown", (event) => {
    const onHold = event.target === hold;
    if (event.code !== "Space" || !chosen.pushToTalk || (takesKeys(event.target) && !onHold)) return;
    event.preventDefault();
    press(true);
  });
  document.addEventListener("keyup", (event) => {
    if (event.code === "Space" && call.gate.pressed) press(false);
  });
  window.addEventListener("blur", () => press(false)); // another window gets the release of the key
  element("#type", HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    const question = element("#question", HTMLInputElement);
    if (!question.value.trim()) return;
    if (!call.running) begin();
    call.type(question.value);
    question.value = "";
  };
  element("#login", HTMLFormElement).onsubmit = async (event) => {
    event.preventDefault();
    const token = element("#token", HTMLInputElement);
    const { problem } = await gateway.login(token.value.trim());
    tell(problem);
    if (problem) return;
    token.value = "";
    showLogin(false, true);
    element("#talk", HTMLElement).focus();
  };
  element("#logout", HTMLElement).onclick = async () => {
    if (call.running) call.stop();
    await gateway.logout();
    showLogin(true, true);
  };
  listenToSettings();
}

function listenToSettings() {
  element("#volume", HTMLInputElement).oninput = (event) => {
    chosen.volume = /** @type {HTMLInputElement} */ (event.target).valueAsNumber;
    applyPreferences();
  };
  element("#push-to-talk", HTMLInputElement).onchange = (event) => {
    chosen.pushToTalk = /** @type {HTMLInputElement} */ (event.target).checked;
    applyPreferences();
  };
  element("#half-duplex", HTMLInputElement).onchange = (event) => {
    chosen.halfDuplex = /** @type {HTMLInputElement} */ (event.target).checked;
    applyPreferences();
  };
  element("#microphone", HTMLSelectElement).onchange = (event) => {
    chosen.microphone = /** @type {HTMLSelectElement} */ (event.target).value;
    applyPreferences();
    if (call.running) call.setMicrophone(chosen.microphone);
  };
  element("#loudspeaker", HTMLSelectElement).onchange = (event) => {
    chosen.loudspeaker = /** @type {HTMLSelectElement} */ (event.target).value;
    applyPreferences();
    call.setLoudspeaker(chosen.loudspeaker);
  };
}

function show() {
  strings = LANGUAGES[tag];
  setLanguage(strings, tag);
  showConversation(call.conversation, strings);
  tell(told.problem, told.forgets);
}

/** @returns {string} why this browser cannot hold a call, or "" */
function obstacle() {
  if (!isSecureContext) return "insecure";
  const hasAll = navigator.mediaDevices && "AudioWorkletNode" in globalThis && "timeout" in AbortSignal;
  return hasAll ? "" : "outdated";
}

const languages = Object.entries(LANGUAGES).map(([id, { language }]) => ({ id, name: language }));
setOptions(element("#language", HTMLSelectElement), languages, tag);
show();
const reason = obstacle();
showLogin(false, !reason);
element("#language", HTMLSelectElement).onchange = (event) => {
  tag = chosen.language = /** @type {HTMLSelectElement} */ (event.target).value;
  preferences.save(chosen);
  show();
  if (!reason) listDevices();
};
if (reason) {
  tell({ reason, retrySeconds: null, detail: "" });
} else {
  listen();
  applyPreferences();
  listDevices();
  navigator.mediaDevices.addEventListener("devicechange", listDevices);
  window.addEventListener("offline", () => call.networkLost());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && call.running) keepAwake(); // a hidden page loses its lock
  });
}
