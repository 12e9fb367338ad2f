"""An HTML page with pairs of recordings to listen to, and their figures. No I/O."""

from __future__ import annotations

import base64
import html
import io
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.link.engine import OUTPUT_SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Pair:
    """One phrase, synthesized as a whole and streamed.

    whole_pcm, streamed_pcm     16-bit mono at OUTPUT_SAMPLE_RATE
    to_whole_db                 distance from the unstreamed voice with the same statistics
    to_today_db                 distance from the voice without streaming
    words_whole, words_streamed what the recognizer heard
    seconds_earlier             by how much the words begin earlier than in the whole phrase
    noise                       how far int8 alone moves what the phrase is compared with, in words;
                                empty if it was not measured
    """

    text: str
    whole_pcm: bytes
    streamed_pcm: bytes
    to_whole_db: float
    to_today_db: float
    words_whole: str
    words_streamed: str
    seconds_earlier: float = 0.0
    noise: str = ""

    @property
    def same_words(self) -> bool:
        return self.words_whole == self.words_streamed


_STYLE = """
body { font: 16px sans-serif; margin: 2em; max-width: 75em }
table { border-collapse: collapse }
td, th { padding: .3em .8em; border-bottom: 1px solid #ccc; text-align: left }
td.number { text-align: right }
.over { background: #fdd }
audio { width: 15em }
"""


def render(
    title: str, notes: Sequence[str], pairs: Iterable[Pair], to_whole_db: float, to_today_db: float
) -> str:
    """Return the page. Distances above the two limits and differing words are highlighted."""
    rows = "\n".join(_row(pair, to_whole_db, to_today_db) for pair in pairs)
    paragraphs = "\n".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<h1>{html.escape(title)}</h1>
{paragraphs}
<table>
<tr><th>phrase<th>whole<th>streamed<th>dB to unstreamed,<br>same statistics<th>dB to whole\
<th>heard</tr>
{rows}
</table>
</html>
"""


def _row(pair: Pair, to_whole_db: float, to_today_db: float) -> str:
    heard = html.escape(pair.words_streamed)
    if not pair.same_words:
        heard = f"{html.escape(pair.words_whole)} → {heard}"
    return (
        f"<tr><td>{html.escape(pair.text)}<td>{_player(pair.whole_pcm)}"
        f"<td>{_player(pair.streamed_pcm)}"
        f"{_number(pair.to_whole_db, to_whole_db)}{_number(pair.to_today_db, to_today_db)}"
        f"<td{'' if pair.same_words else ' class=over'}>{heard}</tr>"
    )


def _number(value: float, limit: float) -> str:
    return f'<td class="number{" over" if value > limit else ""}">{value:.1f}'


def _player(pcm: bytes) -> str:
    encoded = base64.b64encode(_wav(pcm)).decode("ascii")
    return f'<audio controls preload="none" src="data:audio/wav;base64,{encoded}"></audio>'


def _wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(OUTPUT_SAMPLE_RATE)
        file.writeframes(pcm)
    return buffer.getvalue()
