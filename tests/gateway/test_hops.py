"""Audio takes the short way through a pipeline, and observers hear about everything else."""

from __future__ import annotations

import asyncio

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    TTSAudioRawFrame,
    UserSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FrameProcessed, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams

from appliance.gateway.hops import QuietObserver, pass_audio, quieten


class Recorder(BaseObserver):
    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[Frame] = []

    async def on_push_frame(self, data: FramePushed) -> None:
        self.pushed.append(data.frame)


class Sink(FrameProcessor):
    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        self.frames.append(frame)


async def test_observers_are_told_about_every_frame_but_audio() -> None:
    tasks = TaskManager()
    tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    recorder = Recorder()
    observer = QuietObserver(observers=[recorder])
    await observer.setup(tasks)
    microphone = InputAudioRawFrame(b"\0\0", 16000, 1)
    speech, activity = TTSAudioRawFrame(b"\0\0", 24000, 1), UserSpeakingFrame()
    source, sink = Sink(), Sink()
    for frame in (microphone, speech, activity):
        await observer.on_process_frame(FrameProcessed(sink, frame, FrameDirection.DOWNSTREAM, 0))
        await observer.on_push_frame(FramePushed(source, sink, frame, FrameDirection.DOWNSTREAM, 0))
    while not recorder.pushed:
        await asyncio.sleep(0)
    assert recorder.pushed == [activity]
    await observer.cleanup()  # type: ignore[no-untyped-call]


async def test_audio_is_passed_to_the_next_processor() -> None:
    first, second = Sink(), Sink()
    first.link(second)
    frame = InputAudioRawFrame(b"\1\0", 16000, 1)
    await pass_audio(first, frame)
    await pass_audio(second, frame)  # the last one: nobody takes it
    assert second.frames == [frame]


def test_a_pipeline_keeps_its_observers() -> None:
    recorder = Recorder()
    worker = PipelineWorker(Pipeline([Sink()]), observers=[recorder])
    before = list(worker._observer._observers)
    quieten(worker)
    assert isinstance(worker._observer, QuietObserver)
    assert worker._observer._observers == before
    assert recorder in before
