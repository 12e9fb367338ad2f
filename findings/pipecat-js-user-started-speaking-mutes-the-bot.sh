#!/usr/bin/env bash
# @pipecat-ai/websocket-transport 1.7.1: `WavMediaManager.userStartedSpeaking()`, called while the bot speaks,
# drops what was not played and marks the track as interrupted for good. All audio has the track "default" unless
# the caller names one, and the transport names none. So audio of every later reply is dropped without a word: the
# bot is mute for the rest of the call. With a new track for each reply, `bufferBotAudio(audio, track)` works.
# The player and its worklet are the package's own. Node has no sound, so the audio graph is a stand-in.
#
# Seen with websocket-transport 1.7.1, client-js 1.13.1 on Node 20, 2026-11-29:
#   first reply: 24000 samples taken, heard
#   after userStartedSpeaking(): 0 samples taken, not heard
#   with a new track: 24000 samples taken, heard

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts \
    @pipecat-ai/client-js@1.13.1 @pipecat-ai/websocket-transport@1.7.1
cat >player.mjs <<'JS'
import assert from "node:assert";

const HZ = 24000;
let heard = 0; // loud samples

// --- a stand-in for the browser's audio graph, which runs the package's worklet
let port;
let Processor;
const running = new Set();
class AudioWorkletProcessor {
  port = port;
}
globalThis.AudioContext = class {
  state = "running";
  destination = {};
  audioWorklet = {
    async addModule(source) {
      const code = await (await fetch(source)).text();
      const register = (_name, type) => (Processor = type);
      new Function("AudioWorkletProcessor", "registerProcessor", code)(AudioWorkletProcessor, register);
    },
  };
  createAnalyser() {
    return { disconnect() {} };
  }
};
globalThis.AudioWorkletNode = class {
  constructor() {
    const channel = new MessageChannel();
    this.port = channel.port1;
    port = channel.port2;
    running.add(new Processor());
  }
  connect() {}
  disconnect() {}
};
const clock = setInterval(() => {
  for (const processor of running) {
    const output = new Float32Array(128);
    if (!processor.process([], [[output]])) {
      processor.port.close();
      running.delete(processor);
    }
    heard += output.filter((sample) => sample > 0.1).length;
  }
}, 1);
const devices = { getUserMedia: () => Promise.reject(new Error("no microphone")), enumerateDevices: async () => [] };
Object.assign(devices, { addEventListener() {}, removeEventListener() {} });
const permissions = { query: async () => ({ state: "granted" }) };
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: devices, permissions }, configurable: true });
console.error = () => {}; // it reports that there is no microphone

// --- the package, as its transport uses it
const { WavMediaManager } = await import("@pipecat-ai/websocket-transport");
const media = new WavMediaManager();
media.setClientOptions({ callbacks: {} });
await media.initialize();

async function play(track) {
  heard = 0;
  const taken = media.bufferBotAudio(new Int16Array(HZ).fill(16000), track)?.length ?? 0;
  await new Promise((resolve) => setTimeout(resolve, 100)); // a part of it is played
  console.log(`${taken} samples taken, ${heard ? "heard" : "not heard"}`);
  return taken;
}

process.stdout.write("first reply: ");
assert.strictEqual(await play(), HZ);
await media.userStartedSpeaking();
process.stdout.write("after userStartedSpeaking(): ");
assert.strictEqual(await play(), 0);
process.stdout.write("with a new track: ");
assert.strictEqual(await play("reply-2"), HZ);
clearInterval(clock);
process.exit(0);
JS
node player.mjs
