"""The recorded reference: cases with the replies of the model authors' implementation.

README.md describes the folder. A case records only token ids. The conversation is reconstructed
from them, so that it can be requested over the link.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from appliance.link.engine import ChatMessage, Role
from appliance.link.utterance import Utterance
from tests.golden.clips import Clips

FOLDERS = tuple(Path(__file__).with_name(name) for name in ("ultravox-tiny", "ultravox-tiny-2"))
DATE_LINES = re.compile(r"Cutting Knowledge Date: [^\n]*\nToday Date: ([^\n]*)\n\n")


@dataclass(frozen=True)
class Case:
    """One question and its reply.

    prompt    token ids, with a run of filler tokens (end of turn) for each clip
    clips     names of the clips, in order
    logprobs  natural log-probabilities of the reply's first token, for the whole vocabulary
    greedy    token ids of the reply
    """

    name: str
    prompt: list[int]
    clips: list[str]
    logprobs: npt.NDArray[np.float64]
    greedy: list[int]


class Reference:
    """All cases of a folder."""

    def __init__(self, folder: Path) -> None:
        """Load `folder`. Raises OSError, ValueError or KeyError if its layout is wrong."""
        recorded = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        self._audio = Clips(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "checkpoint" / "tokenizer.json"))
        self._header = self._token_id("<|start_header_id|>")
        self._header_end = self._token_id("<|end_header_id|>")
        self.filler = self._token_id("<|eot_id|>")
        self.folder = folder
        self.checkpoint = folder / "checkpoint"
        self.cases = [
            Case(
                name,
                case["input_ids"],
                case["audio"],
                log_softmax(np.asarray(case["last_logits"], np.float64)),
                case["greedy_16"],
            )
            for name, case in recorded.items()
        ]
        # Each clip of each case has an id of its own, also a clip that is heard twice.
        ids = itertools.count(1)
        self._utterances = {case.name: [next(ids) for _ in case.clips] for case in self.cases}

    @property
    def today(self) -> str:
        """Return the date in the prompts. Raises ValueError if they differ."""
        dates = {date for case in self.cases for date in DATE_LINES.findall(self._system(case))}
        if len(dates) != 1:
            raise ValueError(f"the cases have {len(dates)} dates instead of one: {sorted(dates)}")
        return str(dates.pop())

    def conversation(self, case: Case) -> tuple[ChatMessage, ...]:
        """Return the turns of a case, which refer to its utterances."""
        utterances = iter(self._utterances[case.name])
        instructions = DATE_LINES.sub("", self._system(case)).strip()
        turns = [ChatMessage("system", instructions)] if instructions else []
        for role, body in list(self._turns(case))[1:]:
            text = self._text([token for token in body if token != self.filler])
            utterance = next(utterances) if self.filler in body else None
            turns.append(ChatMessage(cast(Role, role), text.strip(), utterance))
        return tuple(turns)

    def utterances(self, case: Case) -> list[Utterance]:
        """Return the audio of a case as int16, the format that a client sends."""
        utterances = []
        for id, name in zip(self._utterances[case.name], case.clips, strict=True):
            utterance = Utterance(id)
            utterance.pcm += self._audio.pcm(name).tobytes()
            utterance.complete = True
            utterances.append(utterance)
        return utterances

    def _token_id(self, token: str) -> int:
        id = self._tokenizer.token_to_id(token)
        if id is None:
            raise ValueError(f"the tokenizer has no token {token}")
        return id

    def _turns(self, case: Case) -> Iterator[tuple[str, list[int]]]:
        """Return role and content of each turn except the last, which is open for the reply."""
        starts = [at for at, token in enumerate(case.prompt) if token == self._header]
        for start, stop in itertools.pairwise(starts):
            end = case.prompt.index(self._header_end, start)
            yield self._text(case.prompt[start + 1 : end]), case.prompt[end + 1 : stop - 1]

    def _system(self, case: Case) -> str:
        return self._text(next(self._turns(case))[1])

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))


def log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Natural log-probabilities."""
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
