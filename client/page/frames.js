/**
 * Pipecat's protobuf frames, as docs/client-protocol.md describes them. No I/O.
 *
 * The page needs three kinds of frame and five fields, which does not justify a protobuf library:
 * the page has no run-time packages. `client/frames.proto` is the schema.
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const AUDIO = 2; // fields of Frame
const MESSAGE = 4;
const INTERRUPTION = 5;
const PCM = 3; // fields of AudioRawFrame
const SAMPLE_RATE = 4;
const NUM_CHANNELS = 5;
const DATA = 1; // field of MessageFrame

/**
 * @typedef {{kind: "audio", pcm: Uint8Array, sampleRate: number, channels: number}} AudioFrame
 * @typedef {{kind: "message", message: Record<string, any>}} MessageFrame
 * @typedef {{kind: "interruption"}} InterruptionFrame
 * @typedef {AudioFrame | MessageFrame | InterruptionFrame} Frame
 */

/**
 * Encode mono int16 PCM.
 *
 * @param {Uint8Array} pcm little endian
 * @param {number} sampleRate in Hz
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeAudio(pcm, sampleRate) {
  const audio = [
    ...field(PCM, pcm),
    ...varint((SAMPLE_RATE << 3) | VARINT),
    ...varint(sampleRate),
    ...varint((NUM_CHANNELS << 3) | VARINT),
    1,
  ];
  return Uint8Array.from(field(AUDIO, Uint8Array.from(audio)));
}

/**
 * Encode an RTVI message.
 *
 * @param {string} type
 * @param {Record<string, unknown>} data
 * @param {string} id
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeMessage(type, data, id) {
  const text = JSON.stringify({ label: "rtvi-ai", type, id, data });
  const message = field(DATA, new TextEncoder().encode(text));
  return Uint8Array.from(field(MESSAGE, Uint8Array.from(message)));
}

/**
 * Decode a WebSocket message. Unknown frames and fields are skipped.
 *
 * @param {Uint8Array} bytes
 * @returns {Frame | null} null for a frame of a kind that this client does not know
 * @throws {RangeError} if the bytes are not a protobuf message
 */
export function decodeFrame(bytes) {
  for (const [number, value] of fields(bytes)) {
    if (number === INTERRUPTION) return { kind: "interruption" };
    if (!(value instanceof Uint8Array)) continue;
    if (number === AUDIO) return decodeAudio(value);
    if (number === MESSAGE) return decodeMessage(value);
  }
  return null;
}

/**
 * @param {Uint8Array} bytes
 * @returns {AudioFrame}
 */
function decodeAudio(bytes) {
  /** @type {AudioFrame} */
  const frame = { kind: "audio", pcm: new Uint8Array(), sampleRate: 0, channels: 1 };
  for (const [number, value] of fields(bytes)) {
    if (number === PCM && value instanceof Uint8Array) frame.pcm = value;
    if (number === SAMPLE_RATE) frame.sampleRate = Number(value);
    if (number === NUM_CHANNELS) frame.channels = Number(value);
  }
  return frame;
}

/**
 * @param {Uint8Array} bytes
 * @returns {MessageFrame}
 */
function decodeMessage(bytes) {
  for (const [number, value] of fields(bytes)) {
    if (number !== DATA || !(value instanceof Uint8Array)) continue;
    try {
      const message = JSON.parse(new TextDecoder().decode(value));
      if (message && typeof message === "object") return { kind: "message", message };
    } catch {
      throw new RangeError("a message that is not JSON");
    }
  }
  throw new RangeError("a message without data");
}

/**
 * @param {number} number
 * @param {Uint8Array} bytes
 * @returns {number[]}
 */
function field(number, bytes) {
  return [...varint((number << 3) | BYTES), ...varint(bytes.length), ...bytes];
}

/**
 * @param {number} value
 * @returns {number[]}
 */
function varint(value) {
  const bytes = [];
  while (value > 127) {
    bytes.push((value % 128) | 128);
    value = Math.floor(value / 128);
  }
  bytes.push(value);
  return bytes;
}

/**
 * Yield the fields of a protobuf message: number and value.
 *
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, number | Uint8Array]>}
 */
function* fields(bytes) {
  let at = 0;
  const readVarint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      // Ten bytes are the longest varint; a number keeps 53 of its 64 bits.
      if (at >= bytes.length || scale > 2 ** 63) throw new RangeError("a truncated number");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const take = (/** @type {number} */ length) => {
    if (at + length > bytes.length) throw new RangeError("a truncated field");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = readVarint();
    const wire = tag % 8;
    const number = Math.floor(tag / 8);
    if (wire === VARINT) yield [number, readVarint()];
    else if (wire === BYTES) yield [number, take(readVarint())];
    else if (wire === FIXED64) take(8);
    else if (wire === FIXED32) take(4);
    else throw new RangeError("an unknown wire type");
  }
}
