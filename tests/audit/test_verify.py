"""The check finds each kind of tampering, names the line, and accepts what a restart leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.chain import STARTED, Chain, Head
from appliance.audit.verify import Report, verify
from tests.audit.lines import TIME, file, head_of, write


def check(lines: list[bytes], **options: object) -> Report:
    """Check lines as one file."""
    return verify([("f", file(lines))], **options)  # type: ignore[arg-type]


def problems(lines: list[bytes]) -> list[str]:
    return [str(problem) for problem in check(lines).problems]


def started(head: Head) -> bytes:
    return Chain(head).append(TIME, STARTED, {})


counts = st.integers(3, 12)


@given(counts)
def test_untouched_chain_is_intact(count: int) -> None:
    lines = write(count)
    report = check(lines)
    assert (report.problems, report.notes) == ([], [])
    assert (report.lines, report.chains, report.head) == (count, 1, head_of(lines[-1]))


@given(counts, st.data())
def test_removed_lines_are_named_by_their_numbers(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, count - 2))  # not the first line, and not the last one
    last = data.draw(st.integers(first, count - 2))
    lines = write(count)
    (problem,) = problems(lines[:first] + lines[last + 1 :])
    numbers = (
        f"number {first + 1} is" if first == last else f"numbers {first + 1} to {last + 1} are"
    )
    assert problem == f"f:{first + 1}: {numbers} missing before this line"


@given(counts, st.data())
def test_changed_byte_is_a_problem_in_its_line(count: int, data: st.DataObject) -> None:
    lines = write(count)
    index = data.draw(st.integers(0, count - 1))
    line = lines[index]
    position = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (line[position], 10)))
    lines[index] = line[:position] + bytes([byte]) + line[position + 1 :]
    found = check(lines).problems
    assert found[0].place == f"f:{index + 1}"


@given(counts, st.data())
def test_changed_line_with_a_new_hash_is_named(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(1, count - 2))
    lines = write(count)
    lines[index] = write(1, head_of(lines[index - 1]), session="other")[0]
    (problem,) = problems(lines)
    assert problem.startswith(f"f:{index + 1}: the line was changed: f:{index + 2} names another")


@given(st.permutations(range(6)))
def test_every_other_order_is_a_problem(order: list[int]) -> None:
    lines = write(6)
    assert bool(problems([lines[index] for index in order])) == (order != sorted(order))


@given(counts, st.data())
def test_two_swapped_lines_are_named(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(1, count - 2))
    lines = write(count)
    lines[index], lines[index + 1] = lines[index + 1], lines[index]
    places = {problem.place for problem in check(lines).problems}
    assert places >= {f"f:{index + 1}", f"f:{index + 2}"}


@given(counts, st.data())
def test_repeated_line_is_named_with_its_original(count: int, data: st.DataObject) -> None:
    lines = write(count)
    original, place = (data.draw(st.integers(0, count - 1)) for _ in range(2))
    original, place = sorted((original, place))
    lines.insert(place + 1, lines[original])
    (problem,) = problems(lines)
    assert problem == f"f:{place + 2}: the line was repeated: it is a copy of f:{original + 1}"


@given(counts, st.integers(1, 3), st.data())
def test_lines_that_others_appended_are_named_when_the_chain_goes_on(
    count: int, added: int, data: st.DataObject
) -> None:
    """The added lines are consistent: others computed the hashes, too."""
    index = data.draw(st.integers(1, count - 1))
    lines = write(count)
    forged = write(added, head_of(lines[index - 1]), session="forged")
    found = problems(lines[:index] + forged + lines[index:])
    assert found[0].startswith(f"f:{index + 1}: the line was added: ")


def test_line_of_something_else_is_named() -> None:
    lines = write(4)
    for added in (b"added", b"", b'{"event":"gateway started"}'):
        (problem,) = problems([*lines[:2], added, *lines[2:]])
        assert problem == "f:3: the line was added: it is not a line of an audit log"


def test_several_problems_are_all_named() -> None:
    lines = write(9)
    lines[2] = lines[2].replace(b"s2", b"sX")
    found = problems([*lines[:5], *lines[6:], b"added"])
    assert [problem.split(": ")[0] for problem in found] == ["f:3", "f:6", "f:9"]


# What a power failure, a restart, a rotation or an archive leaves


@given(counts, st.data())
def test_line_that_was_cut_off_is_a_note(count: int, data: st.DataObject) -> None:
    lines = write(count)
    end = data.draw(st.integers(1, len(lines[-1]) - 1))
    report = verify([("f", [*file(lines[:-1]), lines[-1][:end]])])
    assert report.problems == []
    (note,) = report.notes
    assert note.place == f"f:{count}" and "incomplete" in note.what
    assert report.head == head_of(lines[-2])


def test_line_without_only_its_newline_counts() -> None:
    lines = write(3)
    report = verify([("f", [*file(lines[:-1]), lines[-1]])])
    assert (report.problems, report.notes, report.lines) == ([], [], 3)


@given(counts, st.data())
def test_last_line_with_a_hash_that_is_wrong_was_not_cut_off(
    count: int, data: st.DataObject
) -> None:
    """The hash is written last, so that a power failure cannot leave a wrong one."""
    lines = write(count)
    changed = lines[-1].replace(b'"token":"default"', b'"token":"another"')
    ending = data.draw(st.sampled_from([b"", b"\n"]))
    report = verify([("f", [*file(lines[:-1]), changed + ending])])
    assert [problem.place for problem in report.problems] == [f"f:{count}"]


def test_chain_goes_on_in_the_next_file_after_a_line_was_cut_off() -> None:
    lines = write(5)
    after = write(2, head_of(lines[3]), session="after")
    report = verify([("a", [*file(lines[:4]), lines[4][:50]]), ("b", file(after))])
    assert report.problems == []
    assert [note.place for note in report.notes] == ["a:5"]
    assert report.head == head_of(after[-1])


def test_line_that_somebody_cut_off_in_an_earlier_file_is_missing() -> None:
    lines = write(5)
    report = verify([("a", [*file(lines[:2]), lines[2][:50]]), ("b", file(lines[3:]))])
    assert [str(problem) for problem in report.problems] == [
        "b:1: number 3 is missing before this line"
    ]


def test_cut_line_before_other_lines_is_a_problem() -> None:
    lines = write(4)
    (problem,) = problems([lines[0], lines[1][:-30], *lines[2:]])
    assert problem.startswith("f:2: the line was changed")


def test_earlier_files_may_be_in_an_archive() -> None:
    report = check(write(5)[2:])
    assert report.problems == []
    assert [str(note) for note in report.notes] == [
        "f:1: the chain begins with number 3 in this input"
    ]


def test_first_file_of_a_folder_begins_with_the_first_line() -> None:
    lines = write(5)
    assert verify([("audit-000001.jsonl", file(lines))]).problems == []
    (problem,) = verify([("audit-000001.jsonl", file(lines[2:]))]).problems
    assert str(problem) == "audit-000001.jsonl:1: numbers 1 to 2 are missing before this line"
    assert verify([("audit-000002.jsonl", file(lines[2:]))]).problems == []


def test_removed_file_is_a_problem() -> None:
    lines = write(9)
    parts = [("a", file(lines[:3])), ("b", file(lines[3:6])), ("c", file(lines[6:]))]
    assert verify(parts).problems == []
    (problem,) = verify([parts[0], parts[2]]).problems
    assert str(problem) == "c:1: numbers 4 to 6 are missing before this line"
    assert verify(reversed(parts)).problems


def test_input_without_a_line_is_a_problem() -> None:
    assert [problem.what for problem in check([]).problems] == ["there is no line of an audit log"]


# A hash that was noted elsewhere


def test_removed_end_is_found_only_by_a_noted_hash() -> None:
    lines = write(5)
    noted = head_of(lines[4]).hash
    assert check(lines, noted_hash=noted).problems == []
    assert check(lines[:4]).problems == []
    assert [problem.place for problem in check(lines[:4], noted_hash=noted).problems] == ["f:4"]


def test_chain_that_was_written_again_is_found_only_by_a_noted_hash() -> None:
    noted = head_of(write(5)[2]).hash
    again = write(5, session="again")
    assert check(again).problems == []
    assert check(again, noted_hash=noted).problems


# The lines in the log


def test_lines_in_the_log_are_found_between_others() -> None:
    lines = write(3)
    others = [b'{"time":"t","event":"turn ended"}', b"podman: text", b"\xff\xfe"]
    mixed = [text for pair in zip(lines, others, strict=True) for text in pair]
    assert check(mixed, in_log=True).problems == []
    assert len(check(mixed).problems) == 3
    assert check([*mixed[:2], *mixed[3:]], in_log=True).problems
    changed = [text.replace(b"s1", b"sX") for text in mixed]
    assert [str(problem) for problem in check(changed, in_log=True).problems] == [
        "f:3: the line was changed: its hash does not match its content"
    ]


def test_new_chain_is_a_note_in_the_log_and_a_problem_in_files() -> None:
    lines = [*write(3), *write(2, session="restarted")]
    report = check(lines, in_log=True)
    assert (report.problems, report.chains, report.lines) == ([], 2, 5)
    assert ["a new chain" in note.what for note in report.notes] == [True]
    assert ["a new chain" in problem.what for problem in check(lines).problems] == [True]


def test_restart_after_lines_that_did_not_reach_the_folder_is_a_note_in_the_log() -> None:
    """A full disk kept lines 3 and 4 from the folder, and so the chain goes on after line 2."""
    lines = write(4)
    again = started(head_of(lines[1]))
    more = write(2, head_of(again), session="more")
    report = check([*lines, again, *more], in_log=True)
    assert report.problems == []
    assert [note.place for note in report.notes] == ["f:5"]
    assert report.head == head_of(more[-1])
    assert check([*lines, again, *more]).problems


@given(st.integers(1, 6), st.integers(1, 6))
def test_run_without_the_folder_is_a_note_in_the_log(before: int, without: int) -> None:
    """While the folder was unusable, a run began a chain of its own. The next run goes on with the
    chain of the folder."""
    first = write(before)
    again = started(head_of(first[-1]))
    more = write(2, head_of(again), session="more")
    report = check([*first, *write(without, session="without"), again, *more], in_log=True)
    assert report.problems == []
    assert [note.place for note in report.notes] == [
        f"f:{before + 1}",
        f"f:{before + without + 1}",
    ]
    assert report.head == head_of(more[-1])
