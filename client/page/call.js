/**
 * One call: microphone, loudspeaker and connection, and the state of the conversation.
 *
 * A call without a microphone is possible: the user types.
 */

import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import * as gateway from "./gateway.js";
import { Loudspeaker } from "./loudspeaker.js";
import { MicrophoneGate } from "./microphone_gate.js";
import { Microphone, MicrophoneError } from "./microphone.js";
import { SILENCE_DBFS, SPEAKER_HZ, dbfs } from "./pcm.js";
import { microphone as microphoneProblem, unreachable } from "./problems.js";

/**
 * @typedef {import("./problems.js").Problem} Problem
 * @typedef {{user: number, bot: number, underruns: number}} Levels in dBFS
 * @typedef {{
 *   changed: () => void,
 *   levels: (levels: Levels) => void,
 *   ended: (problem: Problem | null, needsLogin: boolean) => void,
 *   microphone: (problem: Problem | null) => void,
 * }} CallEvents
 */

const SILENCE = new Float32Array(640); // 40 ms at 16 kHz
const FRESH_TICKET_SECONDS = 20; // the gateway takes a ticket for 30 s

export class Call {
  /** @param {CallEvents} on */
  constructor(on) {
    this._on = on;
    this.conversation = new Conversation();
    this.gate = new MicrophoneGate();
    /** @type {Microphone | null} */
    this._microphone = null;
    /** @type {Loudspeaker | null} */
    this._loudspeaker = null;
    /** @type {Connection | null} */
    this._connection = null;
    /** @type {string[]} */
    this._typed = []; // before the gateway was ready
    this._asked = ""; // the typed question that is not answered yet
    this._attempt = 0; // to notice that the user has hung up meanwhile
    this._opened = 0; // microphones that were asked for: to notice that another one was meanwhile
    this._lacksMicrophone = false;
    this._levels = { user: SILENCE_DBFS, bot: SILENCE_DBFS, underruns: 0 };
  }

  get running() {
    return this.conversation.status !== "idle";
  }

  /** @returns {import("./status.js").MicrophoneState} */
  get microphone() {
    return this._lacksMicrophone ? "missing" : this.gate.state;
  }

  /** Forget what was said. No call may be running. */
  forget() {
    this.conversation = new Conversation();
    this._on.changed();
  }

  /**
   * Begin a call. Resolves when it has begun, or when it was refused.
   *
   * @param {import("./preferences.js").Preferences} preferences
   */
  async start(preferences) {
    const attempt = ++this._attempt;
    this.conversation.connecting();
    this._on.changed();
    const url = await this._ticket(attempt);
    if (!url) return;
    const asked = seconds();
    try {
      await this._openDevices(attempt, preferences);
    } catch {
      // The worklets cannot be fetched: the gateway has gone.
      if (attempt === this._attempt) this._end(unreachable(), false);
      return;
    }
    const isOld = seconds() - asked > FRESH_TICKET_SECONDS; // the user was asked for the microphone
    const fresh = isOld ? await this._ticket(attempt) : url;
    if (!fresh || attempt !== this._attempt) return;
    this._connection = new Connection(fresh, {
      frame: (frame) => this._received(frame),
      closed: (ended) => this._closed(attempt, ended),
    });
  }

  /**
   * @param {number} attempt
   * @returns {Promise<string>} the URL to connect to; "" if the call has ended instead
   */
  async _ticket(attempt) {
    const { answer, status, problem } = await gateway.start();
    if (attempt !== this._attempt) return "";
    if (!answer) {
      this._end(problem, status === 401);
      return "";
    }
    const url = new URL(answer.wsUrl);
    url.searchParams.set("token", answer.token);
    return url.href;
  }

  /** End the call. */
  stop() {
    this._attempt++;
    if (this._connection) this._connection.close();
    else this._end(null, false);
  }

  /** The browser says that there is no network any more. */
  networkLost() {
    this._connection?.lost();
  }

  /** Ask a typed question, as soon as the call has begun. @param {string} content */
  type(content) {
    this._typed.push(content);
    this._sendTyped();
  }

  _sendTyped() {
    if (this.conversation.status === "connecting") return;
    for (const content of this._typed.splice(0)) {
      this._connection?.send("send-text", { content });
      this._asked = content;
    }
  }

  /** @param {number} volume from 0 to 1 */
  setVolume(volume) {
    this._loudspeaker?.setVolume(volume);
  }

  /** @param {string} deviceId */
  async setLoudspeaker(deviceId) {
    try {
      await this._loudspeaker?.setDevice(deviceId);
    } catch {
      // The device is gone; the sound stays where it is.
    }
  }

