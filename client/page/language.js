/** The page's words: one file per language in `strings/`, chosen by the browser's languages. */

import { strings as de } from "./strings/de.js";
import { strings as en } from "./strings/en.js";

/**
 * @typedef {{
 *   language: string, chooseLanguage: string, title: string, promise: string,
 *   start: string, startShort: string, stop: string, stopShort: string, cancel: string,
 *   status: Record<import("./status.js").StatusWord, string>, hint: string, interruptHint: string,
 *   you: string, bot: string, captions: string, empty: string,
 *   microphone: string, loudspeaker: string,
 *   mute: string, pushToTalk: string, hold: string, holdHint: string, halfDuplex: string, headphones: string,
 *   volume: string, device: string, unnamedDevice: string, settings: string, type: string, send: string,
 *   latency: string, typical: string, underruns: string,
 *   login: string, loginHint: string, token: string, logout: string,
 *   again: string, retryIn: string, retrying: string, forgets: string, support: string, certificate: string,
 *   trust: Record<"windows" | "mac" | "linux" | "firefox" | "ios" | "android", string>,
 *   problems: Record<string, [title: string, advice: string]>,
 * }} Strings
 */

/** @type {Record<string, Strings>} */
export const LANGUAGES = { en, de };

/**
 * @param {readonly string[]} preferred language tags, such as "de-AT", best first
 * @returns {keyof typeof LANGUAGES} the first one that the page speaks, or English
 */
export function choose(preferred) {
  const known = preferred.map((tag) => tag.toLowerCase().split("-")[0]);
  return known.find((tag) => Object.hasOwn(LANGUAGES, tag)) ?? "en";
}

/**
 * Put values into a text with {names}.
 *
 * @param {string} text
 * @param {Record<string, string | number>} values
 */
export function format(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
