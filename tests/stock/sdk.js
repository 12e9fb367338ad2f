/**
 * A page of a developer who uses Pipecat's JavaScript SDK as its documentation shows.
 *
 * With `WavMediaManager`, because the default media manager loads code from another server. What the
 * SDK reports is kept in `seen`, as [callback, data].
 */

import { PipecatClient } from "@pipecat-ai/client-js";
import { WavMediaManager, WebSocketTransport } from "@pipecat-ai/websocket-transport";

const CALLBACKS = [
  ...["onConnected", "onDisconnected", "onBotReady", "onError", "onMessageError", "onServerMessage"],
  ...["onTransportStateChanged", "onUserStartedSpeaking", "onUserStoppedSpeaking", "onUserTranscript"],
  ...["onBotStartedSpeaking", "onBotStoppedSpeaking", "onBotTranscript", "onBotLlmText"],
];

/** @type {[string, any][]} */
const seen = [];
const media = new WavMediaManager(512, 16000);
const client = new PipecatClient({
  transport: new WebSocketTransport({ mediaManager: media }),
  enableMic: true,
  callbacks: Object.fromEntries(CALLBACKS.map((name) => [name, (data) => seen.push([name, data])])),
});

/** The arguments of `startBotAndConnect`. */
function endpoint(url, token) {
  return { endpoint: `${url}/start`, headers: new Headers({ Authorization: `Bearer ${token}` }), requestData: {} };
}

/** The error with which a promise is rejected, as a value. */
async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { name: error.name, message: error.message, status: error.status, type: error.type, data: error.data };
  }
}

/** The loudest sample of what the SDK's player has played just now, from 0 to 1. */
function loudness() {
  const { analyser } = media._wavStreamPlayer;
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
}

Object.assign(globalThis, { client, seen, endpoint, failure, loudness });
