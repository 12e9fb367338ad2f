"""Audio passes our processors directly, and observers get everything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    UserSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FrameProcessed, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import (
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
)
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams

from appliance.gateway.direct_audio import (
    DirectAudio,
    NoAudioObserver,
    activity_seconds,
    exclude_audio_from_observers,
    pass_audio,
)


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
    observer = NoAudioObserver(observers=[recorder])
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
    exclude_audio_from_observers(worker)
    assert isinstance(worker._observer, NoAudioObserver)
    assert worker._observer._observers == before
    assert recorder in before


class Worker(DirectAudio):
    """Notes the frames that it has processed. A UserSpeakingFrame takes until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, UserSpeakingFrame):
            self.begun.set()
            await self.go.wait()
        self.frames.append(frame)

    async def wait_for(self, frame: Frame) -> None:
        while frame not in self.frames:
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def working() -> AsyncIterator[Worker]:
    tasks = TaskManager()
    tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    worker, pipeline_worker = Worker(), PipelineWorker(Pipeline([Sink()]))
    await worker.setup(FrameProcessorSetup(SystemClock(), tasks, pipeline_worker))
    start = StartFrame()
    await worker.queue_frame(start)
    await worker.wait_for(start)
    yield worker
    await worker.cleanup()  # type: ignore[no-untyped-call]


def audio() -> InputAudioRawFrame:
    return InputAudioRawFrame(bytes(1280), 16_000, 1)


async def test_audio_is_processed_at_once_if_nothing_waits() -> None:
    async with working() as worker:
        frame = audio()
        await worker.queue_frame(frame)
        assert worker.frames[-1] is frame


async def test_audio_does_not_overtake_what_was_queued_before_it() -> None:
    async with working() as worker:
        frames = [UserSpeakingFrame(), audio(), audio(), UserSpeakingFrame(), audio()]
        await worker.queue_frame(frames[0])
        await worker.queue_frame(frames[1])  # while the frame before is queued
        await worker.begun.wait()
        for frame in frames[2:]:  # while it is processed
            await worker.queue_frame(frame)
        assert len(worker.frames) == 1, "only the StartFrame"
        worker.go.set()
        await worker.wait_for(frames[-1])
        assert worker.frames[1:] == frames
        await worker.queue_frame(last := audio())
        assert worker.frames[-1] is last


async def test_processor_that_is_cancelled_takes_no_audio() -> None:
    async with working() as worker:
        await worker.queue_frame(cancel := CancelFrame())
        await worker.wait_for(cancel)
        await worker.queue_frame(audio())
        assert worker.frames[-1] is cancel


def test_signs_of_activity_are_more_frequent_than_idle_sessions_are_closed() -> None:
    assert activity_seconds(120.0) == 1.0
    assert activity_seconds(0.5) < 0.25
