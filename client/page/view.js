/** The page's elements: what is shown. It decides nothing, and knows no network and no audio. */

import { format } from "./language.js";

/**
 * The big button by status word: its name, and the part of it that is seen.
 *
 * @type {Record<string, ["start" | "stop" | "cancel", "startShort" | "stopShort" | "cancel"]>}
 */
const LABELS = { idle: ["start", "startShort"], waiting: ["cancel", "cancel"], connecting: ["cancel", "cancel"] };

/** A level of -60 dBFS is an empty meter, 0 a full one. */
const METER_FLOOR_DBFS = -60;
const NOT_RETRIED = new Set(["insecure", "outdated", "wrong_token", "expired_token"]);

/**
 * @template {HTMLElement} T
 * @param {string} selector
 * @param {new () => T} type
 * @param {ParentNode} within
 * @returns {T}
 */
export function element(selector, type, within = document) {
  const found = within.querySelector(selector);
  if (!(found instanceof type)) throw new TypeError(`no ${selector}`);
  return found;
}

/** Put the words of a language into the page. @param {import("./language.js").Strings} strings @param {string} tag */
export function setLanguage(strings, tag) {
  document.documentElement.lang = tag;
  document.title = strings.title;
  const words = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (strings));
  for (const each of document.querySelectorAll("[data-text]")) {
    each.textContent = String(words[each.getAttribute("data-text") ?? ""]);
  }
  for (const [data, attribute] of [["data-label", "aria-label"], ["data-placeholder", "placeholder"]]) {
    for (const each of document.querySelectorAll(`[${data}]`)) {
      each.setAttribute(attribute, String(words[each.getAttribute(data) ?? ""]));
    }
  }
}

/**
 * @param {import("./conversation.js").Conversation} conversation
 * @param {import("./status.js").StatusWord} word
 * @param {import("./language.js").Strings} strings
 */
export function showConversation(conversation, word, strings) {
  keepLastCaption(() => showState(conversation, word, strings));
}

/**
 * Which controls the microphone has: none if it is missing.
 *
 * @param {import("./status.js").MicrophoneState} microphone
 * @param {boolean} pushToTalk
 */
export function showMicrophone(microphone, pushToTalk) {
  const controls = element(".controls", HTMLElement);
  const isMissing = microphone === "missing";
  if (isMissing && controls.contains(document.activeElement)) element("#talk", HTMLElement).focus();
  controls.hidden = isMissing;
  element("#mute", HTMLElement).hidden = pushToTalk;
  element("#hold", HTMLElement).hidden = !pushToTalk;
  element("#hold-hint", HTMLElement).hidden = !pushToTalk;
}

/**
 * @param {import("./conversation.js").Conversation} conversation
 * @param {import("./status.js").StatusWord} word
 * @param {import("./language.js").Strings} strings
 */
function showState(conversation, word, strings) {
  const { status, userSpeaking } = conversation;
  document.body.dataset.status = status;
  document.body.dataset.word = word;
  setText("#status", strings.status[word]);
  const [label, short] = LABELS[word] ?? ["stop", "stopShort"];
  setText("#talk-label", strings[label]);
  setText("#talk-short", strings[short]);
  setText("#note", note(word, conversation, strings));
  element("#user-meter", HTMLElement).classList.toggle("active", userSpeaking);
  element("#bot-meter", HTMLElement).classList.toggle("active", status === "speaking");
  showCaptions(conversation, strings);
}

/**
 * @param {import("./status.js").StatusWord} word
 * @param {import("./conversation.js").Conversation} conversation
 * @param {import("./language.js").Strings} strings
 */
function note(word, { turns }, strings) {
  if (word === "idle") return strings.hint;
  if (word === "waiting" || word === "connecting" || word === "missing") return "";
  const times = turns.flatMap(({ seconds }) => (seconds === null ? [] : [seconds])).sort((a, b) => a - b);
  if (!times.length) return strings.interruptHint;
  return format(strings.typical, { seconds: decimal(times[Math.floor(times.length / 2)]) });
}

/** Two decimals, as the page's language writes them. @param {number} value */
function decimal(value) {
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return value.toLocaleString(document.documentElement.lang, digits);
}

/** Keep the last caption in view when the list changes its size, as when a phone is turned. */
export function keepLastCaptionOnResize() {
  const list = element("#captions", HTMLOListElement);
  let atEnd = true;
  list.addEventListener("scroll", () => {
    atEnd = isAtEnd(list);
  });
  new ResizeObserver(() => {
    if (atEnd) list.scrollTop = list.scrollHeight;
  }).observe(list);
}

/** Whether the last caption is in view. @param {HTMLElement} list */
function isAtEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < 40;
}

