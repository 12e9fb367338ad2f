/** What the microphone's frames do while the network is slow. No I/O. */

const MAX_BACKLOG_SECONDS = 1;
const BYTES_PER_SECOND = 2 * 16000;

/**
 * Whether to send a frame. After a stall, the gateway would drop old audio, and a client that sends
 * faster than it may is disconnected. So a frame is dropped while more than a second waits.
 *
 * @param {number} bufferedBytes what the WebSocket has not sent yet
 */
export function hasRoom(bufferedBytes) {
  return bufferedBytes <= MAX_BACKLOG_SECONDS * BYTES_PER_SECOND;
}
