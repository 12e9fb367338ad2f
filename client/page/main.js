/** The page: connects elements, the call and the browser's events. */

import { Call } from "./call.js";
import * as gateway from "./gateway.js";
import { listenToHolding } from "./hold_button.js";
import { LANGUAGES, choose, format } from "./language.js";
import * as preferences from "./preferences.js";
import { statusWord } from "./status.js";
import { element, keepLastCaptionOnResize, setLanguage, setOptions, showConversation, showCountdown, showLevels, showLogin, showMicrophone, showProblem } from "./view.js";
import { WakeLock } from "./wake_lock.js";

/** @typedef {import("./problems.js").Problem} Problem */

const chosen = preferences.load();
let tag = chosen.language in LANGUAGES ? chosen.language : choose(navigator.languages);
let strings = LANGUAGES[tag];
/** @type {ReturnType<typeof setTimeout> | undefined} */
let countdown;
let retrying = false; // until connected, the page tries again by itself
const wakeLock = new WakeLock();
/** @type {{problem: Problem | null, forgets: boolean}} */
let told = { problem: null, forgets: false };

const call = new Call({
  changed: showCall,
  levels: (levels) => showLevels(levels, strings),
  microphone: (problem) => {
    tell(problem);
    showCall();
    listDevices();
  },
  ended: (problem, needsLogin) => {
    wakeLock.release();
    retrying = false;
    if (needsLogin) {
      showLogin(true, true);
      call.forget(); // somebody else may log in
      // Who has not logged in yet has no wrong token.
      tell(problem?.reason === "wrong_token" ? null : problem);
    } else {
      tell(problem, call.conversation.captions.length > 0);
      if (problem?.retrySeconds) return retryIn(problem.retrySeconds);
    }
    showCall();
  },
});

function showCall() {
  const { status, userSpeaking } = call.conversation;
  if (status !== "idle" && status !== "connecting") retrying = false;
  showMicrophone(call.microphone, chosen.pushToTalk);
  showConversation(call.conversation, statusWord(status, userSpeaking, call.microphone, retrying), strings);
}

/**
 * Show a problem, or remove the one that is shown.
 *
 * @param {Problem | null} problem
 * @param {boolean} forgets whether a conversation was lost
 */
function tell(problem, forgets = false) {
  told = { problem, forgets };
  showProblem(problem, strings, forgets);
}

/** Begin a call. A problem that is shown stays until the gateway has let the page in. */
async function begin() {
  clearTimeout(countdown);
  wakeLock.hold();
  await call.start(chosen);
}

/** The user wants a call, or a call with a microphone. */
function tryAgain() {
  if (call.running) return useMicrophone(); // what failed in a running call
  stopRetrying();
  begin();
}

/** @param {number} seconds */
function retryIn(seconds) {
  retrying = true;
  showCall();
  showCountdown(seconds, strings);
  countdown = setTimeout(() => (seconds > 1 ? retryIn(seconds - 1) : retryNow()), 1000);
}

function retryNow() {
  showCountdown(0, strings);
  begin();
}

function stopRetrying() {
  clearTimeout(countdown);
  retrying = false;
  tell(null);
  showCall();
}

/** The microphone may work now. @param {string} reason why it did not */
function retryMicrophone(reason) {
  if (call.running && told.problem?.reason === reason) useMicrophone();
}

async function watchPermission() {
  try {
    // TypeScript's library does not know the name.
    const name = /** @type {PermissionName} */ (/** @type {unknown} */ ("microphone"));
    const permission = await navigator.permissions.query({ name });
    permission.onchange = () => {
      if (permission.state === "granted") retryMicrophone("microphone_blocked");
    };
  } catch {
    // This browser does not tell. The user presses the button.
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
  element("#headphones", HTMLInputElement).checked = chosen.headphones;
  showMicrophone(call.microphone, chosen.pushToTalk);
}

/** Use the chosen microphone in the running call. */
function useMicrophone() {
  return call.setMicrophone(chosen.microphone, !chosen.headphones);
}

function changeMicrophone() {
  applyPreferences();
  if (call.running) useMicrophone();
}

/** @param {boolean} pressed */
function press(pressed) {
  call.gate.pressed = pressed;
  element("#hold", HTMLElement).setAttribute("aria-pressed", String(pressed));
  showCall();
}

/** @param {boolean} muted */
function mute(muted) {
  call.gate.muted = muted;
  element("#mute", HTMLElement).setAttribute("aria-pressed", String(muted));
  showCall();
}

function listen() {
  element("#talk", HTMLElement).onclick = () => {
    const wanted = !call.running && !retrying;
    stopRetrying();
    if (wanted) begin();
    else if (call.running) call.stop();
  };
  element("#problem button", HTMLElement).onclick = tryAgain;
  element("#mute", HTMLElement).onclick = () => mute(!call.gate.muted);
  listenToHolding(element("#hold", HTMLElement), () => chosen.pushToTalk, press);
  element("#type", HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    const question = element("#question", HTMLInputElement);
    if (!question.value.trim()) return;
    if (!call.running) tryAgain();
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
    stopRetrying();
    if (call.running) call.stop();
    call.forget(); // the next user must not read it
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
  element("#headphones", HTMLInputElement).onchange = (event) => {
    chosen.headphones = /** @type {HTMLInputElement} */ (event.target).checked;
    changeMicrophone();
  };
  element("#microphone", HTMLSelectElement).onchange = (event) => {
    chosen.microphone = /** @type {HTMLSelectElement} */ (event.target).value;
    changeMicrophone();
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
  showCall();
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
keepLastCaptionOnResize();
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
  watchPermission();
  navigator.mediaDevices.addEventListener("devicechange", () => {
    listDevices();
    retryMicrophone("no_microphone");
  });
  window.addEventListener("offline", () => call.networkLost());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) wakeLock.shown();
  });
}
