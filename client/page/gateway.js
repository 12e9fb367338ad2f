/**
 * The gateway's HTTP requests: log in, log out, start a call. A refusal is a Problem.
 *
 * The access token is sent once, to `/login`, and is kept nowhere in the page: the gateway answers
 * with a cookie that scripts cannot read. `/start` gives a ticket for one WebSocket.
 */

import { refusal } from "./problems.js";

const TIMEOUT_MILLISECONDS = 8000;

/**
 * @typedef {{answer: Record<string, any> | null, status: number, problem: import("./problems.js").Problem | null}} Answer
 */

/** @param {string} token */
export const login = (token) => post("/login", { token });
export const logout = () => post("/logout", {});
export const start = () => post("/start", {});

/**
 * @param {string} path
 * @param {Record<string, unknown>} body
 * @returns {Promise<Answer>}
 */
async function post(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return { answer, status: response.status, problem: null };
    const problem = refusal(response.status, answer, response.headers.get("Retry-After"));
    return { answer: null, status: response.status, problem };
  } catch {
    return { answer: null, status: 0, problem: refusal(0, {}, null) };
  }
}
