/** The one word that says what happens now, of the call and of the microphone. No I/O. */

/**
 * @typedef {"open" | "muted" | "released" | "missing"} MicrophoneState
 *   released  push-to-talk, and the button is not held
 *   missing   there is none, or the browser does not give it to the page
 * @typedef {import("./conversation.js").Status | "waiting" | "hearing" | "muted" | "released" | "missing"} StatusWord
 *   waiting   no call, or connecting, and the page tries again by itself
 *   hearing   the user speaks
 */

/**
 * @param {import("./conversation.js").Status} status of the conversation
 * @param {boolean} userSpeaking
 * @param {MicrophoneState} microphone
 * @param {boolean} retrying whether the page tries again by itself until it is connected
 * @returns {StatusWord}
 */
export function statusWord(status, userSpeaking, microphone, retrying) {
  if (retrying && (status === "idle" || status === "connecting")) return "waiting";
  if (status === "idle" || status === "connecting") return status;
  if (userSpeaking) return "hearing";
  // "Listening" would be wrong of a microphone that is not heard.
  return status === "listening" && microphone !== "open" ? microphone : status;
}
