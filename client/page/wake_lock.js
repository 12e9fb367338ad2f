/** Keeps the screen on during a call. Browsers release the lock of a page that is hidden. */

export class WakeLock {
  constructor() {
    this._wanted = false;
    /** @type {WakeLockSentinel | null} */
    this._lock = null;
  }

  /** Keep the screen on, from now or since before. Does nothing where the browser refuses. */
  async hold() {
    this._wanted = true;
    if (this._isHeld()) return;
    try {
      const lock = await navigator.wakeLock?.request("screen");
      if (!this._wanted || this._isHeld()) await lock?.release();
      else this._lock = lock ?? null;
    } catch {
      // The battery is low, or the page is hidden.
    }
  }

  /** Let the screen go off. */
  release() {
    this._wanted = false;
    this._lock?.release();
    this._lock = null;
  }

  /** The page is shown again: take the lock again that the browser has released. */
  shown() {
    if (this._wanted) this.hold();
  }

  _isHeld() {
    return this._lock !== null && !this._lock.released;
  }
}
