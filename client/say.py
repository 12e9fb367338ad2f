"""`client say`: speaks WAV files, one turn each, and writes down what came back."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from client import report
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.errors import NoAnswer, UsageError
from client.messages import announce_retry, complain
from client.record import TurnRecord
from client.wav import read_wav, write_wav


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.wav", help="one turn each")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each reply as played here")
    parser.add_argument("--json", action="store_true", help="print one JSON object per turn")
    parser.add_argument(
        "--barge-in",
        type=float,
        metavar="SECONDS",
        help="speak the next file so long after the bot began to speak",
    )
    parser.add_argument(
        "--gap", type=float, default=0.3, metavar="SECONDS", help="silence before each file (0.3)"
    )


async def run(args: argparse.Namespace, config: Config) -> int:
    """Raises ClientError; NoAnswer when a file got none, after all of them."""
    for name, seconds in (("--barge-in", args.barge_in), ("--gap", args.gap)):
        if seconds is not None and not 0 <= seconds <= 3600:
            raise UsageError(f"{name} {seconds:g} is not a number of seconds between 0 and 3600")
    utterances = [read_wav(path) for path in args.files]
    if args.out is not None:
        _make_folder(args.out)
    silent: list[str] = []
    call = await connect(config, patience_seconds=args.patience, on_retry=announce_retry)
    async with Conversation(
        call, prebuffer_seconds=config.prebuffer_seconds, on_problem=complain
    ) as conversation:
        async for record in _turns(conversation, utterances, args):
            path: Path = args.files[record.number - 1]
            reply_wav = _write_reply(args.out, path, record)
            tell = report.as_json if args.json else report.as_text
            print(tell(record, str(path), reply_wav), flush=True)
            if conversation.failure is not None:
                raise conversation.failure
            if not record.heard.pcm:
                silent.append(path.name)
    if silent:
        raise NoAnswer(f"no answer to {', '.join(silent)}")
    return 0


async def _turns(
    conversation: Conversation, utterances: list[bytes], args: argparse.Namespace
) -> AsyncIterator[TurnRecord]:
    """Speaks one utterance after the other; yields each turn when it is over."""
    waiting: list[int] = []
    for position, pcm in enumerate(utterances):
        await asyncio.sleep(0 if waiting else args.gap)
        number = conversation.say(pcm)
        for before in waiting:
            yield await conversation.finished(before, args.answer_seconds)
        waiting = [number]
        if args.barge_in is not None and position < len(utterances) - 1:
            began_at = await _within(conversation, number, args.answer_seconds)
            if began_at is not None:
                await asyncio.sleep(began_at + args.barge_in - time.monotonic())
                continue
        yield await conversation.finished(number, args.answer_seconds)
        waiting = []


async def _within(conversation: Conversation, number: int, seconds: float) -> float | None:
    """When the reply was first heard; None if the turn ended without one."""
    audible = asyncio.ensure_future(conversation.audible(number))
    finished = asyncio.ensure_future(conversation.finished(number, seconds))
    try:
        await asyncio.wait({audible, finished}, return_when=asyncio.FIRST_COMPLETED)
        return audible.result() if audible.done() else None
    finally:
        audible.cancel()
        finished.cancel()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"cannot make the folder {folder}: {problem.strerror}") from problem


def _write_reply(folder: Path | None, source: Path, record: TurnRecord) -> str | None:
    if folder is None or not record.heard.pcm:
        return None
    path = folder / f"{record.number:02d}-{source.stem}.reply.wav"
    write_wav(path, record.heard.pcm, record.heard.rate)
    return str(path)
