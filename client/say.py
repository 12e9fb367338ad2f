"""`voice say`: speak WAV files, one turn each; print the turns and write the replies."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

from client import report
from client.call import ClientCall
from client.caller import Caller
from client.config import Config, check_seconds
from client.conversation import Conversation
from client.errors import CallDropped, ClientError, NoAnswer, UsageError
from client.record import CUT_OFF, ClientTurnRecord
from client.stderr import print_error
from client.wav import read_wav, write_wav


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.wav", help="one turn each")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each reply here, as played")
    parser.add_argument("--json", action="store_true", help="print one JSON object per turn")
    parser.add_argument(
        "--barge-in",
        type=float,
        metavar="SECONDS",
        help="speak the next file this long after the reply became audible",
    )
    parser.add_argument(
        "--gap", type=float, default=0.3, metavar="SECONDS", help="silence before each file (0.3)"
    )


async def run(args: argparse.Namespace, config: Config) -> int:
    """Speak all files. Raises ClientError; NoAnswer, after all files, if a reply is missing.

    If a call is lost, the file whose reply is not complete is spoken again in a new call.
    """
    check_seconds("--barge-in", args.barge_in)
    check_seconds("--gap", args.gap)
    utterances = [_read_speech(path) for path in args.files]
    if args.out is not None:
        _make_folder(args.out)
    caller = Caller(config, args.retry)
    call = await caller.call()
    done: list[ClientTurnRecord] = []
    unsaved: list[str] = []
    while True:
        lost, failure = await _speak_call(
            call, utterances[len(done) :], done, unsaved, args, config
        )
        if lost is None or failure is None:
            break
        try:
            await caller.prepare_again(call, failure, progress=len(done))
            call = await caller.call()
        except ClientError:
            _print(lost, unsaved, args)
            raise
    if unanswered := [args.files[each.number - 1].name for each in done if not each.heard.pcm]:
        raise NoAnswer(f"no answer to {', '.join(unanswered)}")
    if unsaved:
        raise UsageError(f"not saved: the reply to {', '.join(unsaved)}")
    return 0


async def _speak_call(
    call: ClientCall,
    utterances: list[bytes],
    done: list[ClientTurnRecord],
    unsaved: list[str],
    args: argparse.Namespace,
    config: Config,
) -> tuple[ClientTurnRecord | None, CallDropped | None]:
    """Speak in this call; print the finished turns, and add them to `done`.

    `unsaved` gets the names of the files whose replies cannot be written.
    Returns the turn in which the call was dropped, and why; None if it was not.
    """
    spoken = len(done)
    async with Conversation(
        call, prebuffer_seconds=config.prebuffer_seconds, on_problem=print_error
    ) as conversation:
        async for turn in _speak_turns(conversation, utterances, args):
            record = dataclasses.replace(turn, number=spoken + turn.number)
            if record.outcome in CUT_OFF:
                return record, conversation.failure
            _print(record, unsaved, args)
            done.append(record)
    return None, None


def _print(record: ClientTurnRecord, unsaved: list[str], args: argparse.Namespace) -> None:
    """Print a turn and write its reply. On a full disk, the conversation goes on without it."""
    path: Path = args.files[record.number - 1]
    try:
        reply_wav = _write_reply(args.out, path, record)
    except UsageError as error:
        print_error(str(error))
        unsaved.append(path.name)
        reply_wav = None
    render = report.as_json if args.json else report.as_text
    print(render(record, str(path), reply_wav), flush=True)


async def _speak_turns(
    conversation: Conversation, utterances: list[bytes], args: argparse.Namespace
) -> AsyncIterator[ClientTurnRecord]:
    """Speak the utterances one after the other. Yields each turn when it is finished."""
    interrupted: list[int] = []  # the turn that the current utterance interrupts
    for position, pcm in enumerate(utterances):
        await asyncio.sleep(0 if interrupted else args.gap)
        number = conversation.say(pcm)
        for previous in interrupted:
            yield await conversation.finished(previous, args.answer_seconds)
        interrupted = []
        if args.barge_in is not None and position < len(utterances) - 1:
            audible_at = await _wait_until_audible(conversation, number, args.answer_seconds)
            if audible_at is not None:
                await asyncio.sleep(audible_at + args.barge_in - time.monotonic())
                interrupted = [number]
                continue
        yield await conversation.finished(number, args.answer_seconds)


async def _wait_until_audible(
    conversation: Conversation, number: int, timeout_seconds: float
) -> float | None:
    """Return when the reply became audible; None if the turn ended without a reply."""
    audible = asyncio.ensure_future(conversation.audible(number))
    finished = asyncio.ensure_future(conversation.finished(number, timeout_seconds))
    try:
        await asyncio.wait({audible, finished}, return_when=asyncio.FIRST_COMPLETED)
        return audible.result() if audible.done() else None
    finally:
        audible.cancel()
        finished.cancel()


def _read_speech(path: Path) -> bytes:
    """Read a file to speak. Raises UsageError for one in which the bot would hear nothing."""
    pcm = read_wav(path)
    if not any(pcm):
        why = "is silent; if it has two channels, export one of them" if pcm else "has no audio"
        raise UsageError(f"{path} {why}")
    return pcm


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the folder {folder}: {error.strerror}") from error


def _write_reply(folder: Path | None, source: Path, record: ClientTurnRecord) -> str | None:
    if folder is None or not record.heard.pcm:
        return None
    path = folder / f"{record.number:02d}-{source.stem}.reply.wav"
    write_wav(path, record.heard.pcm, record.heard.rate)
    return str(path)
