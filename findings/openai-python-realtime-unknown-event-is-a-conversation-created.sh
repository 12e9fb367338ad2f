#!/usr/bin/env bash
# openai 3.54.0 for Python, Realtime: an event of a type that the package does not know, from a newer API or a server
# with extensions, arrives as a ConversationCreatedEvent, the first class of the union, with the unknown `type` and
# None in the fields that this class requires. There is no error and no generic class. Code that tells events apart
# by isinstance or by `match` on classes takes each of them for the creation of a conversation. Only a comparison of
# `event.type` is right.
#
# Seen with openai 3.54.0 and websockets 17.4 on Python 3.11, 2026-11-29:
#   sent rate.changed, received ConversationCreatedEvent with type 'rate.changed' and conversation None

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'openai==3.54.0' 'websockets==17.4'
"$folder/venv/bin/python" - <<'PY'
import asyncio
import json

from openai import AsyncOpenAI
from openai.types.realtime import ConversationCreatedEvent
from websockets.asyncio.server import serve

SENT = {"type": "rate.changed", "event_id": "event_1", "words_per_minute": 150}


async def speak(socket):
    await socket.send(json.dumps(SENT))
    await socket.wait_closed()


async def main():
    async with serve(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = AsyncOpenAI(api_key="any", base_url=f"http://127.0.0.1:{port}/v1")
        async with client.realtime.connect(model="any") as connection:
            return await connection.recv()


event = asyncio.run(main())
print(
    f"sent {SENT['type']}, received {type(event).__name__} with type {event.type!r} "
    f"and conversation {event.conversation}"
)
assert isinstance(event, ConversationCreatedEvent), "another class than before"
assert event.type == SENT["type"] and event.conversation is None
PY
