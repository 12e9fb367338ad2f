/**
 * Why a call did not begin, or has ended: a reason, and whether the page tries again. No I/O.
 *
 * The words are in `strings/`. Reasons of the gateway are those of its error catalogue; those of
 * the browser begin here.
 */

/**
 * @typedef {{reason: string, retrySeconds: number | null, detail: string}} Problem
 *   retrySeconds  when to try again by itself; null if only the user can
 *   detail        for the people who run the appliance: the words of the gateway's error catalogue, or
 *                 the browser's name of an error
 */

const RECONNECT_SECONDS = 2; // after a call was cut: long enough for a restarted engine's socket
const LOST_SECONDS = 1; // after a lost connection: it was noticed late already
const MAX_WAIT_SECONDS = 60; // nobody sits before a countdown for longer
const RETRIED_CLOSE_REASONS = new Set(["shutdown", "internal", "lost"]);
const QUIET_CLOSE_REASONS = new Set(["hung_up"]); // the bot said goodbye

/**
 * A refusal by HTTP.
 *
 * @param {number} status 0 if there was no answer
 * @param {Record<string, any>} body the refusal's JSON; {} if it was none
 * @param {string | null} retryAfter the header, in seconds
 * @returns {Problem}
 */
export function refusal(status, body, retryAfter) {
  if (!status) return unreachable();
  const reason = typeof body.reason === "string" ? body.reason : "refused";
  const seconds = Number.parseInt(retryAfter ?? "", 10);
  const retrySeconds = seconds > 0 && seconds <= MAX_WAIT_SECONDS ? seconds : null;
  const words = [body.message, body.advice].filter((each) => typeof each === "string").join(" ");
  return { reason, retrySeconds, detail: words || `HTTP ${status}` };
}

/** There was no answer. @returns {Problem} */
export function unreachable() {
  return { reason: "unreachable", retrySeconds: RECONNECT_SECONDS, detail: "" };
}

/**
 * The end of a WebSocket. Its text is `REASON: explanation`.
 *
 * @param {number} code
 * @param {string} text
 * @returns {Problem | null} null if the call ended as it should
 */
export function closed(code, text) {
  const [, reason, detail] = /^([a-z_]+): (.*)$/s.exec(text) ?? ["", "", text];
  if (!reason && code === 1000) return null;
  if (QUIET_CLOSE_REASONS.has(reason)) return null;
  const known = reason || "lost";
  const seconds = known === "lost" ? LOST_SECONDS : RECONNECT_SECONDS;
  return { reason: known, retrySeconds: RETRIED_CLOSE_REASONS.has(known) ? seconds : null, detail };
}

/**
 * An error of `getUserMedia`, see https://w3c.github.io/mediacapture-main/#methods-5
 *
 * @param {string} name of the DOMException
 * @returns {Problem}
 */
export function microphone(name) {
  const reasons = /** @type {Record<string, string>} */ ({
    NotAllowedError: "microphone_blocked",
    SecurityError: "microphone_blocked",
    NotFoundError: "no_microphone",
    OverconstrainedError: "no_microphone",
    NotReadableError: "microphone_in_use",
  });
  return { reason: reasons[name] ?? "microphone_failed", retrySeconds: null, detail: name };
}
