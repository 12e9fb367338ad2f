"""One HTTP request as a browser page or a script sends it, with every header under control."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any, Protocol


class Served(Protocol):
    """A gateway of a test."""

    port: int

    @property
    def address(self) -> str: ...


@dataclass(frozen=True)
class Answer:
    """The answer to a request. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json["reason"])


async def send(
    gateway: Served,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send a request, over TLS with `tls`, and read the answer to its end."""
    lines = {"Host": gateway.address} | (headers or {})
    if body:
        lines = {"Content-Length": str(len(body))} | lines
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=tls)
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    received = await reader.read()
    writer.close()
    if not received:
        raise ConnectionResetError("no answer")
    top, _, content = received.partition(b"\r\n\r\n")
    status, *fields = top.decode("latin-1").split("\r\n")
    pairs = (field.partition(": ") for field in fields)
    return Answer(int(status.split()[1]), {k.lower(): v for k, _, v in pairs}, content)
