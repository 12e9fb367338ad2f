"""`python -m appliance COMMAND`: run one process of the appliance, or a command for operators.

COMMANDS at the end of this file lists them. A command imports its package only when it runs, so
that no process loads the code of another process.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance import core_dumps, journal, journal_fields, offline, run_folder
from appliance.errors import (
    ApplianceError,
    BadLexicon,
    BadSetting,
    CannotStart,
    ModelUnhealthy,
    PlainNetwork,
)
from appliance.processes import EXPORTER, GATEWAY, LLM, NAMES, TTS, socket_path
from appliance.settings import CONFIG_FILE, Settings, load

SUPERVISED = "SUPERVISOR_ENABLED"  # set by supervisord for its programs
RUN_FOLDER = "VOICE_PATHS_RUN"
EXIT_CRASHED = 70  # EX_SOFTWARE of sysexits.h: a bug, not a wrong setting


def main(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Run a command. Return its exit code, or that of the error in the catalogue that it raises."""
    core_dumps.disable()
    core_dumps.hide_memory()
    name = next(iter(argv), "")
    stream = sys.stderr.buffer if name in COMMANDS and COMMANDS[name].log_to_stderr else None
    settings = Settings()
    journal.configure(settings.journal, name, stream=stream)  # until the settings are loaded
    try:
        offline.apply(environ)  # before any package and its libraries are imported
        args = _parse(argv)
        if name == "settings" and args.check is not None:
            return _check_settings(args.check, environ)
        settings = load({**COMMANDS[name].defaults, **environ})
        journal.configure(settings.journal, name, stream=stream)
        return COMMANDS[name].run(settings, args)
    except ApplianceError as error:
        final = error.exit_code == CannotStart.exit_code or isinstance(error, ModelUnhealthy)
        if SUPERVISED in environ and name in NAMES and final:
            # Taken from the environment, where boot always sets it: the settings may be invalid.
            folder = Path(environ.get(RUN_FOLDER, settings.paths.run))
            run_folder.write_failure(folder, name, error)
        return _report(name, error)
    except KeyboardInterrupt:
        return 0
    except Exception:
        journal.get().critical("crashed", exc_info=True, exit_code=EXIT_CRASHED)
        return EXIT_CRASHED


def run() -> int:
    """Run the command `voice-appliance`."""
    return main(sys.argv[1:], os.environ)


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m appliance",
        description="Run one process of the voice appliance, or a command for operators.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        options = subparsers.add_parser(name, help=command.help, description=command.help)
        if name in argv[:1]:
            command.add_options(options)
    return parser.parse_args(argv)


def _report(command: str, error: ApplianceError) -> int:
    """Print an error as text on a terminal, otherwise log it. Return its exit code."""
    errors = [error, *error.others] if isinstance(error, BadSetting) else [error]
    if sys.stderr.isatty():
        for each in errors:
            print(f"{command}: {each}", file=sys.stderr)
        print(f"\n  {error.advice}", file=sys.stderr)
        print(f"  ({error.reason}, exit code {error.exit_code})", file=sys.stderr)
        return error.exit_code
    for each in errors:
        fields = journal_fields.describe(each)
        fields.pop("trace")
        fields.pop("caused_by", None)
        journal.get().critical("stopped by an error", exit_code=error.exit_code, **fields)
    return error.exit_code


# The processes


def _boot(settings: Settings, args: Namespace) -> int:
    from appliance import site_lexicon
    from appliance.supervision import boot
    from appliance.tls.policy import require_tls
    from appliance.weights.choices import check_models
    from appliance.weights.voices import check_voice

    require_tls(settings.gateway)
    check_models(settings)
    check_voice(settings)
    site_lexicon.read(settings.tts)
    boot.main(settings)
    return 0


def _gateway(settings: Settings, args: Namespace) -> int:
    _confine(settings, GATEWAY, settings.audit.folder)
    # smart-turn multiplies a matrix at each pause of a caller. With threads, those of numpy's
    # OpenBLAS spin for 0.1 s afterwards (measured), longer than the model takes. Read at import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from appliance.gateway.server import serve

    serve(settings)
    return 0


