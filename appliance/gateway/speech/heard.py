"""Estimates how much of a reply the user has heard. No I/O.

heard_processor.py reports each phrase, then its audio as it is sent, then its end. Audio is sent
ahead of its playback. The transport knows how much of it is not played yet: less than the lead at
the start of a reply and after a stall of the synthesis.

After a pause of the bot (interruption_gate.py), phrases are sent again. They count once, and at
least as far as they were played before the pause.

Of a phrase that was not played to its end, those words count that were played. Where a word ends
is computed from the spoken lengths of the words (spoken_length.py), and from the length of the
phrase's audio, once it is known. A serial number therefore counts only when all of it was spoken.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass

from appliance.gateway.playout import Rewind
from appliance.gateway.speech.spoken_length import pause_after, spoken_lengths
from appliance.gateway.turns.backchannel import BotSpeech

# Spoken length per second, in letters of prose (spoken_length.py). Measured for Kokoro at speed 1
# on 24 phrases: 16 to 26, on average 20. Lower, so that no word counts that was not heard.
CHARS_PER_SECOND = 17.0
MAX_MEASURED_PHRASES = 32  # synthesized ahead of playback, or played again


@dataclass(slots=True)
class _Phrase:
    """A phrase whose audio is being sent, or was sent. Its text is empty if no words count.

    sent_seconds   of its audio
    heard_seconds  of its audio was played before a pause of the bot
    sent_whole     all of its audio was sent
    """

    text: str
    sent_seconds: float = 0.0
    heard_seconds: float = 0.0
    sent_whole: bool = False


class HeardText:
    """Collects the phrases that were sent, and returns the words of them that were played.

    `speed`: of the voice. `unplayed_seconds`, of several methods: how much of the audio sent so far
    is not played yet.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._chars_per_second = CHARS_PER_SECOND * speed
        self._complete: list[_Phrase] = []
        self._phrase = _Phrase("")
        self._played_count = 0  # how many of the complete phrases were played to their end
        self._recount = False  # whether repeated phrases count, because they were not taken yet
        self._taken = ""  # the text of the last `take`
        self._measured_seconds: OrderedDict[str, float] = OrderedDict()  # by phrase

    def measure(self, text: str, seconds: float) -> None:
        """Note the length of a phrase's audio, once all of it is synthesized."""
        self._measured_seconds[text.strip()] = seconds
        self._measured_seconds.move_to_end(text.strip())
        while len(self._measured_seconds) > MAX_MEASURED_PHRASES:
            self._measured_seconds.popitem(last=False)

    def begin_phrase(self, text: str) -> None:
        """Begin a phrase; the audio that follows belongs to it."""
        self._phrase = _Phrase(text.strip())

    def add_audio(self, seconds: float) -> None:
        """Add audio of the current phrase that was sent."""
        self._phrase.sent_seconds += seconds

    def end_phrase(self) -> None:
        """Complete the current phrase: all of its audio was sent."""
        self._phrase.sent_whole = True
        self._complete.append(self._phrase)
        self.begin_phrase("")

    def break_phrase(self) -> None:
        """Note that no more audio of the current phrase follows, or not before `restart_phrase`."""
        self._complete.append(self._phrase)
        self.begin_phrase("")

    def restart_phrase(self, text: str) -> None:
        """Begin a broken phrase again. What was heard of it counts."""
        self.end_phrase()  # of what was said meanwhile
        for index in range(len(self._complete) - 1, -1, -1):
            phrase = self._complete[index]
            if phrase.text == text.strip() and not phrase.sent_whole:
                del self._complete[index]
                self._played_count -= index < self._played_count
                heard_seconds = max(phrase.heard_seconds, phrase.sent_seconds)
                self._phrase = _Phrase(phrase.text, heard_seconds=heard_seconds)
                return
            if phrase.text:
                break
        self.begin_phrase(text)

    def pause_reply(self) -> None:
        """Note that the reply waits for the client, which plays all that was sent."""
        self._played_count = len(self._complete)

    def rewind(self, rewind: Rewind) -> None:
        """Go back to where the bot goes on after a pause. Text already taken is not counted again.

        The audio that follows belongs to the first of the phrases.
        """
        first, found = _Phrase(""), False
        for text in reversed(rewind.phrases):
            phrase = self._take_back(text)
            found |= phrase is not None
            first = phrase or _Phrase("")
        heard_seconds = max(first.heard_seconds, rewind.heard_seconds)
        self._phrase = _Phrase(first.text, rewind.played_seconds, heard_seconds)
        self._played_count = len(self._complete)
        self._recount = found

    def repeat_phrase(self, text: str) -> None:
        """Begin a phrase again whose audio was sent before the last `rewind`.

        What was heard of the first one before the pause still counts.
        """
        heard_seconds = self._phrase.heard_seconds if text.strip() == self._phrase.text else 0.0
        self.begin_phrase(text if self._recount else "")
        self._phrase.heard_seconds = heard_seconds

    def said(self, unplayed_seconds: float = 0.0) -> BotSpeech:
        """What the user has heard: a question counts from its start until the next phrase ends."""
        texts = [phrase.text for phrase in self._complete if phrase.text]
        before = texts[-1] if texts else self._taken
        if self._phrase.text.endswith("?") or before.endswith("?"):
            return BotSpeech.QUESTION
        return BotSpeech.STATEMENT if self._played(unplayed_seconds) else BotSpeech.NOTHING

    @property
    def latest(self) -> str:
        """The latest text of the bot, with all of the phrase that it speaks."""
        phrases = [phrase.text for phrase in (*self._complete, self._phrase)]
        return " ".join(filter(None, [self._taken, *phrases]))

    def take(self, unplayed_seconds: float = 0.0) -> str:
        """Return the text heard since the last call."""
        self._taken = self._played(unplayed_seconds)
        self._complete.clear()
        self._played_count = 0
        self.begin_phrase("")
        return self._taken

    def _take_back(self, text: str) -> _Phrase | None:
        """Remove and return the phrase sent last, if it has this text."""
        if text and text == self._phrase.text:
            phrase = self._phrase
            self.begin_phrase("")
            return phrase
        while text and self._complete:
            if self._complete[-1].text not in ("", text):
                return None
            if (phrase := self._complete.pop()).text:
                return phrase
        return None

    def _played(self, unplayed_seconds: float) -> str:
        """Return the words of all phrases that were played."""
        texts: list[str] = []
        phrases = [*self._complete, self._phrase]
        for index in range(len(phrases) - 1, -1, -1):
            phrase = phrases[index]
            if index < self._played_count:
                unplayed_seconds = 0.0
            texts.append(self._words(phrase, unplayed_seconds))
            unplayed_seconds = max(0.0, unplayed_seconds - phrase.sent_seconds)
        return " ".join(filter(None, reversed(texts)))

    def _words(self, phrase: _Phrase, unplayed_seconds: float) -> str:
        """Return the words of a phrase that were played."""
        if phrase.sent_whole and not unplayed_seconds:
            return phrase.text
        words, lengths = phrase.text.split(), spoken_lengths(phrase.text)
        ends = [end + i for i, end in enumerate(itertools.accumulate(lengths))]  # with a space each
        whole_seconds = phrase.sent_seconds if phrase.sent_whole else 0.0
        seconds = self._measured_seconds.get(phrase.text, whole_seconds)
        rate = ends[-1] / seconds if seconds and ends else self._chars_per_second
        played = rate * max(phrase.heard_seconds, phrase.sent_seconds - unplayed_seconds)
        if played <= 0.0:
            return ""
        heard = sum(
            end - pause_after(word) <= played for word, end in zip(words, ends, strict=True)
        )
        return phrase.text if heard == len(words) else " ".join(words[:heard])
