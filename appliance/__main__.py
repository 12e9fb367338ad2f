"""The door: `python -m appliance VERB`. Reads the environment once and runs one room."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from appliance import journal, journal_fields, offline, run_folder, settings
from appliance.console import commands as options
from appliance.errors import ApplianceError, CannotStart, ModelSick

SUPERVISED = "SUPERVISOR_ENABLED"  # supervisord sets it for its programs
PLANNED = {"VOICE_PROFILE": "gpu"}
Asked = argparse.Namespace
EXIT_CRASHED = 70  # EX_SOFTWARE of sysexits.h: a defect, not a wrong setting


def main(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Runs a verb and returns the exit code, which for an error of the catalogue is its own."""
    asked = _arguments(argv).parse_args(argv)
    verb = asked.verb
    given = settings.Settings()
    journal.configure(given.journal, verb)  # until the settings say how
    try:
        offline.apply(environ)
        # Cards are of interest to one profile only, also to somebody who runs the other today.
        given = settings.load({**PLANNED, **environ} if verb == "plan" else environ)
        journal.configure(given.journal, verb)
        return VERBS[verb].run(given, asked)
    except ApplianceError as error:
        ends_itself = error.exit_code == CannotStart.exit_code or isinstance(error, ModelSick)
        if SUPERVISED in environ and ends_itself:
            run_folder.write_failure(given.paths.run, verb, error)
        return _report(verb, error)
    except KeyboardInterrupt:
        return 0
    except Exception:
        journal.get().critical("crashed", exc_info=True, exit_code=EXIT_CRASHED)
        return EXIT_CRASHED


def _gateway(given: settings.Settings, asked: Asked) -> int:
    from appliance.gateway.server import serve

    serve(given)
    return 0


def _llm(given: settings.Settings, asked: Asked) -> int:
    # OpenMP threads that spin for each other halve the speed of llama.cpp, or worse, as soon as
    # anything else wants a core (measured: 320 against 123 ms a token); read when it is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    from appliance.engines.llm.choose import engine
    from appliance.link.server import host

    host(engine(given), given.paths.run / "llm.sock")
    return 0


def _tts(given: settings.Settings, asked: Asked) -> int:
    from appliance.engines.tts.engine import KokoroEngine
    from appliance.link.server import host

    host(KokoroEngine(given), given.paths.run / "tts.sock")
    return 0


def _exporter(given: settings.Settings, asked: Asked) -> int:
    from appliance.supervision.exporter import serve

    serve(given)
    return 0


def _guard(given: settings.Settings, asked: Asked) -> int:
    protocol = os.dup(1)  # supervisord's, and spoilt by any other word
    os.dup2(2, 1)
    from appliance.supervision.guard import serve

    return serve(given, protocol)


def _boot(given: settings.Settings, asked: Asked) -> int:
    from appliance.supervision.boot import main as run

    run(given)
    return 0


def _verify(given: settings.Settings, asked: Asked) -> int:
    from appliance.weights import checkpoint, manifest, seal

    sealed = manifest.read(given.paths.lock)
    print(seal.verify(given.paths.weights, sealed, given.profile, full=not asked.quick))
    if given.llm.engine == "vllm":
        # Sealed is not yet sound: vLLM would load some wrong folders and answer nonsense.
        model = checkpoint.read(given.paths.weights / given.llm.model)
        kind = model.quantization or model.dtype
        print(f"model sound: {given.llm.model}, {kind}, {model.parameters:,} parameters")
    return 0


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="names and sizes, not every byte")


def _plan(given: settings.Settings, asked: Asked) -> int:
    from appliance.gpu import page

    print(page.describe_plan(given, asked.card, asked.weights))
    return 0


def _plan_options(parser: argparse.ArgumentParser) -> None:
    from appliance.gpu import page

    page.add_plan_options(parser)


def _health(given: settings.Settings, asked: Asked) -> int:
    from appliance.supervision.health import waiting_for

    missing = waiting_for(given.gateway)
    print(f"waiting for {missing}" if missing else "ready")
    return 1 if missing else 0


