/**
 * The playback buffer: audio is pushed as it arrives and pulled as it is played. No I/O, no clock.
 *
 * Playback starts when PREBUFFER_SECONDS are buffered, or when the oldest sample has waited that
 * long. If the buffer runs empty and more of the same reply follows, this is an underrun, and it is
 * filled again before playback goes on. `client/playback.py` does the same for the Python client.
 */

export const PREBUFFER_SECONDS = 0.12;
const FADE_SECONDS = 0.005; // at a flush: a sudden end clicks
const AUDIBLE = 10 ** (-50 / 20); // samples below -50 dBFS are silence

export class PlaybackBuffer {
  /** @param {number} rate in Hz */
  constructor(rate) {
    this._rate = rate;
    /** @type {Float32Array[]} */
    this._chunks = [];
    this._offset = 0; // samples of the first chunk that were played
    this._buffered = 0;
    this._waited = 0; // samples since the first one of an idle buffer arrived
    this._playing = false;
    this._ranDry = false; // and no new reply has begun since
    this._fade = new Float32Array(0); // the end of a flushed reply
    this._audible = false;
    this.underruns = 0;
  }

  /** Samples that have not been played. */
  get buffered() {
    return this._buffered;
  }

  /** Whether samples are being played. */
  get playing() {
    return this._playing;
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (!samples.length) return;
    if (!this._buffered && !this._playing) this._waited = 0;
    this._chunks.push(samples);
    this._buffered += samples.length;
  }

  /** What arrives next belongs to a new reply, so silence before it is not an underrun. */
  ended() {
    this._ranDry = false;
    if (!this._playing) this._audible = false;
  }

  /**
   * Drop what has not been played, except a fade of 5 ms.
   *
   * @returns {number} dropped samples
   */
  flush() {
    const length = this._playing ? Math.min(this._buffered, FADE_SECONDS * this._rate) : 0;
    const end = this._take(new Float32Array(length));
    this._fade = end.map((sample, i) => sample * (1 - (i + 1) / length));
    const dropped = this._buffered;
    this._chunks = [];
    this._offset = 0;
    this._buffered = 0;
    this._playing = this._ranDry = this._audible = false;
    return dropped;
  }

  /**
   * Fill `output` with the next samples; silence where there are none.
   *
   * @param {Float32Array} output
   * @returns {boolean} whether sound begins in it, for the first time since a flush or the end
   */
  pull(output) {
    output.fill(0);
    if (!this._playing && this._buffered) this._wait(output.length);
    if (!this._playing) {
      output.set(this._fade.subarray(0, output.length));
      this._fade = this._fade.subarray(output.length);
      return false;
    }
    const isLast = this._buffered < output.length;
    this._take(output);
    const begins = !this._audible && output.some((sample) => Math.abs(sample) > AUDIBLE);
    this._audible ||= begins;
    if (isLast) {
      this._playing = false;
      this._ranDry = true;
    }
    return begins;
  }

  /** @param {number} samples the time until the next pull */
  _wait(samples) {
    this._waited += samples;
    const prebuffer = PREBUFFER_SECONDS * this._rate;
    this._playing = this._buffered >= prebuffer || this._waited >= prebuffer;
    if (this._playing && this._ranDry) {
      this.underruns++;
      this._ranDry = false;
    }
  }

  /** @param {Float32Array} output */
  _take(output) {
    let filled = 0;
    while (filled < output.length && this._chunks.length) {
      const chunk = this._chunks[0];
      const part = chunk.subarray(this._offset, this._offset + output.length - filled);
      output.set(part, filled);
      filled += part.length;
      this._offset += part.length;
      if (this._offset === chunk.length) {
        this._chunks.shift();
        this._offset = 0;
      }
    }
    this._buffered -= filled;
    return output;
  }
}
