// A call with `openai` for Node. Usage: node openai.mjs URL TOKEN [SPEECH | --cancel]
//
// Without SPEECH: a typed question. With SPEECH, a file of 24 kHz mono int16 PCM: it is spoken,
// and spoken again while the bot replies. With --cancel: the reply is cancelled, and something else
// is asked. Prints each event as a JSON line; audio is left out.
import fs from 'node:fs';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const [url, token, option] = process.argv.slice(2);
let cancels = option === '--cancel';
const speech = cancels ? undefined : option;
const client = new OpenAI({ apiKey: token, baseURL: url });
const call = new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client);
const microphone = [];
let deltas = 0;
let timer;

function speak() {
  const pcm = fs.readFileSync(speech);
  for (let at = 0; at < pcm.length; at += 1920) microphone.push(pcm.subarray(at, at + 1920));
}

call.on('error', (error) => {
  console.log(JSON.stringify({ type: 'sdk.error', message: String(error.message) }));
  process.exit(1);
});
call.on('event', (event) => {
  if (event.type === 'response.output_audio.delta') {
    deltas += 1;
    if (deltas === 10 && speech) speak();
    if (deltas === 10 && cancels) {
      cancels = false;
      call.send({ type: 'response.cancel' });
      ask('something else');
    }
    return;
  }
  console.log(JSON.stringify(event));
  if (event.type === 'session.created') begin();
  if (event.type === 'response.done' && event.response.status_details?.reason !== 'client_cancelled') {
    console.log(JSON.stringify({ type: 'sdk.audio', deltas }));
    clearInterval(timer);
    call.close();
  }
});

function begin() {
  if (speech) {
    speak();
    timer = setInterval(() => {
      const audio = (microphone.shift() ?? Buffer.alloc(1920)).toString('base64');
      call.send({ type: 'input_audio_buffer.append', audio });
    }, 40);
    return;
  }
  ask('the weather');
}

function ask(text) {
  const content = [{ type: 'input_text', text }];
  call.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  call.send({ type: 'response.create' });
}