  /**
   * @param {string} deviceId
   * @param {boolean} echoCancellation whether the browser removes the bot's voice
   */
  async setMicrophone(deviceId, echoCancellation) {
    const opened = ++this._opened;
    const old = this._microphone;
    this._microphone = null;
    await old?.close();
    try {
      const microphone = await Microphone.open(deviceId, echoCancellation, (samples) =>
        this._captured(samples),
      );
      // Hung up meanwhile, or another one was chosen: this one must not stay open.
      if (opened !== this._opened) return microphone.close();
      microphone.onEnded(() => this._microphoneGone());
      microphone.onRunning(() => this._microphoneRuns(true));
      this._microphone = microphone;
      this._microphoneRuns(microphone.isRunning);
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      if (opened !== this._opened) return;
      this._lacksMicrophone = true;
      this._on.microphone(error.problem);
    }
  }

  /**
   * @param {number} attempt
   * @param {import("./preferences.js").Preferences} preferences
   */
  async _openDevices(attempt, preferences) {
    const loudspeaker = await Loudspeaker.open({
      report: (report) => this._played(report),
      started: () => this._playbackStarted(),
    });
    if (attempt !== this._attempt) return loudspeaker.close();
    this._loudspeaker = loudspeaker;
    this.setVolume(preferences.volume);
    await this.setLoudspeaker(preferences.loudspeaker);
    if (attempt !== this._attempt) return;
    await this.setMicrophone(preferences.microphone, !preferences.headphones);
  }

  _closeDevices() {
    this._opened++;
    this._lacksMicrophone = false;
    this._microphone?.close();
    this._loudspeaker?.close();
    this._microphone = this._loudspeaker = null;
  }

  /** @param {boolean} runs */
  _microphoneRuns(runs) {
    this._lacksMicrophone = !runs;
    this._on.microphone(runs ? null : microphoneProblem(""));
  }

  _microphoneGone() {
    this._microphone = null;
    this._lacksMicrophone = true;
    this._on.microphone({ reason: "no_microphone", retrySeconds: null, detail: "" });
  }

  /** @param {Float32Array} samples */
  _captured(samples) {
    const sent = this.gate.isOpen(seconds()) ? samples : SILENCE;
    this._connection?.sendAudio(sent);
    this._levels.user = dbfs(sent);
  }

  /** @param {import("./frames.js").Frame} frame */
  _received(frame) {
    if (frame.kind === "audio") {
      if (frame.sampleRate === SPEAKER_HZ) this._loudspeaker?.play(frame.pcm);
      return;
    }
    if (frame.kind === "interruption") {
      this._loudspeaker?.flush();
      this.conversation.interrupted();
    } else {
      this.conversation.received(frame.message);
      const { type, data } = frame.message;
      if (type === "bot-ready") this._sendTyped();
      if (data?.kind === "turn") this._asked = "";
      if (type === "bot-llm-started" || data?.kind === "turn") this._loudspeaker?.ended();
    }
    this._on.changed();
  }

  /** @param {import("./loudspeaker.js").PlaybackReport} report */
  _played(report) {
    if (!this._loudspeaker) return; // the call has ended since
    this._levels.bot = report.level;
    this._levels.underruns = report.underruns;
    this.gate.playback(report.playing, seconds());
    this._on.levels({ ...this._levels });
    const before = this.conversation.status;
    this.conversation.playing(report.playing);
    if (before !== this.conversation.status) this._on.changed();
  }

  _playbackStarted() {
    this._connection?.send("client-message", { t: "playback-started" });
    this.gate.playback(true, seconds()); // the next report may be 80 ms away
    this.conversation.playing(true);
    this._on.changed();
  }

  /**
   * The connection has ended. If the bot has hung up, its goodbye is played to the end.
   *
   * @param {number} attempt
   * @param {Problem | null} problem
   */
  async _closed(attempt, problem) {
    const byUser = attempt !== this._attempt;
    this._connection = null;
    if (!problem && !byUser) {
      await this._loudspeaker?.drain();
      if (attempt !== this._attempt) return; // the user has hung up, too
    }
    this._end(problem, false);
  }

  /**
   * @param {Problem | null} problem
   * @param {boolean} needsLogin
   */
  _end(problem, needsLogin) {
    this._connection = null;
    const unanswered = this._asked ? [this._asked, ...this._typed] : this._typed;
    this._typed = problem?.retrySeconds ? unanswered : []; // asked in the next call
    this._asked = "";
    this._closeDevices();
    this.conversation.ended();
    this._levels = { user: SILENCE_DBFS, bot: SILENCE_DBFS, underruns: this._levels.underruns };
    this._on.levels({ ...this._levels });
    this._on.changed();
    this._on.ended(problem, needsLogin);
  }
}

function seconds() {
  return performance.now() / 1000;
}