/** Change the page. The last caption stays in view if it was. @param {() => void} change */
function keepLastCaption(change) {
  const list = element("#captions", HTMLOListElement);
  const atEnd = isAtEnd(list);
  change();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/**
 * Update the captions in place: a screen reader reads what is new, and nothing twice.
 *
 * @param {import("./conversation.js").Conversation} conversation
 * @param {import("./language.js").Strings} strings
 */
function showCaptions({ captions, turns }, strings) {
  const list = element("#captions", HTMLOListElement);
  captions.forEach((caption, i) => {
    const item = list.children[i] ?? list.appendChild(captionElement());
    item.className = caption.speaker;
    const seconds = turns.find(({ number }) => number === caption.turn)?.seconds ?? null;
    const isAnswered = caption.speaker === "bot" && caption.final && seconds !== null;
    setText(".speaker", strings[caption.speaker === "user" ? "you" : "bot"], item);
    setText(".words", caption.text, item);
    setText(".latency", isAnswered ? format(strings.latency, { seconds: decimal(seconds) }) : "", item);
  });
  while (list.children.length > captions.length) list.lastElementChild?.remove();
  element("#empty", HTMLElement).hidden = captions.length > 0;
}

function captionElement() {
  const item = document.createElement("li");
  for (const name of ["speaker", "words", "latency"]) {
    const part = document.createElement("span");
    part.className = name;
    item.append(part, " ");
  }
  return item;
}

/** @param {{user: number, bot: number, underruns: number}} levels @param {import("./language.js").Strings} strings */
export function showLevels(levels, strings) {
  for (const [name, level] of [["--user-level", levels.user], ["--bot-level", levels.bot]]) {
    const share = Math.max(0, Math.min(1, 1 - Number(level) / METER_FLOOR_DBFS));
    element("#call", HTMLElement).style.setProperty(String(name), share.toFixed(2));
  }
  setText("#underruns", levels.underruns ? format(strings.underruns, { count: levels.underruns }) : "");
}

/**
 * @param {import("./problems.js").Problem | null} problem
 * @param {import("./language.js").Strings} strings
 * @param {boolean} forgets whether a conversation was lost
 */
export function showProblem(problem, strings, forgets = false) {
  keepLastCaption(() => fillProblem(problem, strings, forgets));
}

/**
 * @param {import("./problems.js").Problem | null} problem
 * @param {import("./language.js").Strings} strings
 * @param {boolean} forgets
 */
function fillProblem(problem, strings, forgets) {
  const section = element("#problem", HTMLElement);
  if (!problem && section.contains(document.activeElement)) element("#talk", HTMLElement).focus();
  section.hidden = !problem;
  if (!problem) return;
  section.dataset.kind = problem.retrySeconds === null ? "error" : "wait";
  const [title, advice] = strings.problems[problem.reason] ?? strings.problems.refused;
  setText(".title", title, section);
  setText(".advice", advice, section);
  setText(".detail", [problem.reason, problem.detail].filter(Boolean).join(": "), section);
  if (problem.retrySeconds === null) setText(".countdown", "", section);
  element(".forgets", HTMLElement, section).hidden = !forgets;
  element("button", HTMLButtonElement, section).hidden = NOT_RETRIED.has(problem.reason);
  element(".support", HTMLElement, section).hidden = !problem.detail;
  const trust = element(".trust", HTMLElement, section);
  trust.hidden = problem.reason !== "insecure";
  if (trust.hidden) return; // a change within an alert would be announced again
  const systems = Object.values(strings.trust).map((text) => {
    const [system, ...steps] = text.split(":");
    const item = document.createElement("li");
    const name = item.appendChild(document.createElement("strong"));
    name.textContent = `${system}:`;
    item.append(steps.join(":"));
    return item;
  });
  element("ul", HTMLUListElement, trust).replaceChildren(...systems);
}

/** @param {number} seconds 0: the page tries now @param {import("./language.js").Strings} strings */
export function showCountdown(seconds, strings) {
  setText("#problem .countdown", seconds ? format(strings.retryIn, { seconds }) : strings.retrying);
}

/** Show the login, or the call. @param {boolean} needsLogin @param {boolean} canCall */
export function showLogin(needsLogin, canCall) {
  document.body.dataset.view = needsLogin ? "login" : canCall ? "call" : "refused";
  element("#login", HTMLFormElement).hidden = !needsLogin;
  for (const id of ["#call", "#said", "#settings"]) {
    element(id, HTMLElement).hidden = needsLogin || !canCall;
  }
  if (needsLogin) element("#token", HTMLInputElement).focus();
}

/**
 * @param {HTMLSelectElement} select
 * @param {{id: string, name: string}[]} options
 * @param {string} chosen
 */
export function setOptions(select, options, chosen) {
  const items = options.map(({ id, name }) => new Option(name, id, false, id === chosen));
  select.replaceChildren(...items);
}

/**
 * @param {string} selector
 * @param {string} text
 * @param {ParentNode} within
 */
function setText(selector, text, within = document) {
  const found = within.querySelector(selector);
  // An unchanged live region must not be announced again.
  if (found && found.textContent !== text) found.textContent = text;
}
