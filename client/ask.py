"""`client ask`: ask one typed question; print the reply, and write it as WAV on request."""

from __future__ import annotations

import argparse
from pathlib import Path

from client import report
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.errors import NoAnswer, UsageError
from client.stderr import print_error, print_retry
from client.wav import write_wav


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="the question")
    parser.add_argument("--out", type=Path, metavar="FILE.wav", help="write the spoken reply here")


async def run(args: argparse.Namespace, config: Config) -> int:
    """Ask and print. Raises ClientError."""
    if not args.text.strip():
        raise UsageError("the question is empty")
    call = await connect(config, retry_seconds=args.retry, on_retry=print_retry)
    async with Conversation(
        call,
        prebuffer_seconds=config.prebuffer_seconds,
        microphone=False,
        on_problem=print_error,
    ) as conversation:
        number = await conversation.ask(args.text)
        record = await conversation.finished(number, args.answer_seconds)
    if args.out is not None and record.heard.pcm:
        write_wav(args.out, record.heard.pcm, record.heard.rate)
    if record.reply_text:
        print(report.plain(record.reply_text))
    elif record.heard.pcm:
        print_error("the reply was spoken without a transcript; --out FILE.wav saves it")
    if conversation.failure is not None:
        raise conversation.failure
    if not record.reply_text and not record.heard.pcm:
        raise NoAnswer("the bot did not answer")
    return 0
