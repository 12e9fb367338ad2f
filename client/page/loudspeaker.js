/** The loudspeaker: an audio context of 24 kHz, the worklet "playback", a volume. */

import { SPEAKER_HZ, toFloats } from "./pcm.js";

const DRAIN_SECONDS = 5; // far more than the buffer holds when a call ends: the device stands still

/**
 * @typedef {{level: number, buffered: number, underruns: number, playing: boolean}} PlaybackReport
 *   level in dBFS, buffered in seconds
 */

export class Loudspeaker {
  /**
   * Open the loudspeaker. Browsers require a gesture of the user, such as a click, before.
   *
   * @param {{report: (report: PlaybackReport) => void, started: () => void}} on
   */
  static async open(on) {
    const context = new AudioContext({ sampleRate: SPEAKER_HZ, latencyHint: "interactive" });
    await context.audioWorklet.addModule("/page/playback.worklet.js");
    const node = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [2] });
    const gain = context.createGain();
    node.connect(gain).connect(context.destination);
    const loudspeaker = new Loudspeaker(context, node, gain);
    node.port.onmessage = ({ data }) => {
      if (data.started) on.started();
      else if (data.drained) loudspeaker._drained();
      else on.report(data);
    };
    // Not awaited: Firefox resumes it only when there is a loudspeaker, and the answers can be read.
    context.resume().catch(() => {});
    return loudspeaker;
  }

  /**
   * @param {AudioContext} context
   * @param {AudioWorkletNode} node
   * @param {GainNode} gain
   */
  constructor(context, node, gain) {
    this._context = context;
    this._node = node;
    this._gain = gain;
    this._drained = () => {};
  }

  /** @param {Uint8Array} pcm mono int16, 24 kHz */
  play(pcm) {
    const samples = toFloats(pcm);
    this._node.port.postMessage(samples, [samples.buffer]);
  }

  /** Drop what has not been played. */
  flush() {
    this._node.port.postMessage("flush");
  }

  /**
   * Wait until what has arrived was heard, for at most DRAIN_SECONDS.
   *
   * @returns {Promise<void>}
   */
  async drain() {
    if (this._context.state !== "running") return; // Firefox without a loudspeaker
    await new Promise((resolve) => {
      this._drained = () => resolve(undefined);
      this._node.port.postMessage("drain");
      setTimeout(resolve, 1000 * DRAIN_SECONDS);
    });
    // What was played is still on its way to the device. Safari does not tell for how long.
    const seconds = Math.min(this._context.outputLatency || 0, DRAIN_SECONDS);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }

  /** The next audio belongs to a new reply. */
  ended() {
    this._node.port.postMessage("ended");
  }

  /** @param {number} volume from 0 to 1 */
  setVolume(volume) {
    // Squared: hearing is closer to logarithmic than to linear.
    this._gain.gain.setTargetAtTime(volume ** 2, this._context.currentTime, 0.01);
  }

  /** @param {string} deviceId "" for the system's default */
  async setDevice(deviceId) {
    // Not in TypeScript's library yet: https://webaudio.github.io/web-audio-api/#dom-audiocontext-setsinkid
    const context = /** @type {AudioContext & {setSinkId?: (id: string) => Promise<void>}} */ (this._context);
    await context.setSinkId?.(deviceId);
  }

  async close() {
    await this._context.close();
  }
}
