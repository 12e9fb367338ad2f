/** Samples: conversion between the wire's int16 and the browser's floats, and levels. No I/O. */

export const MICROPHONE_HZ = 16000;
export const SPEAKER_HZ = 24000;
export const SILENCE_DBFS = -90; // what `dbfs` returns for digital silence

/**
 * @param {Uint8Array} bytes little-endian int16
 * @returns {Float32Array<ArrayBuffer>} samples from -1 to 1
 */
export function toFloats(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array(Math.floor(bytes.byteLength / 2));
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32768;
  return samples;
}

/**
 * @param {Float32Array} samples; beyond -1 to 1, they are clipped
 * @returns {Uint8Array<ArrayBuffer>} little-endian int16
 */
export function toInt16(samples) {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((sample, i) => {
    const value = Math.round(sample * 32768);
    view.setInt16(2 * i, Math.max(-32768, Math.min(32767, value)), true);
  });
  return new Uint8Array(view.buffer);
}

/**
 * @param {Float32Array} samples
 * @returns {number} the level (RMS) in dBFS, at least SILENCE_DBFS
 */
export function dbfs(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  if (!sum) return SILENCE_DBFS;
  return Math.max(SILENCE_DBFS, 10 * Math.log10(sum / samples.length));
}
