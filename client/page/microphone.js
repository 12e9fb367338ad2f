/** The microphone: a device, an audio context, the worklet "capture". */

import { microphone as problemOf } from "./problems.js";

const BEGIN_MILLISECONDS = 3000;

export class Microphone {
  /**
   * Open a microphone.
   *
   * @param {string} deviceId "" for the system's default, which is also used if this one is gone
   * @param {boolean} echoCancellation false for headphones: where no echo is heard, Chromium's
   *   canceller also removes most of a user who speaks at the same time as the bot
   * @param {(samples: Float32Array) => void} onFrame gets 40 ms at 16 kHz
   * @returns {Promise<Microphone>} after 3 s also one that does not run yet: see `onRunning`
   * @throws {MicrophoneError}
   */
  static async open(deviceId, echoCancellation, onFrame) {
    const stream = await streamOf(deviceId, echoCancellation);
    // Firefox connects a microphone only to a context of the microphone's own rate.
    const context = new AudioContext({ latencyHint: "interactive" });
    await context.audioWorklet.addModule("/page/capture.worklet.js");
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => onFrame(data);
    context.createMediaStreamSource(stream).connect(node);
    const microphone = new Microphone(stream, context);
    microphone.isRunning = await begins(context);
    return microphone;
  }

  /**
   * @param {MediaStream} stream
   * @param {AudioContext} context
   */
  constructor(stream, context) {
    this._stream = stream;
    this._context = context;
    this.isRunning = false; // when it was opened
  }

  /** Call `callback` when sound arrives after all. @param {() => void} callback */
  onRunning(callback) {
    this._context.onstatechange = () => {
      if (this._context.state === "running") callback();
    };
  }

  /** Call `callback` when the device is unplugged. @param {() => void} callback */
  onEnded(callback) {
    for (const track of this._stream.getTracks()) track.onended = callback;
  }

  async close() {
    for (const track of this._stream.getTracks()) track.stop();
    await this._context.close();
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

/**
 * Whether the context begins to run soon. In Firefox it does not while the system has no loudspeaker.
 *
 * @param {AudioContext} context
 */
function begins(context) {
  const running = context.resume().then(() => true, () => false);
  return Promise.race([running, new Promise((resolve) => setTimeout(resolve, BEGIN_MILLISECONDS, false))]);
}
