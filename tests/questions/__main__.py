"""Ask the language model typed questions and judge the answers: make questions [FILE=path].

The questions go through the engine link, with the gateway's system prompt and history, as typed
questions of a call do. Tools are offered and run as in a call. Prints each wrong answer, the share
of right ones by dialogue, and how long the first token took.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from appliance.engines.llm.choose import ENGINES
from appliance.gateway.generation.history import Exchange, History, ToolCallRecord
from appliance.gateway.generation.reply import TOOL_CALL_FAILED_TEXT
from appliance.gateway.generation.tool_executor import format_call
from appliance.gateway.generation.tools import format_spoken_time, offered_tools
from appliance.link.client import EngineClient
from appliance.link.engine import GenerateRequest, Result, ToolCall
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from appliance.settings import LLMConfig, Settings, load
from tests.questions.score import Question, dialogues, faults, parse

GIVEN = Path(__file__).with_name("given.tsv")
MAX_TOOL_CALLS = 4  # of one answer


class Caller:
    """Holds dialogues with a running engine."""

    def __init__(self, client: EngineClient, config: LLMConfig) -> None:
        self._client = client
        self._config = config
        self.first_token_seconds: list[float] = []
        self.tools = offered_tools(config.tools)

    async def hold(self, questions: Sequence[Question]) -> list[str]:
        """Ask the questions of one dialogue. Return the answers."""
        config = self._config
        history = History(
            config.system_prompt, config.history_tokens, config.history_turns, config.audio_turns
        )
        answers = []
        for question in questions:
            exchange = history.add(question.text)
            answer = await self._answer(history, exchange)
            history.add_heard(answer)
            if history.is_full():
                history.trim()
            answers.append(answer)
        return answers

    async def _answer(self, history: History, exchange: Exchange) -> str:
        text = ""
        for count in range(MAX_TOOL_CALLS + 1):
            tools = self.tools if count < MAX_TOOL_CALLS else ()
            request = GenerateRequest(
                history.conversation(), self._config.reply_tokens, self._config.temperature, tools
            )
            call: ToolCall | None = None
            started, waiting = time.monotonic(), not text and not exchange.tool_calls
            async for chunk in self._client.generate(request):
                if waiting:
                    self.first_token_seconds.append(time.monotonic() - started)
                    waiting = False
                if isinstance(chunk, ToolCall):
                    call = chunk
                elif not isinstance(chunk, Result):
                    text += chunk
            if call is None:
                break
            if not call.name:
                return f"{text} {TOOL_CALL_FAILED_TEXT}".strip()
            exchange.tool_calls.append(ToolCallRecord(format_call(call), run_tool(call)))
        return text.strip()


def run_tool(call: ToolCall) -> str:
    """Return the result of a tool, as the gateway's tools give it."""
    match call.name:
        case "current_time":
            return format_spoken_time(datetime.now().astimezone())
        case "end_call":
            return "The call ends after your next sentence. Say goodbye."
    return "There is no such tool."


async def ask_all(client: EngineClient, config: LLMConfig, questions: Sequence[Question]) -> int:
    """Ask everything, print the wrong answers and the tables. Return how many were right."""
    caller = Caller(client, config)
    right, asked = Counter[str](), Counter[str]()
    for dialogue in dialogues(questions):
        answers = await caller.hold(dialogue)
        for number, (question, answer) in enumerate(zip(dialogue, answers, strict=True)):
            found = faults(question, answer, answers[:number])
            asked[question.dialogue] += 1
            right[question.dialogue] += not found
            if found:
                print(f"{question.dialogue}: {question.text}\n    {answer}\n    {'; '.join(found)}")
    print()
    for name, count in asked.items():
        print(f"  {name:14} {right[name]:3} of {count}")
    seconds = caller.first_token_seconds
    print(f"  first token p50 {statistics.median(seconds):.2f} s, n={len(seconds)}")
    return right.total()


def count_copies(metrics: bytes) -> int:
    """Return how many replies were decoded again by the metrics of an engine."""
    families = text_string_to_metric_families(metrics.decode())
    samples = (sample for family in families for sample in family.samples)
    return sum(int(each.value) for each in samples if each.name == "voice_llm_copies_total")


async def run(settings: Settings, socket: Path | None, questions: Sequence[Question]) -> int:
    """Ask the engine behind `socket`, or one that is started for this."""
    name = "llm"
    if socket is not None:
        return await ask_all(EngineClient(name, socket), settings.llm, questions)
    engine, started = ENGINES[settings.llm.engine](settings), time.monotonic()
    await engine.start()
    print(f"started in {time.monotonic() - started:.1f} s", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="questions.") as folder:
            path = Path(folder) / "llm.sock"

            def health() -> HealthReport:
                return HealthReport(ready=True, metrics="")

            async with serve_link(path, health, engine):
                client = EngineClient(name, path)
                try:
                    right = await ask_all(client, settings.llm, questions)
                finally:
                    await client.close()
        print(f"  copies decoded again: {count_copies(engine.metrics())}")
        return right
    finally:
        await engine.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make questions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, default=GIVEN, help="the questions")
    parser.add_argument(
        "--socket", type=Path, help="llm.sock in the run folder of a running appliance"
    )
    args = parser.parse_args()
    try:
        questions = parse(args.file.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        sys.exit(f"{args.file}: {error}")
    settings = load(os.environ)
    print(f"{settings.llm.model}, {args.file.name}", flush=True)
    right = asyncio.run(run(settings, args.socket, questions))
    print(f"{right} of {len(questions)}")


if __name__ == "__main__":
    main()
