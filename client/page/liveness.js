/**
 * Whether the gateway is still there. No I/O, no clock.
 *
 * A host that vanishes closes no connection, and a browser cannot send a WebSocket ping. So the
 * page sends a `ping` message whenever nothing has arrived for a moment. A gateway that sends
 * nothing at all after it is lost. The same as `client/liveness.py`.
 */

const QUIET_SECONDS = 0.5;
const PATIENCE_SECONDS = 3.3; // a stall of the network of 3 s is survived
const MAX_TICK_SECONDS = 0.5; // more time between two ticks is a stall of this page

export const TICK_MILLISECONDS = 100;

export class Liveness {
  /** @param {number} now in seconds of any clock */
  constructor(now) {
    this._tickedAt = now;
    this._quiet = 0; // seconds
    /** @type {number | null} */
    this._unanswered = null; // seconds since a ping
  }

  /** Something has arrived. */
  heard() {
    this._quiet = 0;
    this._unanswered = null;
  }

  /**
   * @param {number} now
   * @returns {"wait" | "ping" | "lost"} what to do
   */
  tick(now) {
    const passed = Math.min(Math.max(0, now - this._tickedAt), MAX_TICK_SECONDS);
    this._tickedAt = now;
    this._quiet += passed;
    if (this._unanswered !== null) {
      this._unanswered += passed;
      return this._unanswered >= PATIENCE_SECONDS ? "lost" : "wait";
    }
    if (this._quiet < QUIET_SECONDS) return "wait";
    this._unanswered = 0;
    return "ping";
  }
}
