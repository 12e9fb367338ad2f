"""The seal over our code and its Python packages: write the list of files, and compare with it.

The image starts with this file, before any other file of ours or of a package is loaded:

    python3.11 -I -S -B appliance/code_seal.py start boot

`-I -S` keeps out site-packages, `.pth` files and the environment's PYTHON* variables. So this file
imports only what the interpreter needs anyway, and hashlib. If the seal is intact, the process
becomes `python -m appliance boot`. A development checkout has no list, and no check.

The list (`code.list`) has one line per entry, with fields separated by tabs:

    closed  FOLDER                  may contain no file that is not listed
    except  FOLDER                  not part of the seal (the weights have one of their own)
    file    SHA256  SIZE  PATH
    link    TARGET  PATH            a symbolic link

Outside the closed folders, listed files are compared, and other files are allowed: container
engines mount the libraries of a GPU's driver into /usr/lib.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time

TYPE_CHECKING = False  # the module typing would be loaded before it is verified
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LIST_PATH = "/opt/voice/code.list"
PYTHON = "/opt/voice/venv/bin/python"
RESULT = "APPLIANCE_CODE_SEAL"  # for boot: the list's sha256, files, bytes and seconds

# Python loads code from these folders, so that a file that is not listed could run.
CLOSED = ("/opt/voice", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/local/lib")
EXCEPT = ("/opt/voice/weights",)
# The interpreter, its libraries, espeak-ng.
OPEN = ("/usr/bin", "/usr/lib", "/usr/lib64")

_CHUNK_BYTES = 1 << 20
# Those of SealBroken in appliance/errors.py, which must not be loaded if it may be changed.
_REASON = "seal_broken"
_EXIT_BROKEN = 79
_BROKEN = "The seal is broken: {what}."
_ADVICE = "Do not use this installation. Import the image again, or run `make setup` again."


class Broken(Exception):
    """The seal is broken; the text says what is wrong. SealBroken of the catalogue quotes it."""


class CodeEntry:
    """A listed file or link.

    sha256      of a file, in hex; empty for a link
    size_bytes  of a file
    target      of a link, as stored in it; empty for a file
    """

    __slots__ = ("sha256", "size_bytes", "target")

    def __init__(self, sha256: str = "", size_bytes: int = 0, target: str = "") -> None:
        self.sha256, self.size_bytes, self.target = sha256, size_bytes, target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CodeEntry) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"CodeEntry{self._fields()!r}"

    def _fields(self) -> tuple[str, int, str]:
        return self.sha256, self.size_bytes, self.target


class CodeList:
    """A parsed list: the closed folders, the exceptions within them, and the entries by path."""

    __slots__ = ("closed", "entries", "exceptions")

    def __init__(
        self, closed: Sequence[str], exceptions: Sequence[str], entries: Mapping[str, CodeEntry]
    ) -> None:
        self.closed, self.exceptions, self.entries = tuple(closed), tuple(exceptions), entries


class CodeReport:
    """What was compared. `full` means that every byte was read."""

    __slots__ = ("files", "full", "list_sha256", "seconds", "size_bytes")

    def __init__(
        self, list_sha256: str, files: int, size_bytes: int, seconds: float, full: bool
    ) -> None:
        self.list_sha256, self.files, self.size_bytes = list_sha256, files, size_bytes
        self.seconds, self.full = seconds, full

    def __str__(self) -> str:
        how = "every byte read" if self.full else "sizes and names only"
        return (
            f"code intact: {self.files} files, {self.size_bytes / 1e6:,.0f} MB, "
            f"{how} in {self.seconds:.2f} s"
        )

    def encode(self) -> str:
        """Return the report as a value of the variable RESULT."""
        return f"{self.list_sha256} {self.files} {self.size_bytes} {self.seconds:.3f}"


def decode(value: str) -> CodeReport | None:
    """Return the report of a full check in a value of RESULT; None if it is not one."""
    try:
        list_sha256, files, size_bytes, seconds = value.split()
        return CodeReport(list_sha256, int(files), int(size_bytes), float(seconds), True)
    except ValueError:
        return None


def is_sealed() -> bool:
    """Whether this is the image's code, which must have a list; elsewhere there is none."""
    return __file__.startswith("/opt/voice/")


# The list


def render(code_list: CodeList) -> str:
    """Render a list. Raises ValueError for a path or target that a line cannot hold."""
    lines = [f"closed\t{folder}" for folder in code_list.closed]
    lines += [f"except\t{folder}" for folder in code_list.exceptions]
    for path, entry in sorted(code_list.entries.items()):
        for text in (path, entry.target):
            if any(character in text for character in "\t\n\r"):
                raise ValueError(f"{path!r}: a name with a tab or the end of a line")
        if entry.target:
            lines.append(f"link\t{entry.target}\t{path}")
        else:
            lines.append(f"file\t{entry.sha256}\t{entry.size_bytes}\t{path}")
    return "\n".join(lines) + "\n"


