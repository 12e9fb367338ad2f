"""The bytes of a line, and that its hash can be computed without this program."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.chain import NO_HASH, Chain, Head, claims_to_be_audit, find_head, parse
from appliance.journal import MAX_LINE_BYTES as MAX_LOG_LINE_BYTES
from tests.audit.lines import TIME, head_of, write


def test_line_is_a_line_of_the_log_with_the_hash_of_the_line_before() -> None:
    first, second = (json.loads(line) for line in write(2))
    assert list(first)[:6] == ["time", "level", "process", "event", "number", "action"]
    assert (first["number"], first["previous"]) == (1, NO_HASH)
    assert (second["number"], second["previous"]) == (2, first["hash"])


def test_hash_can_be_recomputed_with_sha256sum() -> None:
    (line,) = write(1)
    covered = subprocess.run(
        ["sed", 's/,"hash":"[0-9a-f]*"}$//'], input=line, capture_output=True, check=True
    ).stdout
    assert hashlib.sha256(covered).hexdigest() == json.loads(line)["hash"]


@given(st.text(max_size=100), st.integers(), st.dictionaries(st.text(max_size=9), st.integers()))
def test_line_that_was_written_is_intact(text: str, number: int, counts: dict[str, int]) -> None:
    chain = Chain(Head(6, "a" * 64))
    try:
        line = chain.append(TIME, "call_ended", {"reason": text, "sessions": number, "c": counts})
    except ValueError:  # too long
        assert chain.head == Head(6, "a" * 64)
        return
    parsed = parse(line)
    assert parsed is not None
    assert (parsed.number, parsed.previous) == (7, "a" * 64)
    assert Head(parsed.number, parsed.hash) == chain.head
    assert b"\n" not in line and len(line) < MAX_LOG_LINE_BYTES


def test_line_that_is_too_long_is_not_written() -> None:
    chain = Chain(Head())
    with pytest.raises(ValueError, match="bytes"):
        chain.append(TIME, "call_started", {"session": "x" * 3000})
    assert chain.head == Head()


@given(st.data())
def test_line_with_a_changed_byte_is_not_intact(data: st.DataObject) -> None:
    (line,) = write(1)
    index = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != line[index]))
    assert parse(line[:index] + bytes([byte]) + line[index + 1 :]) is None


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_not_a_line(text: bytes) -> None:
    assert parse(text) is None
    claims_to_be_audit(text)


def test_line_of_another_program_with_a_right_hash_is_not_intact() -> None:
    for content in ('{"event":"x"', '{"event":"audit","number":true', '{"event":"audit"', "{1"):
        text = content.encode()
        own_hash = hashlib.sha256(text).hexdigest()
        assert parse(text + f',"hash":"{own_hash}"}}'.encode()) is None


def test_head_is_the_last_intact_line() -> None:
    lines = write(3)
    assert find_head(b"\n".join(lines)) == head_of(lines[2])
    assert find_head(b"\n".join([*lines[:2], lines[2][:-9]])) == head_of(lines[1])
    assert find_head(b"\n".join([*lines, b"added", b""])) == head_of(lines[2])
    assert find_head(b"") is None
