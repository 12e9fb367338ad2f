/**
 * The state of a conversation, from the gateway's messages and the loudspeaker. No I/O.
 *
 * `status` is one word for the user:
 *   idle        no call
 *   connecting  until the gateway's `bot-ready`
 *   listening   the user may speak, or speaks
 *   thinking    the user's turn has ended, and nothing of the reply is heard yet
 *   speaking    the bot is heard
 */

/**
 * @typedef {"idle" | "connecting" | "listening" | "thinking" | "speaking"} Status
 * @typedef {{speaker: "user" | "bot", text: string, turn: number, final: boolean}} Caption
 * @typedef {{number: number, outcome: string, seconds: number | null}} Turn
 *   turn, number  counted over all calls of the page; the gateway begins each call with 1
 */

const FAILED_OUTCOMES = new Set(["failed", "nothing_heard", "joined"]);

export class Conversation {
  constructor() {
    /** @type {Caption[]} */
    this.captions = [];
    /** @type {Turn[]} */
    this.turns = [];
    this.userSpeaking = false;
    this._ready = false;
    this._connected = false;
    this._thinking = false;
    this._audible = false; // the loudspeaker plays
    this._turn = 1; // number of the turn in progress
    this._earlier = 0; // turn numbers of earlier calls
  }

  /** @returns {Status} */
  get status() {
    if (!this._connected) return "idle";
    if (!this._ready) return "connecting";
    if (this._audible) return "speaking";
    return this._thinking ? "thinking" : "listening";
  }

  connecting() {
    this._connected = true;
    this._ready = false;
  }

  /** The call has ended. Its captions stay. */
  ended() {
    this._connected = this._ready = this._thinking = this._audible = false;
    this.userSpeaking = false;
    this._earlier = this._turn + 1; // a second question may have been given the next number
    this._turn = this._earlier + 1;
    for (const caption of this.captions) caption.final = true;
  }

  /** @param {boolean} playing whether the loudspeaker plays the bot's audio */
  playing(playing) {
    this._audible = playing;
    if (playing) this._thinking = false;
  }

  /** The gateway sent an `interruption` frame: what was not played is dropped. */
  interrupted() {
    this._audible = false;
  }

  /**
   * Apply an RTVI message. Unknown ones change nothing.
   *
   * @param {Record<string, any>} message
   */
  received(message) {
    const data = message.data ?? {};
    switch (message.type) {
      case "bot-ready":
        this._ready = true;
        break;
      case "user-started-speaking":
        this.userSpeaking = true;
        this._thinking = false;
        break;
      case "user-stopped-speaking":
        this.userSpeaking = false;
        this._thinking = true;
        break;
      case "user-input":
        this._said("user", data.text);
        if (data.input_type === "chat") this._thinking = true;
        break;
      case "bot-output":
        if (data.spoken_status === "new") this._said("bot", data.text);
        break;
      case "server-message":
        this._event(data);
        break;
    }
  }

  /** @param {Record<string, any>} data */
  _event(data) {
    if (data.kind !== "turn") return;
    this._thinking = false;
    const number = this._earlier + data.turn;
    this.turns.push({
      number,
      outcome: data.outcome,
      seconds: data.outcome === "answered" || data.outcome === "interrupted" ? data.response_seconds : null,
    });
    // A typed question has no transcript, and keeps its caption.
    const userText = data.outcome === "joined" ? "" : data.user_text || undefined;
    this._completed("user", number, userText);
    this._completed("bot", number, FAILED_OUTCOMES.has(data.outcome) ? "" : data.reply_text);
    const replaced = data.replaces ? this._earlier + data.replaces : 0;
    this.captions = this.captions.filter((each) => each.turn !== replaced);
    // A transcript that came after its turn's report was taken for the next turn's.
    const isRepeated = (/** @type {Caption} */ each) =>
      each.turn > number && each.speaker === "user" && each.text === data.user_text;
    this.captions = this.captions.filter((each) => !isRepeated(each));
    this._turn = number + 1;
  }

  /**
   * Show what was said in the turn in progress, in one caption per speaker.
   *
   * A second question is the next turn's: it may arrive before the report of the turn that it
   * interrupts.
   *
   * @param {"user" | "bot"} speaker
   * @param {string} text
   */
  _said(speaker, text) {
    if (!text) return;
    const caption = this._caption(speaker, this._turn);
    if (speaker === "user" && caption) {
      this._add({ speaker, text, turn: this._turn + 1, final: false });
      return;
    }
    if (!caption) this._add({ speaker, text, turn: this._turn, final: false });
    else caption.text = `${caption.text} ${text}`;
  }

  /**
   * Replace a caption by the report of its turn: the user's words, what was heard of the reply.
   *
   * @param {"user" | "bot"} speaker
   * @param {number} turn
   * @param {string | undefined} text undefined if the appliance sends no words
   */
  _completed(speaker, turn, text) {
    const caption = this._caption(speaker, turn);
    if (text === undefined) {
      if (caption) caption.final = true;
    } else if (!text) {
      this.captions = this.captions.filter((each) => each !== caption);
    } else if (caption) {
      caption.text = text;
      caption.final = true;
    } else {
      this._add({ speaker, text, turn, final: true });
    }
  }

  /**
   * Add a caption: the user's before the bot's of the same turn, although it may arrive later.
   *
   * @param {Caption} caption
   */
  _add(caption) {
    const reply = this.captions.findIndex(({ turn, final }) => turn === caption.turn && !final);
    const at = caption.speaker === "user" && reply >= 0 ? reply : this.captions.length;
    this.captions.splice(at, 0, caption);
  }

  /**
   * @param {"user" | "bot"} speaker
   * @param {number} turn
   */
  _caption(speaker, turn) {
    return this.captions.findLast((each) => each.speaker === speaker && each.turn === turn && !each.final);
  }
}
