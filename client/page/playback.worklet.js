/**
 * Audio worklet "playback": plays the bot's audio through a PlaybackBuffer.
 *
 * Receives Float32Array (audio), "flush", "ended" and "drain". Posts {started: true} when sound begins,
 * {drained: true} when all audio before a "drain" was played, and {level, buffered, underruns, playing}
 * 12 times a second.
 */

import { dbfs } from "./pcm.js";
import { PlaybackBuffer } from "./playback_buffer.js";

const REPORTS_PER_SECOND = 12;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this._buffer = new PlaybackBuffer(sampleRate);
    this._unreported = 0;
    this._peak = -90;
    this._draining = false;
    this.port.onmessage = ({ data }) => {
      if (data === "flush") this._buffer.flush();
      else if (data === "ended") this._buffer.ended();
      else if (data === "drain") this._draining = true;
      else this._buffer.push(data);
    };
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   * @returns {boolean}
   */
  process(_inputs, outputs) {
    const [first, ...others] = outputs[0];
    if (this._buffer.pull(first)) this.port.postMessage({ started: true });
    for (const channel of others) channel.set(first);
    this._report(first);
    if (this._draining && !this._buffer.buffered && !this._buffer.playing) {
      this._draining = false;
      this.port.postMessage({ drained: true });
    }
    return true;
  }

  /** @param {Float32Array} block */
  _report(block) {
    this._peak = Math.max(this._peak, dbfs(block));
    this._unreported += block.length;
    if (this._unreported < sampleRate / REPORTS_PER_SECOND) return;
    const { buffered, underruns, playing } = this._buffer;
    const seconds = buffered / sampleRate;
    this.port.postMessage({ level: this._peak, buffered: seconds, underruns, playing });
    this._unreported = 0;
    this._peak = -90;
  }
}

registerProcessor("playback", Playback);
