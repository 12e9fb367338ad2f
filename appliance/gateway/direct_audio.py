"""Audio passes our processors directly, without Pipecat's queues, events and observers.

Most frames of a pipeline are audio: 25 to 50 a second in each direction of a call. For each
processor that a frame passes, Pipecat puts it into a queue, wakes a task, calls observers and
formats log messages. Audio skips all of this at our own processors, and observers, which ignore
audio, do not get it. docs/performance.md has the savings.
"""

from __future__ import annotations

from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame, SystemFrame
from pipecat.observers.base_observer import FrameProcessed, FramePushed
from pipecat.pipeline.worker import PipelineWorker
from pipecat.pipeline.worker_observer import WorkerObserver
from pipecat.processors.frame_processor import FrameCallback, FrameDirection, FrameProcessor

Audio = InputAudioRawFrame | OutputAudioRawFrame
ACTIVITY_SECONDS = 1.0  # at most between two frames that keep a session from being idle


async def pass_audio(processor: FrameProcessor, frame: Audio) -> None:
    """Pass audio downstream to the next processor, without observers and events."""
    if processor.next is not None:
        await processor.next.queue_frame(frame)


def activity_seconds(idle_seconds: float) -> float:
    """Return the time between two UserSpeakingFrames, and between two BotSpeakingFrames.

    They pass all processors, only to keep the session from being idle for `idle_seconds`. Pipecat
    sends them five times a second.
    """
    return min(ACTIVITY_SECONDS, idle_seconds / 4)


class DirectAudio(FrameProcessor):
    """A processor that takes the microphone's audio at once if nothing waits in its queue.

    Audio keeps its place among the other system frames: while one of them is queued or processed,
    audio is queued behind it. An error in the processing of a frame leaves it in the count, so that
    all later audio takes the queue.
    """

    _system_frames = 0  # queued, or being processed

    async def take_audio(self, frame: InputAudioRawFrame) -> None:
        """Process audio. It must not wait: system frames would be processed meanwhile."""
        await self.process_frame(frame, FrameDirection.DOWNSTREAM)

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        if self._cancelling:
            return
        if not self._system_frames and isinstance(frame, InputAudioRawFrame):
            await self.take_audio(frame)
            return
        if isinstance(frame, SystemFrame):
            self._system_frames += 1
            callback = self._processed
        await super().queue_frame(frame, direction, callback)

    async def _processed(self, *_: object) -> None:
        self._system_frames -= 1


class NoAudioObserver(WorkerObserver):
    """Tells the observers of a pipeline about every frame that is pushed, except audio.

    It does not report processed frames: Pipecat's observers for clients and for idle pipelines use
    pushed frames only.
    """

    async def on_process_frame(self, data: FrameProcessed) -> None:
        """Report nothing."""

    async def on_push_frame(self, data: FramePushed) -> None:
        if not isinstance(data.frame, Audio):
            await super().on_push_frame(data)


def exclude_audio_from_observers(worker: PipelineWorker) -> None:
    """Replace the observer of a pipeline that does not run yet. Pipecat has no hook for it."""
    worker._observer = NoAudioObserver(observers=worker._observer._observers)