def _llm(settings: Settings, args: Namespace) -> int:
    # Without this limit, waiting OpenMP threads spin. When another process needs the core, that
    # slows llama.cpp down (measured: 320 ms per token instead of 123). Read at import.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    from appliance.engines.llm.choose import create_engine
    from appliance.link.server import run_engine

    run_engine(create_engine(settings), socket_path(settings.paths.run, LLM))
    return 0


def _tts(settings: Settings, args: Namespace) -> int:
    from appliance.engines.tts.engine import KokoroEngine
    from appliance.link.server import run_engine

    run_engine(KokoroEngine(settings), socket_path(settings.paths.run, TTS))
    return 0


def _exporter(settings: Settings, args: Namespace) -> int:
    _confine(settings, EXPORTER)
    from appliance.supervision.exporter import serve

    serve(settings)
    return 0


def _confine(settings: Settings, name: str, *folders: str) -> None:
    """Take away the rights that this process does not need, before libraries start threads."""
    from appliance.confinement.confine import confine

    own = run_folder.of_program(settings.paths.run, name)
    confine([own, *(Path(folder) for folder in folders if folder)])


def _guard(settings: Settings, args: Namespace) -> int:
    # supervisord reads its event protocol from stdout: print() anywhere would break it.
    protocol = os.dup(1)
    os.dup2(2, 1)
    from appliance.supervision.guard import serve

    return serve(settings, protocol)


# Checks, and the operator's console


def _settings(settings: Settings, args: Namespace) -> int:
    from appliance.settings import render

    print(render(settings))
    return 0


def _settings_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--check",
        nargs="?",
        const="",
        metavar="FILE",
        help="only check the settings, and print a line for each wrong one (exit code 78); FILE "
        "(TOML) replaces the file that VOICE_CONFIG names",
    )


def _check_settings(file: str, environ: Mapping[str, str]) -> int:
    """Print a line for each wrong setting, or one line if all are valid.

    Checks the values, the model, the voice and the site's lexicon. Other missing files and unknown
    tools are reported only when a process starts.
    """
    from appliance import site_lexicon
    from appliance.tls.policy import require_tls
    from appliance.weights.choices import check_models
    from appliance.weights.voices import check_voice

    try:
        settings = load({**environ, CONFIG_FILE: file} if file else environ)
        check_models(settings)
        check_voice(settings)
    except BadSetting as error:
        for each in (error, *error.others):
            name = each.details["name"]
            print(f"{file if file and name == CONFIG_FILE else name}: {each.details['why']}")
        return error.exit_code
    try:
        require_tls(settings.gateway)
    except PlainNetwork as error:
        print(f"gateway.tls_certificate: {error} {error.advice}")
        return error.exit_code
    _, problems = site_lexicon.examine(settings.tts)
    for problem in problems:
        print(f"{site_lexicon.where(settings.tts.lexicon_file, problem)}: {problem.why}")
    if problems:
        return BadLexicon.exit_code
    print(f"all settings are valid (profile {settings.profile})")
    return 0


def _verify(settings: Settings, args: Namespace) -> int:
    from appliance.supervision import seal_check
    from appliance.weights import checkpoint, choices, seal

    code = seal_check.verify_code({}, full=not args.quick)
    print(code or "code not sealed: this is a development checkout")
    lock = choices.read_chosen(settings)
    print(seal.verify(settings.paths.weights, lock, settings.profile, full=not args.quick))
    if settings.llm.engine == "vllm":
        # Intact files can still be unsuitable: vLLM loads some wrong folders without an error.
        model = checkpoint.read(settings.paths.weights / settings.llm.model)
        kind = model.quantization or model.dtype
        print(f"model sound: {settings.llm.model}, {kind}, {model.parameters:,} parameters")
    return 0


def _verify_options(parser: ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="compare only names and sizes")


def _tools(settings: Settings, args: Namespace) -> int:
    from appliance.gateway.generation.tools import render_tools

    print(render_tools(args.names or settings.llm.tools))
    return 0


def _tools_options(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="instead of those of llm.tools")


def _say(settings: Settings, args: Namespace) -> int:
    from appliance import site_lexicon
    from appliance.engines.tts import say
    from appliance.gateway.speech.phrases import PhraseCutter
    from appliance.gateway.speech.unsplit_names import UnsplitNames

    names = UnsplitNames(site_lexicon.read(settings.tts).written())
    cutter = PhraseCutter.of(settings.tts, names)
    phrases = [*cutter.feed(" ".join(args.text)), "".join(cutter.flush())]
    return say.main(settings, [phrase for phrase in phrases if phrase.strip()], args.wav)


