"""What a Realtime client says and types, and the events about its input audio buffer. No I/O.

With turn detection, the pipeline reports when the user speaks. Without, the client commits its
audio itself, and then asks for a response to it.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.gateway.realtime.client_events import ItemCreate, not_supported
from appliance.gateway.realtime.conversation import ConversationItems
from appliance.gateway.realtime.items import MessageItem
from appliance.gateway.realtime.questions import BYTES_PER_SECOND, Questions
from appliance.gateway.realtime.server_events import Event


class UserInput:
    """The speech and the questions of one session.

    resample     converts a whole piece of 24 kHz PCM to 16 kHz
    transcripts  whether the client gets texts
    """

    def __init__(
        self,
        conversation: ConversationItems,
        questions: Questions,
        resample: Callable[[bytes], bytes],
        transcripts: bool,
    ) -> None:
        self._conversation = conversation
        self._questions = questions
        self._resample = resample
        self._transcripts = transcripts
        self._received_bytes = 0  # of the client's audio, at 16 kHz
        self._speech_began_bytes = 0  # `_received_bytes` when the latest speech began
        self._speech: MessageItem | None = None  # the user speaks
        self._latest: MessageItem | None = None  # the latest question with audio

    # --- the pipeline reports

    def speech_started(self) -> list[Event]:
        """A turn of the user has begun."""
        self._speech = self._new_spoken_item()
        self._speech_began_bytes = self._received_bytes
        return [self._speech_event("speech_started", "audio_start_ms", self._speech)]

    def speech_stopped(self) -> list[Event]:
        """The turn of the user has ended."""
        item, self._speech = self._speech, None
        if item is None:
            return []
        item.seconds = (self._received_bytes - self._speech_began_bytes) / BYTES_PER_SECOND
        return [self._speech_event("speech_stopped", "audio_end_ms", item), *self._committed(item)]

    def transcribed(self, text: str) -> list[Event]:
        """The words of the latest spoken question are known."""
        item = self._latest
        if item is None or not self._transcripts:
            return []
        item.transcript = text
        return [
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": item.id,
                "content_index": 1 if item.text else 0,
                "transcript": text,
                "usage": {"type": "duration", "seconds": round(item.seconds, 3)},
            }
        ]

    # --- the client sends

    def append(self, pcm: bytes, manual: bool) -> bytes:
        """Take 16 kHz PCM. Return what the pipeline gets: nothing if the client commits it itself.

        Raises RefusedEvent.
        """
        self._received_bytes += len(pcm)
        if not manual:
            return pcm
        self._questions.append(pcm)
        return b""

    def commit(self) -> list[Event]:
        """Make a question of the buffer. Raises RefusedEvent."""
        item = self._new_spoken_item()
        item.seconds = self._questions.commit(item.id)
        return self._committed(item)

    def clear(self) -> list[Event]:
        """Empty the buffer."""
        self._questions.clear()
        return [{"type": "input_audio_buffer.cleared"}]

    def create_item(self, event: ItemCreate) -> list[Event]:
        """Add a message of the user, with text, audio or both. Raises RefusedEvent."""
        item = MessageItem(
            id=self._conversation.id_for(event),
            role="user",
            text=event.text,
            has_audio=bool(event.pcm),
        )
        pcm = self._resample(event.pcm) if event.pcm else b""
        self._questions.add(item.id, event.text, pcm)
        if item.has_audio:
            item.seconds = len(pcm) / BYTES_PER_SECOND
            self._latest = item
        return self._conversation.add_complete(item)

    def delete_item(self, item_id: str) -> list[Event]:
        """Remove an item that was not answered yet. Raises RefusedEvent."""
        item = self._conversation.find(item_id)
        if not self._questions.drop(item.id):
            raise not_supported("deleting what was said already", "item_id")
        return self._conversation.remove(item.id)

    def _new_spoken_item(self) -> MessageItem:
        return MessageItem(id=self._conversation.new_id("item"), role="user", has_audio=True)

    def _speech_event(self, kind: str, field: str, item: MessageItem) -> Event:
        milliseconds = 1000 * self._received_bytes // BYTES_PER_SECOND
        return {"type": f"input_audio_buffer.{kind}", field: milliseconds, "item_id": item.id}

    def _committed(self, item: MessageItem) -> list[Event]:
        self._latest = item
        committed = {
            "type": "input_audio_buffer.committed",
            "item_id": item.id,
            "previous_item_id": self._conversation.last_id,
        }
        return [committed, *self._conversation.add_complete(item)]
