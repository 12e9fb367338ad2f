"""What a gateway that was taken over would try against the other processes of the appliance.

`run` is executed in the gateway's own process, so this module imports nothing of the appliance.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import json
import os
import resource
import signal
import socket
import struct
import xmlrpc.client
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

CA_KEY = "ca-key.pem"  # the name of the file of the CA's key, in any folder
BAIT = "bait"  # a file in the run folder that the attack tries to remove
_TGKILL, _QUEUE, _PIDFD_OPEN = 234, 129, 434  # x86-64
_PTRACE, _READ_MEMORY, _IO_URING = 101, 310, 425
_SEIZE, _SI_QUEUE = 0x4206, -1
_F_SETLEASE = 1024
_NO_ACCESS = 3  # opens a file for neither reading nor writing


class _Supervisord(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("supervisord", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _Supervisord(self._path)


class Attempts:
    """Collects what became of each attempt: "refused" or "done", with details."""

    def __init__(self) -> None:
        self.results: dict[str, str] = {}

    def __call__(self, name: str, action: Callable[[], object]) -> None:
        try:
            self.results[name] = f"done: {str(action())[:60]}"
        except (OSError, xmlrpc.client.Error) as problem:
            self.results[name] = f"refused: {str(problem)[:60]}"


def run(
    run_folder: str, targets: dict[str, int], metrics_port: int, store: str, root: str
) -> dict[str, str]:
    """Attack supervisord, the processes `targets`, the network and the files.

    store   the file of the token store, which the gateway reads
    root    the folder in which the CA's key is looked for
    """
    attempt = Attempts()
    path = f"{run_folder}/supervisor.sock"
    call: Any = xmlrpc.client.ServerProxy("http://supervisord", transport=_Transport(path))
    attempt("list programs", lambda: len(call.supervisor.getAllProcessInfo()))
    attempt("stop a program", lambda: call.supervisor.stopProcess("exporter"))
    attempt("stop supervisord", lambda: call.supervisor.shutdown())
    attempt("signal by supervisord", lambda: call.supervisor.signalProcess("exporter", "KILL"))
    attempt("read a log", lambda: call.supervisor.readProcessStdoutLog("llm", 0, 9))
    attempt("multicall", lambda: call.system.multicall([]))
    for page in ("/index.html?action=stopall", "/index.html", "/logtail/llm", "/mainlogtail"):
        attempt(f"page {page}", partial(_page, path, page))
    for name, pid in sorted(targets.items()):
        attack_process(name, pid, attempt)
    attempt("signal all", lambda: os.kill(-1, 0))  # 0 only asks: tests run without a container, too
    attempt("fork", _fork)
    attempt("exec", lambda: os.execv("/bin/true", ["true"]))
    attempt("io_uring", lambda: _call(_IO_URING, 1, ctypes.create_string_buffer(120)))
    attempt("datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
    attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
    attempt("connect", lambda: socket.create_connection(("127.0.0.1", metrics_port)).close())
    for name in ("draining", "guard/failed.json", "guard.json", "seal.json"):
        attempt(f"write {name}", partial(_write, Path(run_folder, name)))
    attack_file(Path(run_folder, BAIT), attempt)
    attack_secrets(store, root, attempt)
    return attempt.results


def attack_file(path: Path, attempt: Attempts) -> None:
    """Change an empty file of the same user without a descriptor for writing, then remove it.

    The changes are to what is there already.
    """
    about = path.stat()
    attempt("truncate", lambda: os.truncate(path, 0))
    attempt("truncate while reading", partial(_open, path, os.O_RDONLY | os.O_TRUNC))
    attempt("truncate without access", partial(_open, path, _NO_ACCESS | os.O_TRUNC))
    attempt("change a mode", lambda: path.chmod(about.st_mode))
    attempt("change an owner", lambda: os.chown(path, about.st_uid, about.st_gid))
    attempt("change times", lambda: os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns)))
    attempt("change an attribute", lambda: os.setxattr(path, "user.bait", b""))
    attempt("lease a file", partial(_lease, path))
    attempt("remove a file", path.unlink)


def attack_secrets(store: str, root: str, attempt: Attempts) -> None:
    """Read and change the token store, and read the key of the site's CA, wherever it is."""
    attempt("read the store", lambda: len(Path(store).read_bytes()))
    attempt("change the store", partial(_write, Path(store)))
    attempt("read the CA's key", partial(_read_named, CA_KEY, root))


def attack_process(name: str, pid: int, attempt: Attempts) -> None:
    """Read and write the memory of a process, then end it. Each works if nothing protects it."""
    nothing = ctypes.c_void_p(0)
    queued = ctypes.create_string_buffer(struct.pack("=iii", signal.SIGSTOP, 0, _SI_QUEUE), 128)
    attempt(f"environ {name}", lambda: len(Path(f"/proc/{pid}/environ").read_bytes()))
    attempt(f"maps {name}", lambda: len(Path(f"/proc/{pid}/maps").read_bytes()))
    attempt(f"files {name}", lambda: Path(f"/proc/{pid}/fd/0").readlink())
    attempt(f"mem {name}", lambda: Path(f"/proc/{pid}/mem").open("rb").close())
    attempt(f"mem write {name}", lambda: Path(f"/proc/{pid}/mem").open("r+b").close())
    attempt(f"vm {name}", lambda: _call(_READ_MEMORY, pid, nothing, 0, nothing, 0, 0))
    attempt(f"ptrace {name}", lambda: _call(_PTRACE, _SEIZE, pid, nothing, nothing))
    attempt(f"limit {name}", lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)))
    attempt(f"owner {name}", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, pid))
    attempt(f"pidfd {name}", lambda: _call(_PIDFD_OPEN, pid, 0))
    attempt(f"tgkill {name}", lambda: _call(_TGKILL, pid, pid, int(signal.SIGSTOP)))
    attempt(f"queue {name}", lambda: _call(_QUEUE, pid, int(signal.SIGSTOP), queued))
    attempt(f"kill group {name}", lambda: os.killpg(pid, signal.SIGKILL))
    attempt(f"kill {name}", lambda: os.kill(pid, signal.SIGKILL))


def _page(path: str, page: str) -> int:
    connection = _Supervisord(path)
    connection.request("GET", page)
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise OSError(f"HTTP {status}")
    return status


def _fork() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _write(path: Path) -> None:
    """Open a file for writing, and leave it unchanged; the same for its folder if it is missing."""
    existed, had_folder = path.exists(), path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    with path.open("a"):
        pass
    if not existed:
        path.unlink()
    if not had_folder:
        path.parent.rmdir()


def _open(path: Path, flags: int) -> None:
    os.close(os.open(path, flags))


def _lease(path: Path) -> None:
    """Whoever opens the file for writing would have to wait."""
    with path.open("rb") as file:
        fcntl.fcntl(file, _F_SETLEASE, fcntl.F_RDLCK)


def _read_named(name: str, root: str) -> int:
    """Read a file that has this name, below `root`."""
    for folder, folders, files in os.walk(root):
        if folder == "/":
            folders[:] = [each for each in folders if each not in ("proc", "sys")]
        if name in files:
            return len(Path(folder, name).read_bytes())
    raise FileNotFoundError(f"there is no {name}")


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
    return result


def report(results: dict[str, str]) -> None:
    """Write the results as one line of stdout, which the gateway may still use."""
    os.write(1, json.dumps({"event": "attack", "results": results}).encode() + b"\n")
