/** One call's WebSocket: frames out, frames in, and how it ended. */

import { hasRoom } from "./backlog.js";
import { decodeFrame, encodeAudio, encodeMessage } from "./frames.js";
import { Liveness, TICK_MILLISECONDS } from "./liveness.js";
import { MICROPHONE_HZ, toInt16 } from "./pcm.js";
import { closed } from "./problems.js";

const OPEN_MILLISECONDS = 8000;
const NORMAL = 1000;

export class Connection {
  /**
   * @param {string} url with a ticket
   * @param {{
   *   frame: (frame: import("./frames.js").Frame) => void,
   *   closed: (problem: import("./problems.js").Problem | null) => void,
   * }} on `closed` is called exactly once
   */
  constructor(url, on) {
    this._on = on;
    this._nextId = 1;
    /** @type {Liveness | null} */
    this._liveness = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this._ticking = undefined;
    this._socket = new WebSocket(url);
    this._socket.binaryType = "arraybuffer";
    this._socket.onopen = () => {
      clearTimeout(this._opening);
      this.send("client-ready", { version: "2.2.0", about: { library: "voice-appliance-page" } });
      this._liveness = new Liveness(performance.now() / 1000);
      this._ticking = setInterval(() => this._tick(), TICK_MILLISECONDS);
    };
    this._socket.onmessage = ({ data }) => this._received(data);
    this._socket.onclose = ({ code, reason }) => this._end(closed(code, reason));
    // A lost network gives no close event for minutes.
    this._opening = setTimeout(() => this._end(closed(1006, "")), OPEN_MILLISECONDS);
  }

  /** @param {Float32Array} samples of the microphone, 16 kHz */
  sendAudio(samples) {
    if (this._socket.readyState !== WebSocket.OPEN) return;
    const frame = encodeAudio(toInt16(samples), MICROPHONE_HZ);
    if (hasRoom(this._socket.bufferedAmount)) this._socket.send(frame);
  }

  /**
   * Send an RTVI message.
   *
   * @param {string} type
   * @param {Record<string, unknown>} data
   */
  send(type, data) {
    if (this._socket.readyState !== WebSocket.OPEN) return;
    this._socket.send(encodeMessage(type, data, `page-${this._nextId++}`));
  }

  /** Hang up. */
  close() {
    this.send("disconnect-bot", {});
    this._end(null);
  }

  /** The browser says that there is no network, or nothing arrives any more. */
  lost() {
    this._end(closed(1006, ""));
  }

  _tick() {
    switch (this._liveness?.tick(performance.now() / 1000)) {
      case "ping":
        return this.send("client-message", { t: "ping" });
      case "lost":
        return this.lost();
    }
  }

  /** @param {unknown} data */
  _received(data) {
    this._liveness?.heard();
    if (!(data instanceof ArrayBuffer)) return;
    try {
      const frame = decodeFrame(new Uint8Array(data));
      if (frame) this._on.frame(frame);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      console.warn("dropped a frame:", error.message);
    }
  }

  /** @param {import("./problems.js").Problem | null} problem */
  _end(problem) {
    clearTimeout(this._opening);
    clearInterval(this._ticking);
    const { _socket: socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(NORMAL);
    const { closed } = this._on;
    this._on = { frame: () => {}, closed: () => {} };
    closed(problem);
  }
}
