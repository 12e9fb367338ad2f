/**
 * Audio worklet "capture": resamples the microphone to 16 kHz mono and posts frames of 40 ms.
 *
 * Posts Float32Array, transferred. It runs on the browser's audio thread, so a busy page delays
 * frames but loses none.
 */

import { MICROPHONE_HZ } from "./pcm.js";
import { Resampler } from "./resampler.js";

const FRAME_SAMPLES = 0.04 * MICROPHONE_HZ;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this._resampler = new Resampler(sampleRate, MICROPHONE_HZ);
    this._frame = new Float32Array(FRAME_SAMPLES);
    this._filled = 0;
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean}
   */
  process(inputs) {
    const channels = inputs[0];
    if (!channels?.length) return true; // the device is changing
    for (const sample of this._resampler.push(mono(channels))) {
      this._frame[this._filled++] = sample;
      if (this._filled === FRAME_SAMPLES) {
        this.port.postMessage(this._frame, [this._frame.buffer]);
        this._frame = new Float32Array(FRAME_SAMPLES);
        this._filled = 0;
      }
    }
    return true;
  }
}

/** @param {Float32Array[]} channels */
function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
}

registerProcessor("capture", Capture);
