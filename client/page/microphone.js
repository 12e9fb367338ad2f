/** The microphone: a device, and what it hears. */

import { capture } from "./capture.js";
import { microphone as problemOf } from "./problems.js";

const BEGIN_MILLISECONDS = 3000;

export class Microphone {
  /**
   * Open a microphone.
   *
   * @param {string} deviceId "" for the system's default, which is also used if this one is gone
   * @param {boolean} echoCancellation false for headphones: where no echo is heard, Chromium's
   *   canceller also removes most of a user who speaks at the same time as the bot
   * @param {import("./capture.js").OnFrame} onFrame
   * @returns {Promise<Microphone>} after 3 s also one that does not run yet: see `onRunning`
   * @throws {MicrophoneError}
   */
  static async open(deviceId, echoCancellation, onFrame) {
    const microphone = new Microphone(await streamOf(deviceId, echoCancellation), onFrame);
    await microphone._begin();
    return microphone;
  }

  /**
   * @param {MediaStream} stream
   * @param {import("./capture.js").OnFrame} onFrame
   */
  constructor(stream, onFrame) {
    this._stream = stream;
    this._onFrame = onFrame;
    this._onRunning = () => {};
    /** @type {import("./capture.js").Stop} */
    this._stop = async () => {};
    this.isRunning = false; // whether it has heard anything, be it silence
  }

  /** Capture, and wait for the first frame. In Firefox none comes while the system has no loudspeaker. */
  async _begin() {
    /** @type {Promise<void>} */
    const running = new Promise((resolve) => (this._onRunning = resolve));
    this._stop = await capture(this._stream, (samples) => this._captured(samples));
    await Promise.race([running, new Promise((resolve) => setTimeout(resolve, BEGIN_MILLISECONDS))]);
  }

  /** @param {Float32Array} samples */
  _captured(samples) {
    if (!this.isRunning) {
      this.isRunning = true;
      this._onRunning();
    }
    this._onFrame(samples);
  }

  /** Call `callback` when sound arrives after all. @param {() => void} callback */
  onRunning(callback) {
    this._onRunning = callback;
  }

  /** Call `callback` when the device is unplugged. @param {() => void} callback */
  onEnded(callback) {
    for (const track of this._stream.getTracks()) track.onended = callback;
  }

  async close() {
    for (const track of this._stream.getTracks()) track.stop();
    await this._stop();
  }
}

/**
 * @param {string} deviceId
 * @param {boolean} echoCancellation
 * @returns {Promise<MediaStream>}
 * @throws {MicrophoneError}
 */
async function streamOf(deviceId, echoCancellation) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        echoCancellation,
        noiseSuppression: true,
        autoGainControl: true,
        channelCount: { ideal: 1 },
        ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
      },
    });
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    if (deviceId && name === "OverconstrainedError") return streamOf("", echoCancellation);
    throw new MicrophoneError(name);
  }
}

export class MicrophoneError extends Error {
  /** @param {string} name of the DOMException */
  constructor(name) {
    super(name);
    this.problem = problemOf(name);
  }
}
