"""Checks a hash chain: finds changed, removed, moved, repeated and added lines. No I/O.

`docs/security.md` states what such a check proves. In short: a chain without a secret is
consistent, or it is not. Whoever can write the file can also write another consistent chain, or
remove its last lines. Only a hash that was noted elsewhere shows that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.audit.chain import (
    STARTED,
    AuditLine,
    Head,
    claims_to_be_audit,
    has_a_hash,
    parse,
)

FIRST_FILE = "audit-000001.jsonl"  # of a folder (appliance/audit/folder.py)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the check found.

    place   name of the file and number of the line in it, from 1: "audit-000001.jsonl:17"
    """

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(slots=True)
class Report:
    """The result of a check.

    problems   lines that were changed, removed, moved, repeated or added
    notes      what an auditor should know, but what tampering does not explain better than a
               power failure, a restart or an archive does
    lines      intact lines that were read
    chains     chains that nothing connects; more than one only in a log
    head       the last line of the last chain
    """

    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    lines: int = 0
    chains: int = 0
    head: Head = field(default_factory=Head)


def verify(
    files: Iterable[tuple[str, Iterable[bytes]]], *, in_log: bool = False, noted_hash: str = ""
) -> Report:
    """Check the lines of `files`, which are pairs of name and lines, in the order of the chain.

    A line includes its newline, like the lines of an open file. A file with the name of the first
    one of a folder has to begin with the first line of a chain.

    in_log       the lines are between other lines of the log; each restart of an appliance without
                 a folder begins a new chain there
    noted_hash   a hash that was noted earlier; it is a problem if no line has it
    """
    check = _Check(in_log)
    for name, lines in files:
        for number, text in enumerate(lines, 1):
            check.read(name, number, text.removesuffix(b"\n"), text.endswith(b"\n"))
    return check.finish(noted_hash)


class _Check:
    """Reads line after line. A chain is followed by `previous` and by the numbers of its lines."""

    def __init__(self, in_log: bool) -> None:
        self._in_log = in_log
        self._report = Report()
        self._place = ""  # of the last line of the chain
        self._numbers: set[int] = set()  # of the current chain
        self._index_by_hash: dict[str, int] = {}  # of all lines that were read
        self._places: list[str] = []
        self._damaged = False  # there is a changed line since the last line of the chain

    def read(self, file: str, number: int, text: bytes, complete: bool) -> None:
        place = f"{file}:{number}"
        line = parse(text)
        if line is not None:
            if file == FIRST_FILE and number == 1 and line.number > 1:
                self._problem(place, f"numbers 1 to {line.number - 1} are missing before this line")
            self._read_intact(place, line)
        elif self._in_log and not claims_to_be_audit(text):
            return
        elif not complete and not has_a_hash(text):  # the hash is written last
            self._note(place, "the line is incomplete: a power failure or a full disk cut it off")
        elif claims_to_be_audit(text):
            self._damaged = True
            self._problem(place, "the line was changed: its hash does not match its content")
        else:
            self._problem(place, "the line was added: it is not a line of an audit log")

    def finish(self, noted_hash: str) -> Report:
        report = self._report
        if report.lines == 0:
            self._problem("-", "there is no line of an audit log")
        elif noted_hash and noted_hash not in self._index_by_hash:
            self._problem(
                self._place,
                "no line has the noted hash: lines were removed, or the chain was written again",
            )
        return report

    def _read_intact(self, place: str, line: AuditLine) -> None:
        if line.hash in self._index_by_hash:
            original = self._places[self._index_by_hash[line.hash]]
            self._problem(place, f"the line was repeated: it is a copy of {original}")
            return
        in_chain = self._follows(place, line)
        self._index_by_hash[line.hash] = len(self._places)
        self._places.append(place)
        self._numbers.add(line.number)
        report = self._report
        report.lines += 1
        if in_chain:
            report.head = Head(line.number, line.hash)
            self._place, self._damaged = place, False

    def _follows(self, place: str, line: AuditLine) -> bool:
        """Report how the line breaks the chain, if it does. Return whether the chain goes on here.

        A line breaks the chain if it does not name the hash of the line before it. Its number tells
        what happened.
        """
        head, expected = self._report.head, self._report.head.number + 1
        if not self._places:
            if not line.begins_chain:
                self._note(place, f"the chain begins with number {line.number} in this input")
            self._report.chains = 1
            return True
        if line.previous == head.hash and line.number == expected:
            return True
        origin = self._index_by_hash.get(line.previous, len(self._places))
        if self._in_log and line.action == STARTED and origin < len(self._places):
            self._note(
                place,
                f"the chain goes on after {self._places[origin]}: the lines between did not "
                "reach the folder",
            )
            return True
        if line.begins_chain:
            self._new_chain(place)
            return True
        if line.number > expected + self._damaged:
            first = expected + self._damaged
            last = line.number - 1
            missing = f"number {first} is" if first == last else f"numbers {first} to {last} are"
            self._problem(place, f"{missing} missing before this line")
            return True
        if line.number == expected + self._damaged and self._damaged:
            return True  # the changed line is reported already
        if line.number == expected:
            self._problem(self._place, f"the line was changed: {place} names another hash for it")
            return True
        if line.number in self._numbers and origin + 1 < len(self._places):
            other = self._places[origin + 1]
            self._problem(other, f"the line was added: {place} follows {self._places[origin]}, too")
            return True
        what = f"the line was moved or added: number {line.number} after {head.number}"
        self._problem(place, what)
        return False

    def _new_chain(self, place: str) -> None:
        self._numbers.clear()
        self._report.chains += 1
        what = "a new chain begins here; nothing connects it with the lines before it"
        if self._in_log:
            self._note(place, what)
        else:
            self._problem(place, what)

    def _problem(self, place: str, what: str) -> None:
        self._report.problems.append(Finding(place, what))

    def _note(self, place: str, what: str) -> None:
        self._report.notes.append(Finding(place, what))
