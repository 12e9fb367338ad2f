/**
 * Streaming conversion of the microphone's rate to 16 kHz. No I/O.
 *
 * Firefox connects a microphone only to an audio context of the microphone's own rate, and a
 * Bluetooth headset has 8, 16 or 44.1 kHz. So the page resamples instead of asking for 16 kHz.
 *
 * Band-limited interpolation: a sinc, which is cut to ZERO_CROSSINGS on each side by a Blackman
 * window, with its cut-off at ROLL_OFF of the lower of the two Nyquist frequencies (J. O. Smith,
 * "Digital Audio Resampling").
 */

const ZERO_CROSSINGS = 16;
const ROLL_OFF = 0.92;
const STEPS = 256; // table entries per zero crossing; linear interpolation between them

export class Resampler {
  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    this._step = fromHz / toHz; // input samples per output sample
    this._scale = ROLL_OFF * Math.min(1, toHz / fromHz);
    this._reach = fromHz === toHz ? 0 : Math.ceil(ZERO_CROSSINGS / this._scale);
    this._table = kernel();
    this._input = new Float32Array(this._reach); // silence before the first sample
    this._position = this._reach; // of the next output sample, in samples of _input
  }

  /**
   * Return the output samples that the input so far determines.
   *
   * @param {Float32Array} samples
   * @returns {Float32Array<ArrayBuffer>}
   */
  push(samples) {
    if (!this._reach) return Float32Array.from(samples);
    const input = new Float32Array(this._input.length + samples.length);
    input.set(this._input);
    input.set(samples, this._input.length);
    const output = [];
    while (this._position + this._reach < input.length) {
      output.push(this._at(input, this._position));
      this._position += this._step;
    }
    const used = Math.max(0, Math.floor(this._position) - this._reach);
    this._input = input.slice(used);
    this._position -= used;
    return Float32Array.from(output);
  }

  /**
   * @param {Float32Array} input
   * @param {number} position
   */
  _at(input, position) {
    const first = Math.ceil(position - this._reach);
    const last = Math.floor(position + this._reach);
    let sum = 0;
    for (let i = first; i <= last; i++) {
      const place = Math.abs(i - position) * this._scale * STEPS;
      const entry = Math.floor(place);
      if (entry + 1 >= this._table.length) continue;
      const weight = this._table[entry] + (place - entry) * (this._table[entry + 1] - this._table[entry]);
      sum += input[i] * weight;
    }
    return sum * this._scale;
  }
}

/** The right half of the windowed sinc. */
function kernel() {
  const table = new Float64Array(ZERO_CROSSINGS * STEPS + 1);
  for (let i = 0; i < table.length; i++) {
    const x = (Math.PI * i) / STEPS;
    const w = (Math.PI * i) / (table.length - 1); // 0 at the centre, pi at the end
    const window = 0.42 + 0.5 * Math.cos(w) + 0.08 * Math.cos(2 * w);
    table[i] = (i ? Math.sin(x) / x : 1) * window;
  }
  return table;
}
