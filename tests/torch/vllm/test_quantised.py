"""A quantized text model must not make the model mishear, a fault that would go unnoticed.

vLLM 0.32 quantizes the audio tower and the projector along with the text model, unless the config
tells it not to. Typed questions are then answered as well as before, and spoken ones are not. Our
builder writes that config. Here its folder answers both, compared with the unquantized model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio

from appliance.engines.llm.vllm.prompt import Llama3Format
from appliance.engines.llm.vllm.vocabulary import SealedVocabulary
from appliance.errors import BadCheckpoint
from appliance.gpu_proof.scoring import ScoringEngine, ScoringSession, create_vllm_engine
from appliance.link.engine import ChatMessage
from appliance.weights import checkpoint
from ops.bundle.ultravox import build, find_inputs
from tests.engines.llm.turns import hear
from tests.golden.comparison import TOLERANCES, logprobs_needed
from tests.golden.parts import CHECKPOINT, PREFIX, floats, load, take_apart
from tests.golden.reference import Reference, log_softmax
from tests.torch.conftest import VLLM, quiet_environment, vllm_settings
from tests.torch.vllm.conftest import reply_tokens

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "hello what is the weather in london transcribe a lazy system say so and tell me more"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an int8 Llama, built from its parts."""
    folder = tmp_path_factory.mktemp("quantized")
    build(
        find_inputs(*take_apart(folder / "parts", "int8")), folder / "model", report=lambda _: None
    )
    return folder / "model"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(model: Path, reference: Reference) -> AsyncIterator[ScoringSession]:
    quiet_environment()
    # In bfloat16, as in production: some CPUs have no int8 product of float32.
    engine = create_vllm_engine(
        vllm_settings(PATHS_WEIGHTS=str(model.parent), LLM_MODEL=model.name, LLM_DTYPE="bfloat16")
    )
    await engine.start()
    session = ScoringEngine(engine, logprobs_needed(reference)).open()
    yield session
    await session.close()
    await engine.stop()


async def test_spoken_questions_are_answered_as_accurately_as_typed_ones(
    session: ScoringSession, reference: Reference
) -> None:
    typed = [
        await difference(session, conversation, unquantized_logprobs(conversation))
        for conversation in typed_conversations()
    ]
    spoken = []
    for case in reference.cases:
        for utterance in reference.utterances(case):
            hear(session, utterance.id, bytes(utterance.pcm))
        spoken.append(await difference(session, reference.conversation(case), case.logprobs))
    print(f"typed within {max(typed):.3f}, spoken within {max(spoken):.3f}")
    # The largest of few values scatters: 0.096 and 0.101 were seen here. Of 40 each, against the
    # same model in bfloat16, they were 0.134 typed and 0.106 spoken, with medians of 0.084 and
    # 0.080. So the tolerance of bfloat16 is added. With a quantized audio tower the
    # difference is up to 3.
    assert max(spoken) <= max(typed) + TOLERANCES["bfloat16"]
    assert max(typed) < 0.25  # the comparison does not pass because both are wrong


async def test_model_without_its_ignore_list_is_refused(model: Path, tmp_path: Path) -> None:
    spoilt = Path(shutil.copytree(model, tmp_path / "model"))
    tree = json.loads((spoilt / "config.json").read_text(encoding="utf-8"))
    tree["quantization_config"]["ignore"] = ["lm_head"]
    (spoilt / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="mishear all audio"):
        checkpoint.read(spoilt)


async def difference(
    session: ScoringSession, conversation: Sequence[ChatMessage], expected: npt.NDArray[np.float64]
) -> float:
    """The largest difference of a log-probability of the reply's first token."""
    await reply_tokens(session, conversation, max_tokens=1)
    (first,) = session.scored
    assert len(first.logprobs) >= len(expected)
    differences = (abs(first.logprobs[token] - expected[token]) for token in range(len(expected)))
    return float(max(differences))


def typed_conversations() -> list[list[ChatMessage]]:
    """Questions of 3 to 60 words."""
    random = np.random.default_rng(1)
    return [
        [ChatMessage("user", " ".join(random.choice(TEXT.split(), 3 * number)))]
        for number in range(1, 21)
    ]


def unquantized_logprobs(conversation: Sequence[ChatMessage]) -> npt.NDArray[np.float64]:
    """Log-probabilities of the unquantized Llama in float32, by another implementation."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    prompt_format = Llama3Format(SealedVocabulary.load(CHECKPOINT))
    prompt = prompt_format.build_prompt(conversation, (), VLLM["LLM_TODAY"], {}, 4096)
    text = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))["text_config"]
    llama = LlamaForCausalLM(LlamaConfig(**text)).float().eval()
    weights = {
        name.removeprefix(PREFIX): torch.from_numpy(floats(stored).copy())
        for name, stored in load(CHECKPOINT / "model.safetensors").items()
        if name.startswith(PREFIX)
    }
    llama.load_state_dict(weights, strict=True)
    with torch.no_grad():
        logits = llama(torch.tensor([prompt.tokens])).logits[0, -1]
    return log_softmax(np.asarray(logits.tolist(), np.float64))
