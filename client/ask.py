"""`voice ask`: ask one typed question; print the reply, and write it as WAV on request."""

from __future__ import annotations

import argparse
from pathlib import Path

from client import report
from client.call import ClientCall
from client.caller import Caller
from client.config import Config
from client.conversation import Conversation
from client.errors import CallDropped, ClientError, NoAnswer, UsageError
from client.record import CUT_OFF, ClientTurnRecord
from client.stderr import print_error
from client.wav import write_wav
from client.wire import MAX_TEXT_CHARS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="the question")
    parser.add_argument("--out", type=Path, metavar="FILE.wav", help="write the spoken reply here")


async def run(args: argparse.Namespace, config: Config) -> int:
    """Ask and print. If the call is lost, ask again in a new one. Raises ClientError."""
    _check(args)
    caller = Caller(config, args.retry)
    call = await caller.call()
    while True:
        record, failure = await _ask(call, args, config)
        if failure is None or record.outcome not in CUT_OFF:
            break
        try:
            await caller.prepare_again(call, failure)
            call = await caller.call()
        except ClientError:
            _print(record, args)
            raise
    _print(record, args)
    if not record.reply_text and not record.heard.pcm:
        raise NoAnswer("the bot did not answer")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for a question that cannot be asked, or a reply that cannot be saved."""
    text: str = args.text
    if not text.strip():
        raise UsageError("the question is empty")
    if len(text) > MAX_TEXT_CHARS:
        raise UsageError(f"the question has {len(text)} characters; at most {MAX_TEXT_CHARS}")
    if any("\ud800" <= each <= "\udfff" for each in text):  # bytes that are not UTF-8
        raise UsageError("the question is not valid text; the terminal must use UTF-8")
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out {args.out} is a folder; name a file in it")
    if args.out is not None and not args.out.parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}")


async def _ask(
    call: ClientCall, args: argparse.Namespace, config: Config
) -> tuple[ClientTurnRecord, CallDropped | None]:
    """Ask in this call. Return the turn, and why the call was dropped, if it was."""
    async with Conversation(
        call,
        prebuffer_seconds=config.prebuffer_seconds,
        microphone=False,
        on_problem=print_error,
    ) as conversation:
        number = await conversation.ask(args.text)
        record = await conversation.finished(number, args.answer_seconds)
    return record, conversation.failure


def _print(record: ClientTurnRecord, args: argparse.Namespace) -> None:
    if record.reply_text:
        print(report.plain(record.reply_text), flush=True)
    elif record.heard.pcm and args.out is None:
        print_error("the reply was spoken without a transcript; --out FILE.wav saves it")
    if args.out is not None and record.heard.pcm:  # last: the disk may be full
        write_wav(args.out, record.heard.pcm, record.heard.rate)
