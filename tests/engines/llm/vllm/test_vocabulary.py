"""On the golden checkpoint's tokenizer, and on one put together as Llama 3.1's is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from appliance.engines.llm.vllm.vocabulary import FILE, NEEDED, SealedVocabulary
from appliance.errors import BadCheckpoint
from tests.engines.llm.vllm.texts import TEXTS, TINY, sealed

# As in Llama 3's tokenizer.json.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> SealedVocabulary:
    """A small tokenizer with Llama 3.1's pipeline, and its template that adds a begin token."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(
        ["What is the weather in Paris?\n\nIt is an audio begin_of_text."], trainer
    )
    made.add_special_tokens(list(NEEDED))
    begin = NEEDED[0]
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, made.token_to_id(begin))]
    )
    folder = tmp_path_factory.mktemp("llama3")
    made.save(str(folder / FILE))
    return SealedVocabulary.load(folder)


@given(TEXTS)
def test_no_text_becomes_a_special_token(text: str) -> None:
    tokens = sealed().tokenize(text)
    assert all(token < sealed().size for token in tokens)
    assert sealed().decode(tokens) == text


@given(text=TEXTS)
def test_nor_with_the_pipeline_of_llama_3(llama3: SealedVocabulary, text: str) -> None:
    tokens = llama3.tokenize(text)
    assert all(token < llama3.size for token in tokens)
    assert llama3.decode(tokens) == text


@given(st.text(st.characters(categories=["Cs", "Lu"])))
def test_half_a_surrogate_pair_stops_nobody(text: str) -> None:
    """Such a text can come out of JSON; it cannot be written as UTF-8."""
    tokens = sealed().tokenize(text)
    assert sealed().decode(tokens) == text.encode("utf-8", "replace").decode()


def test_the_whole_tokenizer_would_have_made_one() -> None:
    whole = Tokenizer.from_file(str(TINY / FILE))
    assert whole.encode("<|audio|>").ids == [sealed().audio]


def test_special_tokens_are_known_by_name() -> None:
    assert sealed().special("<|eot_id|>") == 510
    assert sealed().audio == sealed().special("<|audio|>") == 512
    with pytest.raises(KeyError):
        sealed().special("<|end_of_turn|>")


def spec() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((TINY / FILE).read_text(encoding="utf-8"))
    return read


@pytest.mark.parametrize("name", NEEDED)
def test_a_model_without_one_of_them_is_refused(tmp_path: Path, name: str) -> None:
    changed = spec()
    changed["added_tokens"] = [one for one in changed["added_tokens"] if one["content"] != name]
    (tmp_path / FILE).write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match=f"no {name[:3]}"):
        SealedVocabulary.load(tmp_path)


def test_a_special_token_with_the_id_of_a_word_is_refused(tmp_path: Path) -> None:
    changed = spec()
    next(iter(changed["added_tokens"]))["id"] = 7
    (tmp_path / FILE).write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="mixes"):
        SealedVocabulary.load(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"added_tokens": [{}]}'])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        SealedVocabulary.load(tmp_path)
