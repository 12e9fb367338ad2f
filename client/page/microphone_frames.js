/** The microphone's sound as the gateway takes it: 16 kHz mono in frames of 40 ms. No I/O. */

import { MICROPHONE_HZ } from "./pcm.js";
import { Resampler } from "./resampler.js";

const FRAME_SAMPLES = 0.04 * MICROPHONE_HZ;

export class MicrophoneFrames {
  constructor() {
    this._hz = 0;
    this._resampler = new Resampler(MICROPHONE_HZ, MICROPHONE_HZ);
    this._frame = new Float32Array(FRAME_SAMPLES);
    this._filled = 0;
  }

  /**
   * @param {Float32Array[]} channels at least one, all of the same length
   * @param {number} hz their rate, which can change with the device
   * @returns {Float32Array<ArrayBuffer>[]} the frames that are complete now
   */
  push(channels, hz) {
    if (hz !== this._hz) {
      this._resampler = new Resampler(hz, MICROPHONE_HZ);
      this._hz = hz;
    }
    const complete = [];
    for (const sample of this._resampler.push(mono(channels))) {
      this._frame[this._filled++] = sample;
      if (this._filled === FRAME_SAMPLES) {
        complete.push(this._frame);
        this._frame = new Float32Array(FRAME_SAMPLES);
        this._filled = 0;
      }
    }
    return complete;
  }
}

/** @param {Float32Array[]} channels */
function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
}
