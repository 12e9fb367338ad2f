"""What one frame costs on its way through a pipeline, kept low.

Audio is most of what a pipeline carries: 25 to 50 frames a second and direction for each call. For
each processor that a frame passes, Pipecat enters it into a queue, wakes a task, tells observers,
and composes texts for its log. So audio passes our own processors without any of it, and observers,
which do not look at audio, are not told about it. docs/performance.md has what that saves.
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

    It does not tell them that a frame is processed: Pipecat's observers for clients and for idle
    pipelines ask for pushed frames only.
    """

    async def on_process_frame(self, data: FrameProcessed) -> None:
        """Tell nobody."""

    async def on_push_frame(self, data: FramePushed) -> None:
        if not isinstance(data.frame, Audio):
            await super().on_push_frame(data)


def quieten(worker: PipelineWorker) -> None:
    """Replace the observer of a pipeline that does not run yet. Pipecat has no hook for it."""
    worker._observer = QuietObserver(observers=worker._observer._observers)