def parse(text: str) -> CodeList:
    """Parse a list. Raises ValueError for a line of another form, and for a repeated path."""
    closed: list[str] = []
    exceptions: list[str] = []
    entries: dict[str, CodeEntry] = {}
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        kind, *fields = line.split("\t")
        if kind == "closed" and len(fields) == 1:
            closed.append(fields[0])
        elif kind == "except" and len(fields) == 1:
            exceptions.append(fields[0])
        elif kind in ("file", "link") and len(fields) == {"file": 3, "link": 2}[kind]:
            if fields[-1] in entries:
                raise ValueError(f"line {number}: {fields[-1]} is listed twice")
            if kind == "file":
                entries[fields[2]] = CodeEntry(fields[0], int(fields[1]))
            else:
                entries[fields[1]] = CodeEntry(target=fields[0])
        else:
            raise ValueError(f"line {number} is not an entry")
    return CodeList(closed, exceptions, entries)


def collect(
    roots: Iterable[str], folders: Iterable[str], exceptions: Sequence[str] = ()
) -> dict[str, CodeEntry]:
    """Hash all files in `folders` below each of `roots`; return entries by path without the root.

    A later root replaces the files of an earlier one, as a later layer does. Files that only
    root may read are left out: the check does not run as root, and Python cannot load them.
    """
    entries: dict[str, CodeEntry] = {}
    for root in (root.rstrip("/") for root in roots):
        for folder in folders:
            if os.path.islink(root + folder):
                continue
            for path in _walk(root + folder, [root + each for each in exceptions]):
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    entry = CodeEntry(target=os.readlink(path))
                elif stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
                    entry = CodeEntry(_sha256_of(path), status.st_size)
                else:
                    continue
                entries[path[len(root) :]] = entry
    return entries


# The comparison


