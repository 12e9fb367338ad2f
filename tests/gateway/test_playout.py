"""What a paused bot sends again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gateway.playout import (
    MAX_REPEATS,
    Item,
    PhraseEnd,
    PhraseStart,
    Playout,
    Rewind,
)
from appliance.gateway.speech.heard import HeardText

LEAD_SECONDS = 0.4
RATE = 10  # bytes per second: one byte is a chunk of 0.1 s


def sent(*items: Item) -> Playout:
    playout = Playout(LEAD_SECONDS, RATE)
    for item in items:
        playout.sent(item)
    return playout


def chunks(letters: str) -> list[Item]:
    return [letter.encode() for letter in letters]


def phrase(text: str) -> list[Item]:
    """Return a whole phrase; each of its letters is one chunk."""
    return [PhraseStart(text), *chunks(text), PhraseEnd()]


def pending(playout: Playout) -> list[Item]:
    items: list[Item] = []
    while (item := playout.next_pending()) is not None:
        items.append(item)
    return items


def test_phrase_that_was_cut_off_is_sent_again_from_its_start() -> None:
    playout = sent(*phrase("first"), PhraseStart("second"), *chunks("secon"))
    assert playout.misses(0.4)
    assert playout.rewind(0.4) == Rewind(("second",), 0.0, 0.1)
    assert pending(playout) == [PhraseStart("second", 1), *chunks("secon")]


def test_phrase_whose_end_was_not_played_is_sent_again_with_the_next_one() -> None:
    playout = sent(*phrase("first"), PhraseStart("second"), *chunks("se"))
    assert playout.rewind(0.4) == Rewind(("first", "second"), 0.0, 0.3)
    assert pending(playout) == [
        PhraseStart("first", 1), *chunks("first"), PhraseEnd(),
        PhraseStart("second"), *chunks("se"),
    ]  # fmt: skip


def test_nothing_is_sent_again_if_the_phrases_were_played_to_their_end() -> None:
    for playout in (sent(), sent(*phrase("first")), sent(*phrase("first"), PhraseStart("second"))):
        assert not playout.misses(0.0)
        assert playout.rewind(0.0) is None
        assert pending(playout) == []


def test_phrase_that_waits_for_its_audio_is_sent_again() -> None:
    playout = sent(PhraseStart("second"), *chunks("sec"))
    assert playout.rewind(0.0) == Rewind(("second",), 0.0, 0.3)


def test_pause_while_a_phrase_is_sent_again_loses_nothing() -> None:
    playout = sent(PhraseStart("second"), *chunks("second"))
    playout.rewind(0.4)
    for _ in range(3):
        item = playout.next_pending()
        assert item is not None
        playout.sent(item)
    assert playout.rewind(0.1) == Rewind(("second",), 0.0, 0.1)
    assert pending(playout) == [PhraseStart("second", 2), *chunks("second")]


def test_phrase_that_was_repeated_often_goes_on_where_it_stopped() -> None:
    playout = sent(PhraseStart("second", MAX_REPEATS), *chunks("second"))
    assert playout.rewind(0.2) == Rewind(("second",), 0.4, 0.4)
    assert pending(playout) == chunks("nd")


def test_interruption_forgets_everything() -> None:
    playout = sent(*phrase("first"))
    playout.rewind(0.4)
    playout.clear()
    assert pending(playout) == []
    assert playout.rewind(0.4) is None


def test_text_of_a_notice_does_not_belong_to_the_conversation() -> None:
    playout = sent(PhraseStart("notice"))
    playout.forget_text()
    playout.sent(b"n")
    assert playout.rewind(0.1) == Rewind(("",), 0.0, 0.0)


def test_phrases_that_were_played_are_dropped() -> None:
    playout = sent(*[item for number in range(100) for item in phrase(f"{number:03}-----")])
    assert len(playout._sent) <= 2 * len(phrase("000-----"))


class Listener:
    """A client that plays what was sent, and HeardText, which follows the sender."""

    def __init__(self) -> None:
        self.playout = Playout(LEAD_SECONDS, RATE)
        self.heard = HeardText()
        self.played = ""
        self.buffer = ""

    def send(self, item: Item, again: bool = False) -> None:
        self.playout.sent(item)
        match item:
            case PhraseStart(text) if again:
                self.heard.repeat_phrase(text)
            case PhraseStart(text):
                self.heard.begin_phrase(text)
            case PhraseEnd():
                self.heard.end_phrase()
            case bytes():
                self.heard.add_audio(1 / RATE)
                self.buffer += item.decode()
        ahead = int(LEAD_SECONDS * RATE)
        self.played += self.buffer[:-ahead]
        self.buffer = self.buffer[-ahead:]

    def pause_and_go_on(self, sent_again: int) -> None:
        """Pause, and send up to `sent_again` items again."""
        rewind = self.playout.rewind(len(self.buffer) / RATE)
        self.buffer = ""
        if rewind is not None:
            self.heard.rewind(rewind)
        self.send_pending(sent_again)

    def send_pending(self, count: int | None = None) -> None:
        while count is None or count > 0:
            item = self.playout.next_pending()
            if item is None:
                return
            self.send(item, again=True)
            count = None if count is None else count - 1


LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=5)
PAUSES = st.dictionaries(st.integers(0, 60), st.lists(st.integers(0, 20), min_size=1, max_size=3))


@settings(max_examples=300)
@given(LENGTHS, PAUSES)
def test_every_phrase_is_played_to_its_end_and_counted_once(
    lengths: list[int], pauses: dict[int, list[int]]
) -> None:
    """However often the bot is paused: between any two chunks, and while it repeats a phrase."""
    texts = texts_of(lengths)
    listener = Listener()
    for position, item in enumerate([item for text in texts for item in phrase(text)]):
        for sent_again in pauses.get(position, []):
            listener.pause_and_go_on(sent_again)
        listener.send_pending()
        listener.send(item)
    played = listener.played + listener.buffer
    assert listener.heard.take() == " ".join(texts)
    # In order, and nothing between the last start of a phrase and its end is missing.
    ends = [played.rfind(text) for text in texts]
    assert -1 not in ends and ends == sorted(ends)
    assert played.endswith(texts[-1])


def texts_of(lengths: list[int]) -> list[str]:
    """Return phrases of these lengths; each begins with a letter of its own."""
    return [chr(ord("a") + number) + "." * (size - 1) for number, size in enumerate(lengths)]


@settings(max_examples=300)
@given(LENGTHS, PAUSES, st.integers(0, 60), st.integers(0, 20))
def test_interrupted_reply_counts_as_far_as_it_was_ever_played(
    lengths: list[int], pauses: dict[int, list[int]], stop: int, sent_again: int
) -> None:
    """After the last pause, `sent_again` items were sent again when the user interrupts."""
    texts = texts_of(lengths)
    listener = Listener()
    for position, item in enumerate([item for text in texts for item in phrase(text)][:stop]):
        for again in pauses.get(position, []):
            listener.pause_and_go_on(again)
        listener.send_pending()
        listener.send(item)
    listener.pause_and_go_on(sent_again)
    heard = listener.heard.take(len(listener.buffer) / RATE).split()
    assert heard == texts[: len(heard)]
    for text in texts:
        if text in listener.played:
            assert text in heard
        if text[0] not in listener.played:
            assert text not in heard
