"""A quantised text model must not make the model mishear: the one fault that nobody would notice.

vLLM 0.32 quantises the audio tower and the projector along with the text model unless the config
tells it not to. What is typed is then answered as well as ever, what is said is not. Our builder
writes that config; here its folder answers both, compared with the model that is not quantised.
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
from appliance.link.client import EngineClient
from appliance.link.engine import Said, Studied, Turn
from appliance.weights import checkpoint
from ops.bundle.ultravox import build, inputs
from tests.golden.comparison import TOLERANCE
from tests.golden.parts import CHECKPOINT, PREFIX, floats, load, take_apart
from tests.golden.reference import Reference, log_softmax
from tests.torch.conftest import VLLM
from tests.torch.vllm.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "hello what is the weather in london transcribe a lazy system say so and tell me more"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an int8 Llama, built from its parts."""
    folder = tmp_path_factory.mktemp("quantised")
    build(inputs(*take_apart(folder / "parts", "int8")), folder / "model", say=lambda _: None)
    return folder / "model"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(model: Path) -> AsyncIterator[EngineClient]:
    # In bfloat16, as in production: some CPUs have no int8 product of float32.
    process = EngineProcess(
        PATHS_WEIGHTS=str(model.parent), LLM_MODEL=model.name, LLM_DTYPE="bfloat16"
    )
    try:
        await process.ready()
        client = EngineClient("llm", process.socket, stall_seconds=300)
        yield client
        await client.close()
    finally:
        process.kill()
        shutil.rmtree(process.folder, ignore_errors=True)


async def test_what_is_said_is_answered_as_rightly_as_what_is_typed(
    client: EngineClient, reference: Reference
) -> None:
    typed = [await far_off(client, said, plain(said)) for said in sentences()]
    heard = [
        await far_off(client, reference.conversation(case), case.logprobs)
        for case in reference.cases
    ]
    print(f"typed within {max(typed):.3f}, heard within {max(heard):.3f}")
    # Largest values of few samples scatter: 0.096 and 0.101 were seen here. Of 40 each, against
    # the same model in bfloat16, they were 0.134 typed and 0.106 heard, medians 0.084 and 0.080.
    # Hence what the reference allows any engine on top; quantised ears are off by up to 3.
    assert max(heard) <= max(typed) + TOLERANCE
    assert max(typed) < 0.25  # and not because all of it is wrong


async def test_the_same_model_without_its_ignore_list_is_refused(
    model: Path, tmp_path: Path
) -> None:
    spoilt = Path(shutil.copytree(model, tmp_path / "model"))
    tree = json.loads((spoilt / "config.json").read_text(encoding="utf-8"))
    tree["quantization_config"]["ignore"] = ["lm_head"]
    (spoilt / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="mishear all audio"):
        checkpoint.read(spoilt)


async def far_off(
    client: EngineClient, said: Sequence[Said], wanted: npt.NDArray[np.float64]
) -> float:
    """The largest difference of a log-probability of the answer's first token."""
    pieces = client.generate(said, 1, temperature=0.0, study=len(wanted))
    [first] = [piece async for piece in pieces if isinstance(piece, Studied)]
    assert len(first.logprobs) >= len(wanted)
    return max(abs(first.logprobs[token] - wanted[token]) for token in range(len(wanted)))


def sentences() -> list[list[Said]]:
    """Typed conversations of 3 to 60 words."""
    random = np.random.default_rng(1)
    return [
        [Said("user", " ".join(random.choice(TEXT.split(), 3 * number)))] for number in range(1, 21)
    ]


def plain(said: Sequence[Said]) -> npt.NDArray[np.float64]:
    """What the Llama answers that is not quantised, in float32, by another implementation."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    form = Llama3Format(SealedVocabulary.load(CHECKPOINT))
    turns = [Turn(turn.role, turn.text) for turn in said]
    prompt = form.prompt(turns, (), VLLM["LLM_TODAY"], {}, 4096)
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
