/**
 * The two ways from a microphone's track to its frames.
 *
 * An audio context runs at the pace of the loudspeaker. On a busy computer Chromium hands the sound to the
 * loudspeaker late. The context then stands still, and after 50 ms the browser drops what the microphone
 * hears. A track that is read directly needs no context. Only Chromium can do that with sound; other browsers
 * take the context.
 */

import { MicrophoneFrames } from "./microphone_frames.js";

// AudioData of 10 ms each: 5 s. What a busy page cannot read meanwhile waits; the browser's own 10 are too few.
const MAX_WAITING = 500;

/**
 * @typedef {(samples: Float32Array) => void} OnFrame gets 40 ms at 16 kHz
 * @typedef {() => Promise<void>} Stop
 */

/**
 * Capture a microphone until the returned function is called.
 *
 * @param {MediaStream} stream with one track, of sound
 * @param {OnFrame} onFrame
 * @returns {Promise<Stop>}
 */
export async function capture(stream, onFrame) {
  const processor = processorOf(stream.getAudioTracks()[0]);
  return processor ? readTrack(processor, onFrame) : useContext(stream, onFrame);
}

/**
 * @param {MediaStreamTrack} track
 * @returns {MediaStreamTrackProcessor | null} null where the browser has none for sound
 */
function processorOf(track) {
  if (!globalThis.MediaStreamTrackProcessor) return null;
  try {
    return new MediaStreamTrackProcessor({ track, maxBufferSize: MAX_WAITING });
  } catch {
    return null; // the standard has it for video only
  }
}

/**
 * @param {MediaStreamTrackProcessor} processor
 * @param {OnFrame} onFrame
 * @returns {Stop}
 */
function readTrack(processor, onFrame) {
  const reader = processor.readable.getReader();
  const frames = new MicrophoneFrames();
  const readAll = async () => {
    for (;;) {
      const { value: data, done } = await reader.read();
      if (done) return;
      for (const frame of frames.push(channelsOf(data), data.sampleRate)) onFrame(frame);
      data.close();
    }
  };
  readAll();
  return () => reader.cancel();
}

/** @param {AudioData} data */
function channelsOf(data) {
  return Array.from({ length: data.numberOfChannels }, (_, planeIndex) => {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex, format: "f32-planar" });
    return samples;
  });
}

/**
 * @param {MediaStream} stream
 * @param {OnFrame} onFrame
 * @returns {Promise<Stop>}
 */
async function useContext(stream, onFrame) {
  // Firefox connects a microphone only to a context of the microphone's own rate.
  const context = new AudioContext({ latencyHint: "interactive" });
  await context.audioWorklet.addModule("/page/capture.worklet.js");
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => onFrame(data);
  context.createMediaStreamSource(stream).connect(node);
  // Not awaited: Firefox resumes it only when there is a loudspeaker.
  context.resume().catch(() => {});
  return () => context.close();
}
