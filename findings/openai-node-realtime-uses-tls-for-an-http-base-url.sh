#!/usr/bin/env bash
# openai 7.59.0 for Node.js: a Realtime connection uses wss, also if the client's base URL is http. The package for
# Python uses ws then. Against a server without TLS, such as one on localhost, the connection fails with OpenSSL's
# "wrong version number", which does not name the cause.
#
# Seen with openai 7.59.0 on Node.js 20.20, and openai 3.54.0 on Python 3.11, 2026-11-29:
#   Node.js: wss://127.0.0.1:1/v1/realtime?model=any
#   Python:  ws://127.0.0.1:1/v1/realtime

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts openai@7.59.0 ws@8.23.0
cat >url.mjs <<'JS'
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const client = new OpenAI({ apiKey: 'any', baseURL: 'http://127.0.0.1:1/v1' });
const connection = new OpenAIRealtimeWS({ model: 'any' }, client);
connection.on('error', () => {}); // nobody listens there
console.log(String(connection.url));
process.exit(0);
JS
node=$(node url.mjs)
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openai==3.54.0
python=$(venv/bin/python - <<'PY'
from openai import OpenAI

client = OpenAI(api_key="any", base_url="http://127.0.0.1:1/v1")
print(client.realtime.connect(model="any")._prepare_url())
PY
)
echo "Node.js: $node"
echo "Python:  $python"
[[ $node == wss://* && $python == ws://* ]]