def _say_options(parser: ArgumentParser) -> None:
    from appliance.engines.tts import say

    say.add_options(parser)


def _plan(settings: Settings, args: Namespace) -> int:
    from appliance.gpu import page

    print(page.describe_plan(settings, args.card, args.weights))
    return 0


def _plan_options(parser: ArgumentParser) -> None:
    from appliance.gpu import page

    page.add_plan_options(parser)


def _health(settings: Settings, args: Namespace) -> int:
    from appliance.supervision.health import waiting_for

    missing = waiting_for(settings.gateway)
    print(f"waiting for {missing}" if missing else "ready")
    return 1 if missing else 0


def _smoke_test(settings: Settings, args: Namespace) -> int:
    from appliance.acceptance import run

    return run.main(settings, args)


def _smoke_test_options(parser: ArgumentParser) -> None:
    from appliance.acceptance.options import add_options

    add_options(parser)


def _gpu_proof(settings: Settings, args: Namespace) -> int:
    from appliance.gpu_proof.__main__ import run

    return run(args)


def _gpu_proof_options(parser: ArgumentParser) -> None:
    from appliance.gpu_proof.__main__ import add_options

    add_options(parser)


def _status(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    form = "json" if args.json else "plain" if args.plain else "screen"
    return commands.status(settings, form, args.colour, args.lines)


def _status_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.status_options(parser)


def _exit_reason(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    form = "json" if args.json else "plain" if args.plain else "screen"
    return commands.exit_reason(form, args.exit_code, args.out_of_memory, args.lines)


def _exit_reason_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.exit_reason_options(parser)


def _logs(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    return commands.logs(args.output, args.unit, args.colour)


def _logs_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.logs_options(parser)


def _trace(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    return commands.trace(args.session, args.colour)


def _trace_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.trace_options(parser)


def _drain(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands, drain

    if args.undo:
        return drain.undo(settings.paths.run, commands.print_line)
    wait = settings.gateway.session_seconds if args.wait == commands.LONGEST_CALL else args.wait
    return drain.drain(settings.paths.run, wait, commands.print_line)


def _open(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands, drain

    return drain.open_again(settings.paths.run, commands.print_line)


def _close(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands, drain

    return drain.close(settings.paths.run, commands.print_line)


def _drain_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.drain_options(parser)


def _audit(settings: Settings, args: Namespace) -> int:
    from appliance.console import audit

    return audit.main(settings.audit.folder, args)


def _audit_options(parser: ArgumentParser) -> None:
    from appliance.console import audit

    audit.add_options(parser)


def _token(settings: Settings, args: Namespace) -> int:
    from appliance.console import tokens

    return tokens.main(settings.gateway.token_store, args)


def _token_options(parser: ArgumentParser) -> None:
    from appliance.console import tokens

    tokens.add_options(parser)


def _tls(settings: Settings, args: Namespace) -> int:
    from appliance.tls import command

    return command.main(args)


def _tls_options(parser: ArgumentParser) -> None:
    from appliance.tls import command

    command.add_options(parser)


def _bundle(settings: Settings, args: Namespace) -> int:
    from appliance.console import commands

    return commands.bundle(settings)


def _bundle_options(parser: ArgumentParser) -> None:
    from appliance.console import commands

    commands.bundle_options(parser)


# The proof that nothing leaves the appliance


def _watch_egress(settings: Settings, args: Namespace) -> int:
    from appliance.egress_proof import watcher

    return watcher.watch(args.run_id)


def _egress_probe(settings: Settings, args: Namespace) -> int:
    from appliance.egress_proof import sender

    sender.send(args.run_id, args.sender)
    return 0


def _egress_statement(settings: Settings, args: Namespace) -> int:
    from appliance.egress_proof import command

    return command.main(settings, args.page)


def _run_id_options(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="identifies this run: hexadecimal digits")


def _egress_probe_options(parser: ArgumentParser) -> None:
    from appliance.egress_proof.probes import SENDERS

    _run_id_options(parser)
    parser.add_argument("sender", choices=SENDERS, help="who sends")


def _egress_statement_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--page", action="store_true", help="read a statement from stdin and print it as text"
    )


def _no_options(parser: ArgumentParser) -> None:
    """Add nothing, for commands without options."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `python -m appliance`.

    add_options    adds its options to the command line; called only when the command runs
    defaults       values of environment variables that are not set
    log_to_stderr  whether to log to stderr, because stdout has another use
    """

    help: str
    run: Callable[[Settings, Namespace], int]
    add_options: Callable[[ArgumentParser], None] = _no_options
    defaults: Mapping[str, str] = field(default_factory=dict)
    log_to_stderr: bool = False


COMMANDS: Mapping[str, Command] = {
    # Processes
    "boot": Command("verify the seal, then run all processes under supervisord", _boot),
    "gateway": Command("serve clients over WebSocket", _gateway),
    "llm": Command("serve the speech-LLM engine on its socket", _llm),
    "tts": Command("serve the speech synthesis engine on its socket", _tts),
    "exporter": Command("serve the metrics of all processes over HTTP", _exporter),
    "guard": Command(
        "restart unhealthy processes, or stop the appliance; run by supervisord",
        _guard,
        log_to_stderr=True,  # stdout is supervisord's event protocol
    ),
    # Checks
    "settings": Command("list every setting, or check them", _settings, _settings_options),
    "verify": Command("compare the model files with image-manifest.lock", _verify, _verify_options),
    "plan": Command(
        "show how vLLM will use the GPU, and why",
        _plan,
        _plan_options,
        defaults={"VOICE_PROFILE": "gpu"},  # the only profile with a plan
    ),
    "health": Command("query the local gateway; exit code 0 if it is ready for calls", _health),
    "smoke-test": Command(
        "run the acceptance test",
        _smoke_test,
        _smoke_test_options,
        log_to_stderr=True,  # stdout is the report
    ),
    "gpu-proof": Command(
        "measure this machine's GPU: Kokoro, Ultravox, vLLM, a conversation",
        _gpu_proof,
        _gpu_proof_options,
    ),
    "say": Command(
        "show how a text is spoken: words, phonemes, a WAV file",
        _say,
        _say_options,
        defaults={"VOICE_JOURNAL_LEVEL": "warning"},
        log_to_stderr=True,  # stdout is the answer, or the WAV file
    ),
    "tools": Command(
        "print the tools that the model is offered, as JSON",
        _tools,
        _tools_options,
        defaults={"VOICE_JOURNAL_LEVEL": "warning"},
        log_to_stderr=True,  # stdout is the answer
    ),
    # The operator's console
    "status": Command("show the state of the appliance", _status, _status_options),
    "exit-reason": Command(
        "show why a container exited, with its log on stdin", _exit_reason, _exit_reason_options
    ),
    "logs": Command("filter and format the log on stdin", _logs, _logs_options),
    "trace": Command("draw a call from the log on stdin, or list all", _trace, _trace_options),
    "drain": Command("refuse new calls; calls in progress continue", _drain, _drain_options),
    "open": Command("let callers in: undo close and drain", _open),
    "close": Command("refuse new calls, except those of the acceptance test", _close),
    "audit": Command(
        "check the hash chain of the audit log, or print its head", _audit, _audit_options
    ),
    "token": Command(
        "create, list or revoke named access tokens",
        _token,
        _token_options,
        log_to_stderr=True,  # stdout is the token, or the list
    ),
    "tls": Command(
        "make, show, renew and export the certificates of this host",
        _tls,
        _tls_options,
        defaults={"VOICE_JOURNAL_LEVEL": "warning"},
        log_to_stderr=True,  # stdout is the answer
    ),
    "bundle": Command("write a support bundle, with the log on stdin", _bundle, _bundle_options),
    # The proof that nothing leaves the appliance: programs that voicectl prove-offline runs
    "watch-egress": Command(
        "record every packet in this network namespace until SIGTERM",
        _watch_egress,
        _run_id_options,
        log_to_stderr=True,  # stdout is the record
    ),
    "egress-probe": Command(
        "send packets on purpose, which watch-egress must see",
        _egress_probe,
        _egress_probe_options,
        log_to_stderr=True,
    ),
    "egress-statement": Command(
        "write the statement made of the records of a proof on stdin",
        _egress_statement,
        _egress_statement_options,
        log_to_stderr=True,  # stdout is the statement
    ),
}


if __name__ == "__main__":
    sys.exit(run())
