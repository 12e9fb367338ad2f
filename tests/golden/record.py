"""Record reference.json of both golden folders with the code of the model's authors.

    python -m tests.golden.record ULTRAVOX [FOLDER...]

ULTRAVOX is a checkout of github.com/fixie-ai/ultravox, in which this was run at 4ab3823e6f57 of
29 July 2025. It is not a dependency of this project, and this is not part of its tests. It needs a
Python 3.11 of its own, without a GPU:

    pip install torch==2.13.0 transformers==4.51.3 accelerate==1.15.0 peft==0.15.2 \
        numpy safetensors

A single clip is recorded with their code as it is. In a conversation with several clips, each clip
is recorded alone: README.md says why.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from tests.golden.clips import Clips, Samples

HERE = Path(__file__).parent
TODAY = "26 Jul 2024"
TOKENS = 16  # of each reply
# System prompts to try, and the margin that is enough. With a margin, small differences of an
# implementation do not change the tokens.
PROMPTS = 60
ENOUGH = 0.05  # nats
ANSWERS = ("hello there", "I see. Go on.", "That is a good question!")


@dataclass(frozen=True)
class Case:
    """Lengths of the clips in seconds; `system` and `text` are what else the user gives."""

    seconds: tuple[float, ...]
    system: str | None = None
    text: str = ""


SINGLE = {
    "one_1s": Case((1.0,), ""),
    "sys_2.4s": Case((2.37,), "You are a helpful assistant.", "Transcribe"),
}
SEVERAL = {
    "two_3.9_6.0": Case((3.91, 6.02)),
    "two_6.0_3.9": Case((6.02, 3.91)),
    "two_0.3_10.0": Case((0.33, 9.99)),
    "two_whole_tokens": Case((1.28, 5.12)),
    "same_twice": Case((2.37, 2.37)),
    "three_0.7_3.9_6.0": Case((0.7, 3.91, 6.02)),
    "three_6.0_0.7_3.9": Case((6.02, 0.7, 3.91)),
    "four_0.7_2.4_6.0_3.9": Case((0.7, 2.37, 6.02, 3.91)),
    "four_same_first_last": Case((2.37, 1.0, 0.51, 2.37)),
    "two_0.7_31.4": Case((0.7, 31.37)),
    "three_31.4_2.4_3.9": Case((31.37, 2.37, 3.91)),
}
MULTI = {"multi": Case((2.37, 5.0), "You are helpful.")}
LONG = {"long45": Case((45.0,), "")}
CASES: Mapping[str, Mapping[str, Case]] = {
    "ultravox-tiny": SINGLE | MULTI | LONG | SEVERAL,
    "ultravox-tiny-2": SINGLE | SEVERAL,
}
# The clips that have a name in audio.npz, and the array that the others are cut from.
NAMED = {
    "ultravox-tiny": {1.0: "a1", 2.37: "a2", 5.0: "a3", 45.0: "a45"},
    "ultravox-tiny-2": {31.37: "b31"},
}
SOURCE = {"ultravox-tiny": "a45", "ultravox-tiny-2": "b31"}


def clip_name(folder: str, seconds: float) -> str:
    """Return the name of the clip of this length; each begins elsewhere in its array."""
    if seconds in NAMED[folder]:
        return NAMED[folder][seconds]
    start = 16_000 * (int(seconds * 100) % 13)
    return f"{SOURCE[folder]}[{start}:{start + round(seconds * 16_000)}]"


@dataclass(frozen=True)
class Recording:
    """Prompt and reply: the logits of each step, and the tokens."""

    features: Any
    logits: list[npt.NDArray[np.float64]]
    tokens: list[int]

    @property
    def margin(self) -> float:
        """How much more likely than any other the tokens are, in the closest step; in nats."""
        return min(float(np.diff(np.sort(logits)[-2:])[0]) for logits in self.logits)


class Authors:
    """The authors' model and processor with a checkpoint, in float32."""

    def __init__(self, checkpoint: Path) -> None:
        config_class = importlib.import_module("ultravox.model.ultravox_config").UltravoxConfig
        model_class = importlib.import_module("ultravox.model.ultravox_model").UltravoxModel
        processing = importlib.import_module("ultravox.model.ultravox_processing")
        tree = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        tree["audio_config"] |= {"_name_or_path": "openai/whisper", "torch_dtype": "float32"}
        tree["torch_dtype"] = "float32"
        self.model = model_class.from_pretrained(
            str(checkpoint), config=config_class(**tree), torch_dtype=torch.float32
        ).eval()
        extractor = transformers.WhisperFeatureExtractor.from_pretrained(str(checkpoint))
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(str(checkpoint))
        # Their processor wants a WhisperProcessor, which has a tokenizer of its own. It uses only
        # the feature extractor of it.
        whisper = transformers.WhisperProcessor.__new__(transformers.WhisperProcessor)
        whisper.feature_extractor = whisper.current_processor = extractor
        whisper._in_target_context_manager = False
        processor_class = processing.UltravoxProcessor
        # The base class would look for the class of the tokenizer by its name.
        processor_class.__mro__[1].__init__ = _set_attributes
        self.processor = processor_class(audio_processor=whisper, tokenizer=tokenizer)

    def features(self, text: str | None, clips: Sequence[Samples]) -> Any:
        """Run their processor on a prompt with `<|audio|>` for each clip, or without a prompt."""
        return self.processor(
            text=text, audios=list(clips), sampling_rate=16_000, include_audio_num_chunks=True
        )

    def embed_whole(self, features: Any) -> torch.Tensor:
        """Embed a prompt with all its clips in one batch, as their code does it."""
        return self.model._prepare_audio_embeds(
            inputs_embeds=self.model.get_input_embeddings()(features["input_ids"]).clone(),
            **{
                name: features[name]
                for name in (
                    "audio_values", "audio_token_start_idx", "audio_lens", "audio_token_len",
                    "audio_batch_size",
                )
            },
        )  # fmt: skip

    def embed_clip_by_clip(self, features: Any, clips: Sequence[Samples]) -> torch.Tensor:
        """Embed a prompt with its clips, each encoded on its own and in pieces without padding."""
        embeds = self.model.get_input_embeddings()(features["input_ids"]).clone()
        pieces = [piece for clip in clips for piece in self._encode_alone(clip)]
        for start, piece in zip(features["audio_token_start_idx"].tolist(), pieces, strict=True):
            embeds[0, start : start + len(piece)] = piece
        return embeds

    def _encode_alone(self, clip: Samples) -> Iterator[torch.Tensor]:
        features = self.features(None, [clip])
        for mel, frames in zip(
            features["audio_values"], features["audio_lens"].tolist(), strict=True
        ):
            encoded = self.model.audio_tower(
                mel[None, :, :frames], audio_len=torch.tensor([frames])
            )
            yield self.model.multi_modal_projector(encoded.last_hidden_state)[0]

    def reply(self, embeds: torch.Tensor) -> tuple[list[npt.NDArray[np.float64]], list[int]]:
        """Return the logits of each step of a greedy reply, and its tokens; nothing stops it."""
        logits, tokens, cache = list[npt.NDArray[np.float64]](), list[int](), None
        while len(tokens) < TOKENS:
            output = self.model.language_model(
                inputs_embeds=embeds, past_key_values=cache, use_cache=True
            )
            logits.append(output.logits[0, -1].numpy().astype(np.float64))
            tokens.append(int(logits[-1].argmax()))
            cache = output.past_key_values
            embeds = self.model.get_input_embeddings()(torch.tensor([tokens[-1:]]))
        return logits, tokens


