#!/usr/bin/env bash
# Pipecat 1.14.0: the two ends of its WebSocket transport disagree by default. `WebsocketClientParams` has
# `add_wav_header=True`, the servers' parameters have False, and ProtobufFrameSerializer passes the bytes on as
# samples. Each frame of a client then begins with 44 bytes of a WAV header, which the server takes for 22
# samples: a click 25 times a second, and no error on either side.
#
# Seen with pipecat-ai 1.14.0 on Python 3.11, 2026-11-29:
#   sent 1280 bytes; received 1324 bytes at 16000 Hz,
#   which begin with b'RIFF' and b'WAVE'

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'pipecat-ai[websocket]==1.14.0'
"$folder/venv/bin/python" - <<'PY'
import asyncio
from loguru import logger

logger.remove()
from pipecat.frames.frames import EndFrame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.websocket.client import WebsocketClientParams, WebsocketClientTransport
from pipecat.workers.runner import WorkerRunner
from websockets.asyncio.server import serve

SPEECH = bytes(range(1, 255)) * 6  # any bytes but those of a header
SPEECH = SPEECH[: 2 * 640]  # 40 ms, 16 kHz mono int16
received = []


async def receive(socket):
    async for data in socket:
        frame = await ProtobufFrameSerializer().deserialize(data)
        if isinstance(frame, InputAudioRawFrame):
            received.append(frame)


async def main():
    async with serve(receive, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        params = WebsocketClientParams(
            audio_out_enabled=True, audio_out_sample_rate=16000, serializer=ProtobufFrameSerializer()
        )
        transport = WebsocketClientTransport(f"ws://127.0.0.1:{port}", params)
        worker = PipelineWorker(Pipeline([transport.input(), transport.output()]))

        @transport.event_handler("on_connected")
        async def speak(_transport, _socket):
            await worker.queue_frame(OutputAudioRawFrame(SPEECH, 16000, 1))
            await asyncio.sleep(1)
            await worker.queue_frame(EndFrame())

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await asyncio.wait_for(runner.run(), 60)


asyncio.run(main())
first = received[0]
print(f"sent {len(SPEECH)} bytes; received {len(first.audio)} bytes at {first.sample_rate} Hz,")
print(f"which begin with {first.audio[:4]!r} and {first.audio[8:12]!r}")
assert first.audio[:4] == b"RIFF" and first.audio[8:12] == b"WAVE"
PY
