"""One HTTP request to another process of this appliance, which may have been taken over.

The gateway and the exporter are confined: they cannot open connections to other machines. So an
answer of theirs must not make an unconfined process open one: no redirect is followed. Nor does an
endless answer fill the memory that the engines need.
"""

from __future__ import annotations

import ssl
import time
import urllib.request
from email.message import Message
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import IO, cast
from urllib.error import HTTPError

MAX_ANSWER_BYTES = 8 << 20  # a page of metrics has less than 1 MiB
PIECE_BYTES = 1 << 16


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        """Follow none: the redirect is then an answer like any other."""


def get(url: str, seconds: float, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Return status and body of an answer, whatever its status is.

    `seconds` is the time limit for each step, and for the body as a whole. Raises OSError or
    HTTPException, also for a body above MAX_ANSWER_BYTES.
    """
    https = urllib.request.HTTPSHandler(context=context)
    opener = urllib.request.build_opener(_NoRedirect(), https)
    try:
        with opener.open(url, timeout=seconds) as answer:
            return int(answer.status), _read(answer, seconds)
    except HTTPError as error:
        with error:
            return error.code, _read(cast(HTTPResponse, error.fp), seconds)


def _read(answer: HTTPResponse, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    body = bytearray()
    while piece := answer.read1(PIECE_BYTES):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise HTTPException("the answer is too large")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer takes too long")
    if answer.length:
        raise IncompleteRead(bytes(body), answer.length)
    return bytes(body)
