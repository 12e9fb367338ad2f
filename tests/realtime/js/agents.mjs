// A call with the Agents SDK for Node. Usage: node agents.mjs URL TOKEN [SPEECH | --cancel]
//
// As openai.mjs. Prints what the SDK reports as JSON lines, and its history at the end.
import fs from 'node:fs';
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents/realtime';

const [url, token, option] = process.argv.slice(2);
let cancels = option === '--cancel';
const speech = cancels ? undefined : option;
const door = tool({
  name: 'open_door',
  description: 'Opens a door.',
  strict: false,
  parameters: {
    type: 'object',
    properties: { number: { type: 'integer' } },
    required: ['number'],
    additionalProperties: true,
  },
  execute: async ({ number }) => `Door ${number} is open.`,
});
const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Be brief.', tools: [door] });
const session = new RealtimeSession(agent, { transport: 'websocket', model: 'gpt-realtime' });
const microphone = [];
let pieces = 0;
let timer;

function speak() {
  const pcm = fs.readFileSync(speech);
  for (let at = 0; at < pcm.length; at += 1920) microphone.push(pcm.subarray(at, at + 1920));
}
const print = (type, more = {}) => console.log(JSON.stringify({ type, ...more }));

session.on('error', (error) => {
  print('error', { error: String(error.error?.message ?? JSON.stringify(error)) });
  process.exit(1);
});
session.on('audio', () => {
  pieces += 1;
  if (pieces === 10 && speech) speak();
  if (pieces === 10 && cancels) {
    session.interrupt();
    session.sendMessage('something else');
  }
});
session.on('audio_interrupted', () => print('audio_interrupted'));
session.on('agent_start', () => print('agent_start'));
session.transport.on('*', (event) => {
  if (event.type !== 'response.done') return;
  const output = event.response.output.map((item) => item.type);
  print('response.done', { status: event.response.status, output });
  if (output.includes('function_call')) return; // the reply follows the tool's result
  if (cancels) {
    cancels = false; // the reply to something else follows
    return;
  }
  setTimeout(() => {
    // After the SDK has put this response into its history.
    print('history', { history: session.history, pieces });
    clearInterval(timer);
    session.close();
  }, 0);
});

await session.connect({ apiKey: token, url });
if (speech) {
  speak();
  timer = setInterval(() => {
    const piece = microphone.shift() ?? Buffer.alloc(1920);
    session.sendAudio(new Uint8Array(piece).buffer);
  }, 40);
} else {
  session.sendMessage('the weather');
}
