/** What the page remembers in this browser: devices and switches. No words, no token. */

const KEY = "voice-appliance";

/**
 * @typedef {{
 *   microphone: string, loudspeaker: string, volume: number,
 *   pushToTalk: boolean, halfDuplex: boolean, headphones: boolean, language: string,
 * }} Preferences
 */

/** @type {Readonly<Preferences>} */
const DEFAULTS = {
  microphone: "",
  loudspeaker: "",
  volume: 1,
  pushToTalk: false,
  halfDuplex: false,
  headphones: false,
  language: "",
};

/**
 * Return the stored preferences. What is missing or of another type has its default.
 *
 * @param {string | null} stored JSON
 * @returns {Preferences}
 */
export function parse(stored) {
  /** @type {Record<string, unknown>} */
  let values = {};
  try {
    const parsed = JSON.parse(stored ?? "{}");
    if (parsed && typeof parsed === "object") values = parsed;
  } catch {
    // Another program's or a damaged value: start afresh.
  }
  const known = Object.entries(DEFAULTS).map(([name, preset]) => {
    const value = values[name];
    return [name, typeof value === typeof preset ? value : preset];
  });
  const preferences = /** @type {Preferences} */ (Object.fromEntries(known));
  preferences.volume = Math.min(1, Math.max(0, preferences.volume));
  return preferences;
}

/** @returns {Preferences} */
export function load() {
  try {
    return parse(localStorage.getItem(KEY));
  } catch {
    return parse(null); // storage is switched off
  }
}

/** @param {Preferences} preferences */
export function save(preferences) {
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Storage is switched off or full: the page works without it.
  }
}