def verify(
    list_path: str = LIST_PATH, root: str = "", full: bool = True, processes: int = 1
) -> CodeReport:
    """Compare the files below `root` with the list; with `full`, hash every file.

    processes  how many hash at the same time. They are forked, so more than one is for a process
               that has no threads.

    Raises Broken, which names the first file that is wrong.
    """
    started_at = time.monotonic()
    try:
        with open(list_path, "rb") as file:
            content = file.read()
        code_list = parse(content.decode())
    except OSError as problem:
        raise Broken(f"{list_path} cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise Broken(f"{list_path} is damaged: {problem}") from None
    for description in problems(code_list, root, ignored=(list_path,)):
        raise Broken(description)
    files = [path for path, entry in code_list.entries.items() if not entry.target]
    if full:
        wrong = _changed(code_list.entries, files, root, processes)
        if wrong:
            raise Broken(f"{wrong[0]} was changed: its sha256 does not match the list")
    size_bytes = sum(code_list.entries[path].size_bytes for path in files)
    seconds = time.monotonic() - started_at
    return CodeReport(hashlib.sha256(content).hexdigest(), len(files), size_bytes, seconds, full)


def problems(code_list: CodeList, root: str = "", ignored: Sequence[str] = ()) -> Iterator[str]:
    """Describe what names, sizes and link targets show: missing, changed and unlisted files."""
    for path, entry in code_list.entries.items():
        try:
            status = os.lstat(root + path)
            if entry.target:
                if not stat.S_ISLNK(status.st_mode) or os.readlink(root + path) != entry.target:
                    yield f"{path} is not the link to {entry.target} that is listed"
            elif not stat.S_ISREG(status.st_mode):
                yield f"{path} is not a plain file"
            elif status.st_size != entry.size_bytes:
                yield f"{path} has {status.st_size:,} bytes instead of {entry.size_bytes:,}"
        except OSError:
            yield f"{path} is missing"
    outside = [root + folder for folder in code_list.exceptions]
    allowed = {os.path.realpath(path) for path in ignored}
    for folder in code_list.closed:
        for found in _walk(root + folder, outside):
            path = found[len(root) :]
            if path not in code_list.entries and os.path.realpath(found) not in allowed:
                yield f"{path} is not listed"


def _walk(folder: str, outside: Sequence[str]) -> Iterator[str]:
    """Yield the paths of all files and links below a folder; links to folders are not followed."""

    def refuse(problem: OSError) -> None:
        if not isinstance(problem, FileNotFoundError):
            raise Broken(f"{problem.filename} cannot be read: {problem.strerror}")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = sorted(
            name
            for name in folders
            if name not in links and os.path.join(parent, name) not in outside
        )
        for name in sorted(files + links):
            yield os.path.join(parent, name)


def _changed(
    entries: Mapping[str, CodeEntry], paths: Sequence[str], root: str, processes: int
) -> list[str]:
    """Return the paths whose content differs, or cannot be read.

    Threads do not help: most files are small, and hashing them holds the interpreter's lock.
    """
    ordered = sorted(paths, key=lambda path: entries[path].size_bytes, reverse=True)
    count = max(1, min(processes, len(ordered)))
    children = [_fork(entries, ordered[number::count], root) for number in range(1, count)]
    wrong = _compare(entries, ordered[::count], root)
    for pid, read_end in children:
        with os.fdopen(read_end, encoding="utf-8") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
        if not answer.endswith("done\n"):
            raise Broken("a process that compares files was ended")
        wrong += answer.splitlines()[:-1]
    return sorted(wrong)


def _fork(entries: Mapping[str, CodeEntry], paths: Sequence[str], root: str) -> tuple[int, int]:
    """Compare `paths` in a child process; return its pid and the pipe that its answer comes from.

    The answer is one wrong path per line, and "done".
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return pid, read_end
    try:
        os.close(read_end)
        answer = "".join(f"{path}\n" for path in _compare(entries, paths, root)) + "done\n"
        with os.fdopen(write_end, "w", encoding="utf-8") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)


def _compare(entries: Mapping[str, CodeEntry], paths: Iterable[str], root: str) -> list[str]:
    wrong = []
    for path in paths:
        try:
            if _sha256_of(root + path) != entries[path].sha256:
                wrong.append(path)
        except OSError:
            wrong.append(path)
    return wrong


def _sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


# The commands


def main(argv: Sequence[str]) -> int:
    """`start COMMAND...`, or at image build `list [ROOT...]` and `join LIST [ROOT...]`."""
    command, *arguments = argv or [""]
    if command == "start":
        return _start(arguments)
    if command == "list":
        # Parts of the image that are copied into it from their own roots.
        sys.stdout.write(render(CodeList((), (), collect(arguments, (*CLOSED, *OPEN), EXCEPT))))
        return 0
    if command == "join":
        with open(arguments[0], encoding="utf-8") as file:
            entries = dict(parse(file.read()).entries)
        entries.update(collect([""], (*CLOSED, *OPEN), EXCEPT))
        entries.pop(LIST_PATH, None)
        sys.stdout.write(render(CodeList(CLOSED, EXCEPT, entries)))
        return 0
    sys.stderr.write(f"{main.__doc__}\n")
    return 64


def _start(arguments: Sequence[str]) -> int:
    """Verify before `boot`, then become the appliance. Returns only if the seal is broken."""
    environ = dict(os.environ)
    environ.pop(RESULT, None)
    try:
        if arguments[:1] == ["boot"]:
            environ[RESULT] = verify(processes=len(os.sched_getaffinity(0))).encode()
    except Broken as problem:
        return _refuse(str(problem))
    return os.execve(PYTHON, [PYTHON, "-m", "appliance", *arguments], environ)


def _refuse(what: str) -> int:
    """Report a broken seal as boot does: in the log, and in reason.json of the run folder.

    Nothing may be loaded for this, not even the module json: it could be the changed file.
    """
    text, now = _BROKEN.format(what=what), time.time()
    described: dict[str, object] = {"reason": _REASON, "what": text, "advice": _ADVICE}
    described["exit_code"] = _EXIT_BROKEN
    if os.isatty(2):
        message = f"boot: {text}\n\n  {_ADVICE}\n  ({_REASON}, exit code {_EXIT_BROKEN})\n"
        os.write(2, message.encode(errors="backslashreplace"))
    else:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{now % 1 * 1e6:06.0f}Z"
        line: dict[str, object] = {"time": moment, "level": "critical", "process": "boot"}
        line |= {"event": "stopped by an error", "error": "SealBroken", **described}
        os.write(1, f"{_render_json(line)}\n".encode())
    folder = os.environ.get("VOICE_PATHS_RUN", "")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(os.path.join(folder, "reason.json"), "w", encoding="utf-8") as file:
            file.write(_render_json(described))
    except OSError:
        pass  # no run folder, or a full disk; the log has the reason
    return _EXIT_BROKEN


def _render_json(values: Mapping[str, object]) -> str:
    """Render an object of texts and numbers as JSON."""
    return "{" + ",".join(f'"{name}":{_value(value)}' for name, value in values.items()) + "}"


def _value(value: object) -> str:
    if not isinstance(value, str):
        return str(value)
    plain = (character if _is_plain(character) else _escape(character) for character in value)
    return '"' + "".join(plain) + '"'


def _is_plain(character: str) -> bool:
    return " " <= character <= "~" and character not in '"\\'


def _escape(character: str) -> str:
    """Escape a character in UTF-16 units (RFC 8259 section 7); this includes undecodable bytes."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
