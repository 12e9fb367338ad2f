/** What is sent of the microphone: its sound, or silence. No I/O. */

export const TAIL_SECONDS = 0.3; // the room's echo after the bot has stopped

/**
 * Mute, push-to-talk and half duplex. With push-to-talk, the page has no mute button, and `muted`
 * does not count. A closed gate still sends silence: the gateway takes a microphone that sends
 * nothing for one that is gone, and ends a turn by the silence after it.
 */
export class MicrophoneGate {
  constructor() {
    this.muted = false;
    this.pushToTalk = false;
    this.pressed = false; // the button of push-to-talk
    this.halfDuplex = false;
    this._quietSince = -Infinity;
    this._playing = false;
  }

  /** @returns {"open" | "muted" | "released"} what the user has chosen, apart from half duplex */
  get state() {
    if (this.pushToTalk) return this.pressed ? "open" : "released";
    return this.muted ? "muted" : "open";
  }

  /**
   * @param {boolean} playing whether the bot is heard
   * @param {number} now in seconds
   */
  playback(playing, now) {
    if (this._playing && !playing) this._quietSince = now;
    this._playing = playing;
  }

  /**
   * @param {number} now in seconds
   * @returns {boolean} whether the user's voice is sent
   */
  isOpen(now) {
    if (this.state !== "open") return false;
    return !(this.halfDuplex && (this._playing || now - this._quietSince < TAIL_SECONDS));
  }
}
