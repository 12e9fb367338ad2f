"""Lines of an audit log for tests."""

from __future__ import annotations

from appliance.audit.chain import Chain, Head, parse

TIME = "2026-11-28T19:00:00.000000Z"


def write(count: int, head: Head | None = None, *, session: str = "s") -> list[bytes]:
    """Return `count` lines that follow `head`; by default, a new chain."""
    chain = Chain(head or Head())
    return [
        chain.append(TIME, "call_started", {"call": f"{session}{number}", "token": "default"})
        for number in range(count)
    ]


def head_of(line: bytes) -> Head:
    """Return an intact line as the head of a chain."""
    parsed = parse(line)
    assert parsed is not None
    return Head(parsed.number, parsed.hash)


def file(lines: list[bytes]) -> list[bytes]:
    """Return lines as an open file yields them."""
    return [line + b"\n" for line in lines]
