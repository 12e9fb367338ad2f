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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="the question")
    parser.add_argument("--out", type=Path, metavar="FILE.wav", help="write the spoken reply here")


async def run(args: argparse.Namespace, config: Config) -> int:
    """Ask and print. If the call is lost, ask again in a new one. Raises ClientError."""
    if not args.text.strip():
        raise UsageError("the question is empty")
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
    if args.out is not None and record.heard.pcm:
        write_wav(args.out, record.heard.pcm, record.heard.rate)
    if record.reply_text:
        print(report.plain(record.reply_text))
    elif record.heard.pcm:
        print_error("the reply was spoken without a transcript; --out FILE.wav saves it")