def _set_attributes(processor: Any, **attributes: Any) -> None:
    for name, value in attributes.items():
        setattr(processor, name, value)


def render(system: str, text: str, clips: int) -> str:
    """Return a prompt in the format published for Llama 3.1, with `<|audio|>` for each clip."""
    turns = [
        (
            "system",
            f"Cutting Knowledge Date: December 2023\nToday Date: {TODAY}\n\n{system}",
        )
    ]
    for number in range(clips):
        if number:
            turns.append(("assistant", ANSWERS[number - 1]))
        turns.append(("user", f"{text}\n<|audio|>" if text else "<|audio|>"))
    turns.append(("assistant", ""))
    blocks = [f"<|start_header_id|>{role}<|end_header_id|>\n\n{content}" for role, content in turns]
    return "<|begin_of_text|>" + "<|eot_id|>".join(blocks)


def record(authors: Authors, case: Case, names: Sequence[str], audio: Clips) -> dict[str, Any]:
    """Record a case, with a system prompt that leads to clear decisions unless it has one."""
    clips = [audio.samples(name) for name in names]
    best: Recording | None = None
    for number in range(1, PROMPTS + 1):
        system = f"Conversation {number}." if case.system is None else case.system
        features = authors.features(render(system, case.text, len(clips)), clips)
        if len(clips) > 1:
            embeds = authors.embed_clip_by_clip(features, clips)
        else:
            embeds = authors.embed_whole(features)
        recording = Recording(features, *authors.reply(embeds))
        if best is None or recording.margin > best.margin:
            best = recording
        if case.system is not None or best.margin > ENOUGH:
            break
    assert best is not None
    whole_logits, whole_tokens = authors.reply(authors.embed_whole(best.features))
    difference = np.abs(log_softmax(best.logits[0]) - log_softmax(whole_logits[0])).max()
    return {
        "input_ids": best.features["input_ids"][0].tolist(),
        "audio": list(names),
        "recorded": "clip by clip" if len(clips) > 1 else "whole",
        "whole_differs_by": round(float(difference), 4),
        "whole_equal_tokens": count_equal(best.tokens, whole_tokens),
        "margin": round(best.margin, 4),
        "last_logits": [round(float(value), 6) for value in best.logits[0]],
        "greedy_16": best.tokens,
    }


def log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def count_equal(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of leading tokens that are equal."""
    pairs = zip(first, second, strict=True)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=__doc__)
    parser.add_argument("ultravox", type=Path)
    parser.add_argument("folders", nargs="*", metavar="folder", help=", ".join(CASES))
    args = parser.parse_args(arguments)
    sys.path.insert(0, str(args.ultravox.resolve()))
    torch.set_grad_enabled(False)
    for folder in args.folders or CASES:
        authors, audio = Authors(HERE / folder / "checkpoint"), Clips(HERE / folder)
        lines = []
        for name, case in CASES[folder].items():
            names = [clip_name(folder, seconds) for seconds in case.seconds]
            recorded = record(authors, case, names, audio)
            lines.append(f"{json.dumps(name)}: {json.dumps(recorded)}")
            print(
                f"{folder:16} {name:22} in one batch: {recorded['whole_differs_by']:.4f}, "
                f"{recorded['whole_equal_tokens']} of {TOKENS} tokens equal; "
                f"margin {recorded['margin']:.3f}",
                flush=True,
            )
        text = "{" + ",\n".join(lines) + "}\n"
        (HERE / folder / "reference.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
