"""A recorded reference: what was asked of the model authors' implementation, and what it answered.

The folder's layout is told in README.md beside this. A case records token ids only; the
conversation behind them is read back here, so that it can be asked through our whole path.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from appliance.link.engine import Said, Utterance

FIRST_LINES = re.compile(r"Cutting Knowledge Date: [^\n]*\nToday Date: ([^\n]*)\n\n")
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One question and its answer.

    prompt     the exact token ids; audio as runs of a filler, the end-of-turn token
    clips      the names of its audio, in order
    logprobs   natural log-probabilities of the answer's first token, over the whole vocabulary
    greedy     the answer's token ids
    """

    name: str
    prompt: list[int]
    clips: list[str]
    logprobs: npt.NDArray[np.float64]
    greedy: list[int]


class Reference:
    """All cases of a folder.

    Raises OSError, ValueError or KeyError when it is laid out otherwise.
    """

    def __init__(self, folder: Path) -> None:
        recorded = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        with np.load(folder / "audio.npz", allow_pickle=False) as audio:
            self._audio: dict[str, Samples] = {name: audio[name] for name in audio}
        self._tokenizer = Tokenizer.from_file(str(folder / "checkpoint" / "tokenizer.json"))
        self._header = self._tokenizer.token_to_id("<|start_header_id|>")
        self._header_end = self._tokenizer.token_to_id("<|end_header_id|>")
        self.filler: int = self._tokenizer.token_to_id("<|eot_id|>")
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

    @property
    def today(self) -> str:
        """The date that the prompts give. Raises ValueError unless it is one and the same."""
        days = {day for case in self.cases for day in FIRST_LINES.findall(self._system(case))}
        if len(days) != 1:
            raise ValueError(f"the cases give {len(days)} dates in place of one: {sorted(days)}")
        return str(days.pop())

    def conversation(self, case: Case) -> list[Said]:
        """The turns of a case; audio as int16, which is what a caller can send."""
        clips = iter(case.clips)
        system = FIRST_LINES.sub("", self._system(case)).strip()
        said = [Said("system", system)] if system else []
        for role, body in list(self._turns(case))[1:]:
            text = self._text([token for token in body if token != self.filler])
            utterance = self._utterance(next(clips)) if self.filler in body else None
            said.append(Said(role, text.strip(), utterance))  # type: ignore[arg-type]
        return said

    def _turns(self, case: Case) -> Iterator[tuple[str, list[int]]]:
        """Role and content tokens of each turn but the last, which is open for the answer."""
        starts = [at for at, token in enumerate(case.prompt) if token == self._header]
        for start, stop in itertools.pairwise(starts):
            end = case.prompt.index(self._header_end, start)
            yield self._text(case.prompt[start + 1 : end]), case.prompt[end + 1 : stop - 1]

    def _system(self, case: Case) -> str:
        return self._text(next(self._turns(case))[1])

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))

    def _utterance(self, name: str) -> Utterance:
        utterance = Utterance(list(self._audio).index(name) + 1)
        utterance.pcm += to_int16(self._audio[name])
        utterance.complete = True
        return utterance


def to_int16(samples: Samples) -> bytes:
    """16-bit PCM of samples in -1..1."""
    return bytes(np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes())


def log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Natural log-probabilities."""
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
