"""The commands that check the appliance, its settings, its voice or its GPU."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from appliance.commands.command import Command
from appliance.errors import BadSetting, CannotStart, PlainNetwork
from appliance.settings import CONFIG_FILE, Settings, load


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


def check_settings(file: str, environ: Mapping[str, str]) -> int:
    """Print a line for each wrong setting, or one line if all are valid. Return the exit code.

    Checks the values, the model, the voice and the site's lexicon. Other missing files and unknown
    tools are reported only when a process starts.
    """
    from appliance import site_lexicon
    from appliance.tls.policy import require_tls
    from appliance.weights.choices import check_models
    from appliance.weights.voices import check_voice

    try:
        settings = load({**environ, CONFIG_FILE: file} if file else environ)
    except BadSetting as error:
        for each in (error, *error.others):
            name, why = each.details["name"], each.details["why"]
            print(why if file and name == CONFIG_FILE else f"{name}: {why}")
        return error.exit_code
    wrong: list[str] = []
    for check in (check_models, check_voice):
        try:
            check(settings)
        except BadSetting as error:
            each_wrong = (error, *error.others)
            wrong += [f"{each.details['name']}: {each.details['why']}" for each in each_wrong]
    try:
        require_tls(settings.gateway)
    except PlainNetwork as error:
        wrong.append(f"gateway.tls_certificate: {error} {error.advice}")
    _, problems = site_lexicon.examine(settings.tts)
    for problem in problems:
        wrong.append(f"{site_lexicon.where(settings.tts.lexicon_file, problem)}: {problem.why}")
    print("\n".join(wrong) or f"all settings are valid (profile {settings.profile})")
    return CannotStart.exit_code if wrong else 0


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


COMMANDS: Mapping[str, Command] = {
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
}
