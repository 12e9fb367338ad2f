"""Cheap hops: audio passes processors without Pipecat's events and observers.

Most frames of a pipeline are audio: 25 to 50 a second in each direction of a call. For each
processor that a frame passes, Pipecat puts it into a queue, wakes a task, calls observers and
formats log messages. Audio skips all of this at our own processors, and observers, which ignore
audio, do not get it. docs/performance.md has the savings.
"""

from __future__ import annotations

from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.observers.base_observer import FrameProcessed, FramePushed
from pipecat.pipeline.worker import PipelineWorker
from pipecat.pipeline.worker_observer import WorkerObserver
from pipecat.processors.frame_processor import FrameProcessor

Audio = InputAudioRawFrame | OutputAudioRawFrame


async def pass_audio(processor: FrameProcessor, frame: Audio) -> None:
    """Pass audio downstream to the next processor, without observers and events."""
    if processor.next is not None:
        await processor.next.queue_frame(frame)


class QuietObserver(WorkerObserver):
    """Tells the observers of a pipeline about every frame that is pushed, except audio.

    It does not report processed frames: Pipecat's observers for clients and for idle pipelines use
    pushed frames only.
    """

    async def on_process_frame(self, data: FrameProcessed) -> None:
        """Report nothing."""

    async def on_push_frame(self, data: FramePushed) -> None:
        if not isinstance(data.frame, Audio):
            await super().on_push_frame(data)


def quieten(worker: PipelineWorker) -> None:
    """Replace the observer of a pipeline that does not run yet. Pipecat has no hook for it."""
    worker._observer = QuietObserver(observers=worker._observer._observers)
