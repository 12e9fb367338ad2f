/**
 * Audio worklet "capture": posts the microphone's frames, see `microphone_frames.js`.
 *
 * Posts Float32Array, transferred. It runs on the browser's audio thread, so a busy page delays
 * frames but loses none. A busy computer does lose sound: see `capture.js`.
 */

import { MicrophoneFrames } from "./microphone_frames.js";

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this._frames = new MicrophoneFrames();
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean}
   */
  process(inputs) {
    const channels = inputs[0];
    if (!channels?.length) return true; // the device is changing
    for (const frame of this._frames.push(channels, sampleRate)) this.port.postMessage(frame, [frame.buffer]);
    return true;
  }
}

registerProcessor("capture", Capture);
