"""The vocabulary of the golden checkpoint, and a vocabulary with Llama 3.1's pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from appliance.engines.llm.vllm.vocabulary import FILE, REQUIRED, SealedVocabulary
from appliance.errors import BadCheckpoint
from tests.engines.llm.vllm.texts import TEXTS, TINY, vocabulary

# From the tokenizer.json of Llama 3.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> SealedVocabulary:
    """Return a small tokenizer with Llama 3.1's pipeline, whose template adds a begin token."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(
        ["What is the weather in Paris?\n\nIt is an audio begin_of_text."], trainer
    )
    tokenizer.add_special_tokens(list(REQUIRED))
    begin = REQUIRED[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    folder = tmp_path_factory.mktemp("llama3")
    tokenizer.save(str(folder / FILE))
    return SealedVocabulary.load(folder)


@given(TEXTS)
def test_text_never_becomes_a_special_token(text: str) -> None:
    tokens = vocabulary().tokenize(text)
    assert all(token < vocabulary().size for token in tokens)
    assert vocabulary().decode(tokens) == text


@given(text=TEXTS)
def test_text_never_becomes_a_special_token_in_the_pipeline_of_llama_3(
    llama3: SealedVocabulary, text: str
) -> None:
    tokens = llama3.tokenize(text)
    assert all(token < llama3.size for token in tokens)
    assert llama3.decode(tokens) == text


@given(st.text(st.characters(categories=["Cs", "Lu"])))
def test_unpaired_surrogate_becomes_a_question_mark(text: str) -> None:
    """JSON can contain such text, but UTF-8 cannot encode it."""
    tokens = vocabulary().tokenize(text)
    assert vocabulary().decode(tokens) == text.encode("utf-8", "replace").decode()


def test_complete_tokenizer_recognizes_special_tokens_in_a_text() -> None:
    complete = Tokenizer.from_file(str(TINY / FILE))
    assert complete.encode("<|audio|>").ids == [vocabulary().audio]


def test_special_tokens_are_found_by_name() -> None:
    assert vocabulary().special("<|eot_id|>") == 510
    assert vocabulary().audio == vocabulary().special("<|audio|>") == 512
    with pytest.raises(KeyError):
        vocabulary().special("<|end_of_turn|>")


def load_spec() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads((TINY / FILE).read_text(encoding="utf-8"))
    return spec


@pytest.mark.parametrize("name", REQUIRED)
def test_tokenizer_without_a_required_token_is_refused(tmp_path: Path, name: str) -> None:
    spec = load_spec()
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] != name]
    (tmp_path / FILE).write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match=f"no {name[:3]}"):
        SealedVocabulary.load(tmp_path)


def test_special_token_with_the_id_of_a_text_token_is_refused(tmp_path: Path) -> None:
    spec = load_spec()
    next(iter(spec["added_tokens"]))["id"] = 7
    (tmp_path / FILE).write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="mixes"):
        SealedVocabulary.load(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"added_tokens": [{}]}'])
def test_file_that_is_not_a_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        SealedVocabulary.load(tmp_path)
