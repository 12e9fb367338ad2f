"""What becomes of the tokens of a reply: speech, a result that is put in, or a second attempt."""

from __future__ import annotations

import re
from collections.abc import Sequence

from appliance.engines.llm.small.hints.hint import Hint
from appliance.engines.llm.small.reply_draft import ReplyDraft
from appliance.link.engine import ChatMessage

MOON = "The moon is the only natural satellite of the Earth."
QUESTION = ChatMessage("user", "What is the sun made of?")
COPIED_TURNS = (
    ChatMessage("user", "What is the moon?"),
    ChatMessage("assistant", MOON),
    QUESTION,
)


class Words:
    """A tokenizer with words as tokens; token 0 ends a reply."""

    def __init__(self) -> None:
        self._words = [""]

    def tokenize(self, text: str) -> list[int]:
        words = re.findall(r"\s*\w+|\s*[^\w\s]", text)
        self._words += [word for word in dict.fromkeys(words) if word not in self._words]
        return [self._words.index(word) for word in words]

    def piece(self, token: int) -> bytes:
        return self._words[token].encode()

    def is_control(self, token: int) -> bool:
        return token == 0


def draft_of(
    words: Words, turns: Sequence[ChatMessage] = (QUESTION,), hint: Hint | None = None
) -> tuple[ReplyDraft, list[str]]:
    """Return a draft after a prompt of two tokens, and a list that grows with each copy."""
    copies: list[str] = []
    prompt = words.tokenize("a prompt")
    draft = ReplyDraft(words, prompt, turns, hint or Hint(), (), lambda: copies.append("copy"))
    return draft, copies


def decode(draft: ReplyDraft, words: Words, text: str) -> str:
    """Add the tokens of a text and the end, until the reply is begun again. Return the speech."""
    spoken = ""
    for token in [*words.tokenize(text), 0]:
        spoken += draft.add(token)
        if draft.is_empty:
            break
    return spoken


def test_tokens_are_spoken_until_the_model_ends_the_reply() -> None:
    words = Words()
    draft, _ = draft_of(words)
    assert draft.begin() == "" and draft.is_empty
    assert decode(draft, words, "It is hot gas.") == "It is hot gas."
    assert draft.is_complete and draft.finish() == "" and draft.call is None


def test_beginning_of_the_hint_is_spoken_and_precedes_the_tokens_of_the_model() -> None:
    words = Words()
    draft, _ = draft_of(words, hint=Hint(beginning="The sun is"))
    assert draft.begin() == "The sun is"
    assert not draft.is_complete and not draft.is_empty
    assert decode(draft, words, " hot gas.") == " hot gas."


def test_whole_reply_of_a_hint_needs_no_token_of_the_model() -> None:
    draft, _ = draft_of(Words(), hint=Hint(beginning="Hydrogen and helium."))
    assert draft.begin() == "Hydrogen and helium."
    assert draft.is_complete


def test_result_of_a_stated_sum_is_put_in() -> None:
    words = Words()
    draft, _ = draft_of(words)
    draft.begin()
    assert decode(draft, words, "Fifty minus eighteen equals") == "Fifty minus eighteen equals 32"


def test_copy_is_not_spoken_and_begun_again_with_its_words_avoided() -> None:
    words = Words()
    draft, copies = draft_of(words, COPIED_TURNS)
    draft.begin()
    assert decode(draft, words, MOON) == ""
    assert not draft.is_complete and draft.is_empty
    assert set(words.tokenize(" moon satellite Earth")) <= set(draft.avoided)
    assert not set(words.tokenize(".")) & set(draft.avoided)
    assert decode(draft, words, "It is hot gas.") == "It is hot gas."
    assert draft.is_complete and copies == ["copy"]


def test_second_copy_is_spoken_at_the_third_attempt_without_a_penalty() -> None:
    words = Words()
    draft, copies = draft_of(words, COPIED_TURNS)
    draft.begin()
    assert decode(draft, words, MOON) == "" and decode(draft, words, MOON) == ""
    assert not draft.avoided
    assert decode(draft, words, MOON) == MOON
    assert draft.is_complete and copies == ["copy"]