def _smoke_test(given: settings.Settings, asked: Asked) -> int:
    from appliance.acceptance import run

    journal.configure(given.journal, asked.verb, stream=sys.stderr.buffer)  # stdout: the report
    return run.main(given, asked)


def _smoke_test_options(parser: argparse.ArgumentParser) -> None:
    from appliance.acceptance import site

    site.options(parser)


def _settings(given: settings.Settings, asked: Asked) -> int:
    from appliance.listing import listing

    print(listing(given))
    return 0


def _status(given: settings.Settings, asked: Asked) -> int:
    from appliance.console import commands

    form = "json" if asked.json else "plain" if asked.plain else "screen"
    return commands.status(given, form, asked.colour, asked.lines)


def _logs(given: settings.Settings, asked: Asked) -> int:
    from appliance.console import commands

    return commands.logs(asked.output, asked.unit, asked.colour)


def _trace(given: settings.Settings, asked: Asked) -> int:
    from appliance.console import commands

    return commands.trace(asked.session, asked.colour)


def _drain(given: settings.Settings, asked: Asked) -> int:
    from appliance.console import commands, drain

    if asked.undo:
        return drain.undo(given.paths.run, commands.tell)
    return drain.drain(given.paths.run, asked.wait, commands.tell)


def _bundle(given: settings.Settings, asked: Asked) -> int:
    from appliance.console import commands

    return commands.bundle(given)


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing this can be told to do; `options` adds its own to the command line."""

    run: Callable[[settings.Settings, Asked], int]
    meaning: str
    options: Callable[[argparse.ArgumentParser], None] = _no_options


VERBS: Mapping[str, Verb] = {
    "boot": Verb(_boot, "verify the seal, then run all processes under supervisord"),
    "gateway": Verb(_gateway, "answer callers"),
    "llm": Verb(_llm, "the speech-LLM engine, behind its socket"),
    "tts": Verb(_tts, "the speech synthesis engine, behind its socket"),
    "exporter": Verb(_exporter, "metrics of all processes over HTTP"),
    "guard": Verb(_guard, "restart what is not well, or have the appliance ended; for supervisord"),
    "verify": Verb(_verify, "compare every sealed file with image-manifest.lock", _verify_options),
    "plan": Verb(
        _plan, "what the speech-LLM is started with on the card here, and why", _plan_options
    ),
    "health": Verb(_health, "ask the gateway on this machine; 0 when it is ready for calls"),
    "smoke-test": Verb(
        _smoke_test, "the acceptance of the appliance that runs here", _smoke_test_options
    ),
    "status": Verb(_status, "how the appliance is, on one screen", options.status_options),
    "logs": Verb(_logs, "choose and show lines of the log on stdin", options.logs_options),
    "trace": Verb(
        _trace, "draw one call from the log on stdin, or list all", options.trace_options
    ),
    "drain": Verb(_drain, "take no more calls; those going on go on", options.drain_options),
    "bundle": Verb(_bundle, "a tar for support, with the log on stdin", options.bundle_options),
    "settings": Verb(_settings, "print every setting: name, value, meaning, default"),
}


def _arguments(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m appliance", description="Runs one process or check of the voice appliance."
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        options = verbs.add_parser(name, help=verb.meaning, description=verb.meaning)
        if name in argv:  # what one verb's options import costs the other processes nothing
            verb.options(options)
    return parser


def _report(verb: str, error: ApplianceError) -> int:
    """What happened, what it means and what to do: for a person, or as a line of the log."""
    if sys.stderr.isatty():
        print(f"{verb}: {error}\n", file=sys.stderr)
        print(f"  {error.advice}", file=sys.stderr)
        print(f"  ({error.reason}, exit code {error.exit_code})", file=sys.stderr)
    else:
        fields = journal_fields.describe(error)
        fields.pop("trace")
        fields.pop("caused_by", None)
        journal.get().critical("stopped by an error", exit_code=error.exit_code, **fields)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
