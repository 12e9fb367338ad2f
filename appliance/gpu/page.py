"""The tables of docs/hardware.md and the text of one plan, made from the numbers in this room."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from appliance.errors import BadSetting, CannotStart
from appliance.gpu import memory, nvml, page, speed
from appliance.gpu.cards import GIB, KNOWN, Card, Known, asked_for, recommended
from appliance.gpu.planning import Plan, plan
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.settings import Settings, load
from appliance.weights import checkpoint
from appliance.weights.checkpoint import Checkpoint

PROMPT_TOKENS = 600  # of a first turn: instructions, tools, a short past
CLIP_SECONDS = 5
SHOWN = ("L4", "A10")  # whose sums are written out

_BLOCK = re.compile(r"(<!-- (\w+): made by python -m appliance\.gpu -->\n).*?(<!-- end -->)", re.S)


def rendered(page: str) -> str:
    """The page with every marked block made anew. Raises KeyError for a mark nobody knows."""
    return _BLOCK.sub(lambda block: block[1] + TABLES[block[2]]() + "\n" + block[3], page)


def shown(card: Card, checkpoint: Checkpoint, settings: Settings) -> str:
    """A plan for people: card, sum, choices with reasons, expected speed. Raises as plan does."""
    made = plan(card, checkpoint, settings)
    lines = [
        f"{card.title}, compute capability {card.capability[0]}.{card.capability[1]}"
        + (f", driver {card.driver}" if card.driver else ""),
        f"{checkpoint.quantization or 'bf16'} weights of {checkpoint.folder.name}",
        "",
        *(f"  {item.what:30}{item.size_bytes / GIB:8.2f} GiB" for item in made.items),
        f"  {'left':30}{_left(card, made) / GIB:8.2f} GiB",
        "",
        f"memory fraction {made.memory_fraction:g}, context {made.context_tokens:,} tokens, "
        f"{made.max_sequences} replies at a time, KV in {made.kv_dtype}, {made.dtype}",
        *(f"  {reason}" for reason in made.reasons),
        "",
        *_expected(card, checkpoint),
    ]
    return "\n".join(lines)


def _left(card: Card, made: Plan) -> int:
    return card.memory_bytes - sum(item.size_bytes for item in made.items)


def _expected(card: Card, checkpoint: Checkpoint) -> Iterable[str]:
    step = speed.seconds_per_token(card, checkpoint)
    if not step:
        return ["how fast: not known, this card is not in the table and NVML does not tell"]
    lines = [
        f"at most {1 / step:.0f} tokens a second, a first phrase of {speed.FIRST_PHRASE_TOKENS} "
        f"tokens in {_ms(speed.first_phrase_seconds(card, checkpoint))}"
    ]
    if prompt := speed.prefill_seconds(card, checkpoint, PROMPT_TOKENS):
        clip = speed.encoder_seconds(card, checkpoint, CLIP_SECONDS)
        lines.append(
            f"about {_ms(prompt)} for {PROMPT_TOKENS} new tokens of prompt, {_ms(clip)} to hear "
            f"{CLIP_SECONDS} s"
        )
    return [*lines, "computed from the data sheet, not measured"]


def _deployed() -> Settings:
    return load({"VOICE_PROFILE": "gpu"})


def _cards() -> str:
    rows = []
    for line in KNOWN:
        kinds, why = recommended(line.as_card())
        rows.append(
            (
                line.name,
                f"{line.capability[0]}.{line.capability[1]}",
                f"{line.gib:g}",
                f"{line.gigabytes_per_second:g}",
                f"{line.teraflops:g}",
                ", ".join(kinds) or "none",
                why,
            )
        )
    head = ("card", "capability", "GiB", "GB/s", "bf16 TFLOP/s", "weights", "because")
    return _table(head, rows)


def _weights() -> str:
    rows = []
    for kind in KINDS:
        sizes = ultravox_8b(kind).weights_bytes
        parts = (sizes.layers, sizes.lm_head, sizes.embed_tokens, sizes.audio_tower)
        rows.append(
            (
                kind,
                *(f"{part / 1e9:.2f}" for part in (*parts, sizes.projector)),
                f"{sizes.total / 1e9:.2f}",
                f"{sizes.total / GIB:.1f}",
                f"{sizes.per_token / 1e9:.2f}",
            )
        )
    head = (
        "weights", "layers", "lm_head", "embeddings", "encoder", "projector", "all, GB", "all, GiB",
        "read per token, GB",
    )  # fmt: skip
    return _table(head, rows)


def _kv() -> str:
    rows = []
    for dtype in ("bfloat16", "fp8"):
        one = ultravox_8b("bf16").kv_bytes_per_token(dtype)
        call = memory.conversation_tokens(_deployed())
        rows.append(
            (
                dtype,
                f"{one / 1024:g}",
                f"{1000 * one / memory.MIB:.1f}",
                f"{call:,}",
                f"{call * one / memory.MIB:.0f}",
            )
        )
    head = ("KV", "KiB a token", "MiB per 1,000 tokens", "tokens of a full call", "MiB of it")
    return _table(head, rows)


def _sums() -> str:
    """Sums of the cards that are spelled out, one column for each kind of weights."""
    parts = []
    for name in SHOWN:
        line = _line(name)
        card = line.as_card()
        made = {kind: planned for kind in KINDS if (planned := _try(line, kind))}
        labels = dict.fromkeys(_label(item.what) for one in made.values() for item in one.items)
        sizes = {
            kind: {_label(item.what): item.size_bytes for item in one.items}
            for kind, one in made.items()
        }
        rows = [
            (label, *(f"{sizes[kind].get(label, 0) / GIB:.2f}" for kind in made))
            for label in labels
        ]
        rows.append(("all", *(f"{sum(sizes[kind].values()) / GIB:.2f}" for kind in made)))
        rows.append(("memory fraction", *(f"{one.memory_fraction:g}" for one in made.values())))
        parts.append(_table((f"{card.title}, GiB", *made), rows))
    return "\n\n".join(parts)


def _results() -> str:
    rows = []
    settings = _deployed()
    call = memory.conversation_tokens(settings)
    for line in KNOWN:
        card = line.as_card()
        kinds = recommended(card)[0]
        for kind in (*kinds, *{"bf16"}.difference(kinds)):
            made, found = _try(line, kind), ultravox_8b(kind)
            if not made:
                continue
            star = "**" if kind == kinds[0] else ""
            rows.append(
                (
                    line.name,
                    f"{star}{kind}{star}",
                    f"{made.memory_fraction:.2f}",
                    made.kv_dtype,
                    f"{made.kv_tokens:,}",
                    str(made.kv_tokens // call),
                    f"{1 / speed.seconds_per_token(card, found):.0f}",
                    _ms(speed.first_phrase_seconds(card, found)),
                    _ms(speed.prefill_seconds(card, found, PROMPT_TOKENS)),
                    _ms(speed.encoder_seconds(card, found, CLIP_SECONDS)),
                    str(made.batched_tokens),
                )
            )
    head = (
        "card", "weights", "fraction", "KV", "KV tokens", "full calls", "tokens/s, limit",
        f"first phrase ({speed.FIRST_PHRASE_TOKENS} tokens)", f"prompt of {PROMPT_TOKENS} tokens",
        f"hearing {CLIP_SECONDS} s", "tokens a step",
    )  # fmt: skip
    return _table(head, rows)


def _refusals() -> str:
    """What is told where it does not work."""
    small = Card("NVIDIA RTX A4000", int(15.7 * GIB), int(15.7 * GIB), (8, 6), "")
    l4 = _line("L4").as_card()
    cases: Iterable[tuple[str, Card, str, Mapping[str, str]]] = (
        ("bf16 weights on a card of 16 GB", small, "bf16", {}),
        ("FP8 weights on an A10", _line("A10").as_card(), "fp8", {}),
        ("a memory fraction of 0.97", l4, "fp8", {"VOICE_LLM_MEMORY_FRACTION": "0.97"}),
        ("40 replies at a time", l4, "fp8", {"VOICE_LLM_MAX_SEQUENCES": "40"}),
        ("any weights on a T4", _line("T4").as_card(), "w4a16", {}),
    )
    told = []
    for what, card, kind, environ in cases:
        try:
            plan(card, ultravox_8b(kind), load({"VOICE_PROFILE": "gpu", **environ}))
        except CannotStart as error:
            told.append(f"{what}:\n\n> {error}")
    return "\n\n".join(told)


TABLES: Mapping[str, Callable[[], str]] = {
    "cards": _cards,
    "weights": _weights,
    "kv": _kv,
    "sums": _sums,
    "results": _results,
    "refusals": _refusals,
    "example": lambda: (
        "```\n" + shown(_line("L4").as_card(), ultravox_8b("fp8"), _deployed()) + "\n```"
    ),
}


def _try(line: Known, kind: str) -> Plan | None:
    try:
        return plan(line.as_card(), ultravox_8b(kind), _deployed())
    except CannotStart:
        return None


def _line(name: str) -> Known:
    found = asked_for(name)
    assert found
    return found


def _label(what: str) -> str:
    return "KV cache" if what.startswith("KV of ") else what


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def told(settings: Settings, card: str, weights: str) -> str:
    """The plan in words for a card of the table by name, or for the first one that is here.

    weights: one of reference.KINDS, or empty for those in the sealed folder; where there is none,
    the kind that suits the card. Raises as plan does, and BadSetting for an unknown name.
    """
    if card:
        line = asked_for(card)
        if not line:
            names = ", ".join(known.name for known in KNOWN)
            raise BadSetting(name="--card", why=f"{card!r} is not one of: {names}")
        return _told(line.as_card(), settings, weights)
    found = nvml.look()
    if not found.cards:
        return (
            f"No card: {found.why}.\nOn the CPU the engine calculates in float32, for tests only. "
            "Ask for a card with --card, such as --card L4."
        )
    first, *more = found.cards
    lines = [_told(first, settings, weights), *(f"not used: {other.title}" for other in more)]
    return "\n".join([*lines, *([found.why] if found.why else [])])


def _told(card: Card, settings: Settings, weights: str) -> str:
    model, note = _model(card, settings, weights)
    return page.shown(card, model, settings) + note


def _model(card: Card, settings: Settings, weights: str) -> tuple[Checkpoint, str]:
    if weights:
        if weights not in KINDS:
            raise BadSetting(name="--weights", why=f"{weights!r} is none of {', '.join(KINDS)}")
        return ultravox_8b(weights), ""
    folder = settings.paths.weights / settings.llm.model
    if folder.exists():
        return checkpoint.read(folder), ""
    kind = (*recommended(card)[0], "bf16")[0]
    return ultravox_8b(kind), f"\nno model in {folder}: reckoned with {kind} weights"
