"""Tool calls and copies in the replies of a session, with a model that follows a script."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Hashable, Sequence

import numpy as np
import pytest

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.small.chat import ChatMLFormat
from appliance.engines.llm.small.llama import AbortFlag, AdvanceResult, RunningStep
from appliance.engines.llm.small.llama_thread import AsyncLanguageModel
from appliance.engines.llm.small.moonshine import Recognition
from appliance.engines.llm.small.pacing import PaceLimits
from appliance.engines.llm.small.sampling import Logits
from appliance.engines.llm.small.session import SmallSession
from appliance.engines.llm.small.transcriber import Transcriber
from appliance.engines.llm.small.worker import WorkerThread
from appliance.link.engine import (
    ChatMessage,
    Chunk,
    GenerateRequest,
    Result,
    Tool,
    ToolCall,
)
from appliance.settings import LLMConfig, TTSConfig
from tests.engines.llm.speech import synthesize

SYSTEM = ChatMessage("system", "You are friendly.")
TIME = Tool("current_time", "Tells the time.", '{"type": "object", "properties": {}}')
MOON = "The moon is the only natural satellite of the Earth."
SIMPLE = "It is a big ball of rock."
START, END = "<|im_start|>", "<|im_end|>"
VOCABULARY_TOKENS = 1000


class ScriptedModel:
    """The interface of `LanguageModel`, with words as tokens.

    It prefers the first of its texts that continues the reply so far, by `lead` over the next.
    """

    context_tokens = 500
    running: RunningStep | None = None

    def __init__(self) -> None:
        self._words = [START, END]
        self.texts: Sequence[str] = ()
        self.lead = 1.0
        self.prompts: list[str] = []

    def tokenize(self, text: str) -> list[int]:
        words = re.findall(r"\s*\w+|\s*[^\w\s]|\s+$", text)
        self._words += [word for word in dict.fromkeys(words) if word not in self._words]
        return [self._words.index(word) for word in words]

    def control(self, name: str) -> int | None:
        return self._words.index(name) if name in (START, END) else None

    def is_control(self, token: int) -> bool:
        return self._words[token] in (START, END)

    def piece(self, token: int) -> bytes:
        return b"" if self.is_control(token) else self._words[token].encode()

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(self._words[token] for token in tokens)

    def advance(
        self,
        owner: Hashable,
        tokens: Sequence[int],
        abort: AbortFlag,
        step_tokens: int,
        is_prompt: bool,
    ) -> AdvanceResult:
        if is_prompt:
            self.prompts.append(self.text(tokens))
        reply = self.text(tokens).rpartition("assistant\n")[2]
        said = self.tokenize(reply)
        scores: Logits = np.full(VOCABULARY_TOKENS, -100.0, np.float32)
        scores[self._words.index(END)] = -50.0
        for rank, text in enumerate(self.texts):
            planned = [*self.tokenize(text), self._words.index(END)]
            if planned[: len(said)] == said and len(planned) > len(said):
                token = planned[len(said)]
                scores[token] = max(scores[token], -rank * self.lead)
        return AdvanceResult(1, 0, scores)

    def cached(self, owner: Hashable, tokens: Sequence[int]) -> int:
        return 0

    def release(self, owner: Hashable) -> None:
        pass

    def close(self) -> None:
        pass


def recognize_nothing(samples: Samples, stop: Callable[[], bool]) -> Recognition:
    raise AssertionError("nothing was said")


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def metrics() -> LLMMetrics:
    return LLMMetrics()


@pytest.fixture
async def session(model: ScriptedModel, metrics: LLMMetrics) -> AsyncIterator[SmallSession]:
    language_model, thread = AsyncLanguageModel(), WorkerThread("no recognizer")
    language_model._model = model  # type: ignore[assignment]
    language_model.format = ChatMLFormat(model, [("What is the time?", "current_time()")])
    transcriber = Transcriber(thread, recognize_nothing)
    session = SmallSession(
        language_model, transcriber, metrics, LLMConfig(), PaceLimits.of(TTSConfig())
    )
    yield session
    await session.close()
    await language_model.stop()
    thread.stop()


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(-0.1, "Enter your number, Followed by the town key."), (-0.3, "All of the words.")],
)
async def test_question_in_parts_is_recognized_as_a_whole_if_a_part_is_unsure(
    session: SmallSession, confidence: float, words: str
) -> None:
    recognitions = [
        Recognition("Enter your number.", -0.5),
        Recognition("Followed by the town key.", confidence),
        Recognition("All of the words.", -0.1),
    ]

    def recognize(samples: Samples, stop: Callable[[], bool]) -> Recognition:
        return recognitions.pop(0)

    session._transcriber._recognize = recognize
    for utterance, text in ((1, "Enter your number"), (2, "followed by the pound key")):
        session.begin(utterance)
        session.add_audio(utterance, synthesize(text))
    assert await session.transcribe(1, 2) == words
    assert await session.transcribe(1, 2) == words
    session.forget(1)
    assert await session.transcribe(2) == "Followed by the town key."


async def ask(
    session: SmallSession,
    *turns: ChatMessage,
    tools: tuple[Tool, ...] = (TIME,),
    max_tokens: int = 100,
    speculative: bool = False,
) -> list[Chunk]:
    request = GenerateRequest((SYSTEM, *turns), max_tokens, 0.0, tools, speculative)
    return [chunk async for chunk in session.generate(request)]


def spoken(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk for chunk in chunks if isinstance(chunk, str))


def reason(chunks: Sequence[Chunk]) -> str:
    assert isinstance(chunks[-1], Result)
    return chunks[-1].reason


def copies(metrics: LLMMetrics) -> float | None:
    return metrics.registry.get_sample_value("voice_llm_copies_total")


QUESTION = ChatMessage("user", "What time is it?")
CALL = ChatMessage("assistant", '{"name": "current_time", "parameters": {}}')


@pytest.mark.parametrize("speculative", [False, True])
async def test_call_is_a_chunk_and_nothing_of_it_is_spoken(
    session: SmallSession, model: ScriptedModel, speculative: bool
) -> None:
    model.texts = ["current_time() It is noon."]
    chunks = await ask(session, QUESTION, speculative=speculative)
    assert chunks[:-1] == [ToolCall("current_time", "{}")]
    assert reason(chunks) == "tool_call"


async def test_reply_after_the_result_is_spoken(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["It is ten past three."]
    chunks = await ask(session, QUESTION, CALL, ChatMessage("tool", "3:10 PM"))
    assert spoken(chunks) == "It is ten past three."
    assert reason(chunks) == "stop"
    assert "assistant\ncurrent_time()" in model.prompts[0]
    assert "current_time() says: 3:10 PM What time is it?" in model.prompts[0]


@pytest.mark.parametrize("text", ["current_time(1)", "get_weather()", '{"name": "current_time"}'])
async def test_wrong_call_is_malformed_and_not_spoken(
    session: SmallSession, model: ScriptedModel, text: str
) -> None:
    model.texts = [text]
    chunks = await ask(session, QUESTION)
    assert chunks[:-1] == [ToolCall()]
    assert reason(chunks) == "tool_call"


async def test_call_that_is_cut_off_is_malformed(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["current_time()"]
    chunks = await ask(session, QUESTION, max_tokens=2)
    assert chunks[:-1] == [ToolCall()]


async def test_speech_before_a_call_is_spoken(session: SmallSession, model: ScriptedModel) -> None:
    model.texts = ["One moment. current_time()"]
    chunks = await ask(session, QUESTION)
    assert spoken(chunks).strip() == "One moment."
    assert ToolCall("current_time", "{}") in chunks


async def test_prompt_without_tools_has_neither_definitions_nor_examples_of_calls(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["current_time()"]
    chunks = await ask(session, QUESTION, tools=())
    assert "current_time" not in model.prompts[0]
    assert spoken(chunks) == "current_time()"


async def test_prompt_keeps_the_tools_when_no_further_call_is_allowed(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["current_time()", "I cannot tell."]
    await ask(session, QUESTION)
    chunks = await ask(session, QUESTION, tools=())
    assert model.prompts[1] == model.prompts[0]
    assert spoken(chunks) == "I cannot tell."


async def test_tool_without_parameters_is_not_called_twice_for_a_question(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["current_time()", "It is noon."]
    result = ChatMessage("tool", "12:00 PM")
    assert spoken(await ask(session, QUESTION, CALL, result)) == "It is noon."
    later = await ask(
        session, QUESTION, CALL, result, ChatMessage("assistant", "It is noon."), QUESTION
    )
    assert ToolCall("current_time", "{}") in later


async def test_prefill_includes_the_tools(session: SmallSession, model: ScriptedModel) -> None:
    model.texts = ["Hello."]
    await session.prefill((SYSTEM, ChatMessage("user", "Hi.")), (TIME,))
    await ask(session, ChatMessage("user", "Hi."))
    assert model.prompts[1] == model.prompts[0]


ABOUT_MOON = (ChatMessage("user", "Tell me about the moon."), ChatMessage("assistant", MOON))


async def test_copy_of_the_last_answer_is_replaced_before_any_of_it_is_spoken(
    session: SmallSession, model: ScriptedModel, metrics: LLMMetrics
) -> None:
    model.texts = [MOON, SIMPLE]
    chunks = await ask(session, *ABOUT_MOON, ChatMessage("user", "Say it more simply."))
    assert spoken(chunks) == SIMPLE
    assert reason(chunks) == "stop"
    assert copies(metrics) == 1


async def test_copy_of_the_callers_sentence_is_replaced(
    session: SmallSession, model: ScriptedModel, metrics: LLMMetrics
) -> None:
    model.texts = ["Say something about cats.", "They sleep a lot."]
    chunks = await ask(session, ChatMessage("user", "Say something about cats."))
    assert spoken(chunks) == "They sleep a lot."
    assert copies(metrics) == 1


async def test_reply_that_speaks_as_the_caller_is_replaced(
    session: SmallSession, model: ScriptedModel, metrics: LLMMetrics
) -> None:
    model.texts = ["I keep bees.", "You keep bees."]
    told = ChatMessage("user", "I keep bees."), ChatMessage("assistant", "How nice.")
    chunks = await ask(session, *told, ChatMessage("user", "What do I keep?"))
    assert spoken(chunks) == "You keep bees."
    assert copies(metrics) == 1


async def test_model_continues_a_refusal(session: SmallSession, model: ScriptedModel) -> None:
    model.texts = ["Sure, I will call her.", "I am sorry, I cannot make calls."]
    chunks = await ask(session, ChatMessage("user", "Call my mother."))
    assert spoken(chunks) == "I am sorry, I cannot make calls."
    assert reason(chunks) == "stop"


async def test_known_reply_is_given_without_the_model(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["Yes, I am a real person."]
    chunks = await ask(session, ChatMessage("user", "Are you a real person?"))
    assert spoken(chunks) == "No, I am a computer program."
    assert reason(chunks) == "stop"
    assert model.prompts == []


STORY = ChatMessage("user", "I have 3 boxes with 14 pens and lose 5. How many pens do I have?")


async def test_stated_sum_has_its_result_and_the_model_goes_on(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = [
        "First, 3 times 14 is 50.",
        "First, 3 times 14 is 42. Then, 42 minus 5 is 37.",
    ]
    chunks = await ask(session, STORY)
    assert spoken(chunks) == model.texts[1]


async def test_known_result_is_not_replaced_after_wrong_numbers(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["Forty-one minus fifteen equals minus 8."]
    chunks = await ask(session, ChatMessage("user", "What is seven minus fifteen?"))
    assert spoken(chunks) == "Forty-one minus fifteen equals minus 8."


async def test_sum_without_a_result_has_it_at_the_end(
    session: SmallSession, model: ScriptedModel
) -> None:
    model.texts = ["First, 3 times 14 minus 5."]
    chunks = await ask(session, STORY)
    assert spoken(chunks) == "First, 3 times 14 minus 5. That is 37."


async def test_second_copy_is_not_spoken_instead_of_the_first(
    session: SmallSession, model: ScriptedModel, metrics: LLMMetrics
) -> None:
    model.texts = [MOON, "Say it more simply."]
    chunks = await ask(session, *ABOUT_MOON, ChatMessage("user", "Say it more simply."))
    assert spoken(chunks) == MOON
    assert copies(metrics) == 1


@pytest.mark.parametrize(("question", "lead"), [("Say that again.", 1.0), ("The moon?", 20.0)])
async def test_answer_is_repeated_if_the_caller_asks_or_the_model_is_sure(
    session: SmallSession, model: ScriptedModel, question: str, lead: float
) -> None:
    model.texts, model.lead = [MOON, SIMPLE], lead
    chunks = await ask(session, *ABOUT_MOON, ChatMessage("user", question))
    assert spoken(chunks) == MOON


async def test_own_answer_is_spoken_from_its_first_word(
    session: SmallSession, model: ScriptedModel, metrics: LLMMetrics
) -> None:
    model.texts = [SIMPLE]
    chunks = await ask(session, *ABOUT_MOON, ChatMessage("user", "Stop."))
    assert chunks[:3] == ["It is", " a", " big"]
    assert spoken(chunks) == SIMPLE
    assert copies(metrics) == 0
