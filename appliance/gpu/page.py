"""The text of `python -m appliance plan`, and the tables of docs/hardware.md."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping

from appliance.errors import BadSetting, CannotStart
from appliance.gpu import memory, nvml, speed
from appliance.gpu.cards import CARD_MODELS, GIB, CardModel, GpuCard, find_model, recommend_weights
from appliance.gpu.planning import Plan, plan
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.settings import Settings, load
from appliance.weights import checkpoint as checkpoints
from appliance.weights.checkpoint import Checkpoint

PROMPT_TOKENS = 600  # prompt of a first turn: instructions, tools, a short history
CLIP_SECONDS = 5
DETAILED = ("L4", "A10")  # cards whose budget is shown item by item

# The plan.


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m appliance plan`."""
    names = [model.short_name for model in CARD_MODELS]
    parser.add_argument(
        "--card",
        type=_short_name,
        choices=names,
        default="",
        metavar="CARD",
        help=f"plan for this card instead of the installed one: {', '.join(names)}",
    )
    parser.add_argument(
        "--weights",
        choices=KINDS,
        default="",
        help="plan for weights of this kind instead of the sealed ones",
    )


def _short_name(text: str) -> str:
    """Convert another spelling of a card's name; an unknown name is returned unchanged."""
    model = find_model(text)
    return model.short_name if model else text


def describe_plan(settings: Settings, card: str = "", weights: str = "") -> str:
    """Describe the plan for the named card, or else for the first installed card.

    weights: one of reference.KINDS. If empty, the weights in the sealed folder; without such a
    folder, the kind recommended for the card. Raises the errors of plan(), and BadSetting if the
    engine uses no GPU.
    """
    if card:
        return _describe(_model(card).as_card(), settings, weights)
    listing = nvml.list_cards()
    if not listing.cards:
        return (
            f"No card: {listing.problem}.\nWithout a card the engine computes in float32 on the "
            "CPU, for tests only. Plan for another card with --card, such as --card L4."
        )
    first, *others = listing.cards
    lines = [_describe(first, settings, weights), *(f"not used: {card.title}" for card in others)]
    return "\n".join([*lines, *([listing.problem] if listing.problem else [])])


def _describe(card: GpuCard, settings: Settings, weights: str) -> str:
    if weights:
        return format_plan(card, ultravox_8b(weights), settings)
    if settings.llm.engine != "vllm":
        why = "the cpu profile uses no GPU; set VOICE_PROFILE=gpu, or plan for --weights"
        raise BadSetting(name="llm.engine", why=why)
    folder = settings.paths.weights / settings.llm.model
    if folder.exists():
        return format_plan(card, checkpoints.read(folder), settings)
    kind = (*recommend_weights(card)[0], "bf16")[0]
    text = format_plan(card, ultravox_8b(kind), settings)
    return f"{text}\nno model in {folder}: computed for {kind} weights"


def format_plan(card: GpuCard, checkpoint: Checkpoint, settings: Settings) -> str:
    """Format card, memory budget, decisions and expected speed. Raises the errors of plan()."""
    result = plan(card, checkpoint, settings)
    unused = card.memory_bytes - sum(item.size_bytes for item in result.items)
    lines = [
        f"{card.title}, compute capability {card.capability[0]}.{card.capability[1]}"
        + (f", driver {card.driver}" if card.driver else ""),
        f"{checkpoint.quantization or 'bf16'} weights of {checkpoint.folder.name}",
        "",
        *(f"  {item.label:30}{item.size_bytes / GIB:8.2f} GiB" for item in result.items),
        f"  {'unused':30}{unused / GIB:8.2f} GiB",
        "",
        f"memory fraction {result.memory_fraction:g}, context {result.context_tokens:,} tokens, "
        f"{result.max_sequences} replies at a time, KV cache in {result.kv_dtype}, "
        f"computation in {result.dtype}",
        *(f"  {reason}" for reason in result.reasons),
        "",
        *_expected_speed(card, checkpoint),
    ]
    return "\n".join(lines)


def _expected_speed(card: GpuCard, checkpoint: Checkpoint) -> Iterable[str]:
    step = speed.seconds_per_token(card, checkpoint)
    if not step:
        return ["speed unknown: the card is not in the table, and NVML reports no bandwidth"]
    lines = [
        f"at most {1 / step:.0f} tokens per second; a first phrase of {speed.FIRST_PHRASE_TOKENS} "
        f"tokens takes at least {_ms(speed.first_phrase_seconds(card, checkpoint))}"
    ]
    if prefill := speed.prefill_seconds(card, checkpoint, PROMPT_TOKENS):
        encoder = speed.encoder_seconds(card, checkpoint, CLIP_SECONDS)
        lines.append(
            f"about {_ms(prefill)} for the prefill of {PROMPT_TOKENS} tokens, {_ms(encoder)} to "
            f"encode {CLIP_SECONDS} s of audio"
        )
    return [*lines, "computed from the data sheet, not measured"]


# The tables of docs/hardware.md, with the default settings of the gpu profile.

_BLOCK = re.compile(
    r"(<!-- (\w+): generated by python -m appliance\.gpu -->\n).*?(<!-- end -->)", re.S
)


def update_tables(page: str) -> str:
    """Regenerate every marked table of the page. Raises KeyError for an unknown marker."""
    return _BLOCK.sub(lambda block: block[1] + TABLES[block[2]]() + "\n" + block[3], page)


def _gpu_settings() -> Settings:
    return load({"VOICE_PROFILE": "gpu"})


def _cards_table() -> str:
    rows = []
    for model in CARD_MODELS:
        kinds, why = recommend_weights(model.as_card())
        rows.append(
            (
                model.name,
                f"{model.capability[0]}.{model.capability[1]}",
                f"{model.gib:g}",
                f"{model.gigabytes_per_second:g}",
                f"{model.teraflops:g}",
                ", ".join(kinds) or "none",
                why,
            )
        )
    head = ("card", "capability", "GiB", "GB/s", "bf16 TFLOP/s", "weights", "because")
    return _table(head, rows)


def _weights_table() -> str:
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
        "weights", "layers", "lm_head", "embeddings", "encoder", "projector", "total, GB",
        "total, GiB", "read per token, GB",
    )  # fmt: skip
    return _table(head, rows)


def _kv_table() -> str:
    rows = []
    for dtype in ("bfloat16", "fp8"):
        per_token = ultravox_8b("bf16").kv_bytes_per_token(dtype)
        call = memory.conversation_tokens(_gpu_settings())
        rows.append(
            (
                dtype,
                f"{per_token / 1024:g}",
                f"{1000 * per_token / memory.MIB:.1f}",
                f"{call:,}",
                f"{call * per_token / memory.MIB:.0f}",
            )
        )
    head = (
        "KV cache", "KiB per token", "MiB per 1,000 tokens", "tokens of a full call",
        "MiB of a full call",
    )  # fmt: skip
    return _table(head, rows)


def _budget_tables() -> str:
    """Memory budgets of the DETAILED cards, with a column for each kind of weights that fits."""
    tables = []
    for name in DETAILED:
        model = _model(name)
        plans = {kind: result for kind in KINDS if (result := _try_plan(model, kind))}
        sizes = {
            kind: {_label(item.label): item.size_bytes for item in result.items}
            for kind, result in plans.items()
        }
        labels = dict.fromkeys(label for items in sizes.values() for label in items)
        rows = [
            (label, *(f"{sizes[kind].get(label, 0) / GIB:.2f}" for kind in plans))
            for label in labels
        ]
        rows.append(("total", *(f"{sum(sizes[kind].values()) / GIB:.2f}" for kind in plans)))
        fractions = (f"{result.memory_fraction:g}" for result in plans.values())
        rows.append(("memory fraction", *fractions))
        tables.append(_table((f"{model.as_card().title}, GiB", *plans), rows))
    return "\n\n".join(tables)


def _results_table() -> str:
    rows = []
    call = memory.conversation_tokens(_gpu_settings())
    for model in CARD_MODELS:
        card = model.as_card()
        kinds = recommend_weights(card)[0]
        for kind in (*kinds, *{"bf16"}.difference(kinds)):
            result, checkpoint = _try_plan(model, kind), ultravox_8b(kind)
            if not result:
                continue
            bold = "**" if kind == kinds[0] else ""
            rows.append(
                (
                    model.name,
                    f"{bold}{kind}{bold}",
                    f"{result.memory_fraction:.2f}",
                    result.kv_dtype,
                    f"{result.kv_tokens:,}",
                    str(result.kv_tokens // call),
                    f"{1 / speed.seconds_per_token(card, checkpoint):.0f}",
                    _ms(speed.first_phrase_seconds(card, checkpoint)),
                    _ms(speed.prefill_seconds(card, checkpoint, PROMPT_TOKENS)),
                    _ms(speed.encoder_seconds(card, checkpoint, CLIP_SECONDS)),
                    str(result.batched_tokens),
                )
            )
    head = (
        "card", "weights", "fraction", "KV cache", "KV tokens", "full calls", "tokens/s, limit",
        f"first phrase ({speed.FIRST_PHRASE_TOKENS} tokens)", f"prefill of {PROMPT_TOKENS} tokens",
        f"encoding {CLIP_SECONDS} s", "tokens per step",
    )  # fmt: skip
    return _table(head, rows)


def _refusals() -> str:
    """The error messages of plans that are impossible."""
    small = GpuCard("NVIDIA RTX A4000", int(15.7 * GIB), int(15.7 * GIB), (8, 6), "")
    l4 = _model("L4").as_card()
    cases: Iterable[tuple[str, GpuCard, str, Mapping[str, str]]] = (
        ("bf16 weights on a card of 16 GB", small, "bf16", {}),
        ("FP8 weights on an A10", _model("A10").as_card(), "fp8", {}),
        ("a memory fraction of 0.97", l4, "fp8", {"VOICE_LLM_MEMORY_FRACTION": "0.97"}),
        ("40 replies at a time", l4, "fp8", {"VOICE_LLM_MAX_SEQUENCES": "40"}),
        ("any weights on a T4", _model("T4").as_card(), "w4a16", {}),
    )
    messages = []
    for title, card, kind, environ in cases:
        try:
            plan(card, ultravox_8b(kind), load({"VOICE_PROFILE": "gpu", **environ}))
        except CannotStart as error:
            messages.append(f"{title}:\n\n> {error}")
    return "\n\n".join(messages)


def _example() -> str:
    text = format_plan(_model("L4").as_card(), ultravox_8b("fp8"), _gpu_settings())
    return f"```\n{text}\n```"


TABLES: Mapping[str, Callable[[], str]] = {
    "cards": _cards_table,
    "weights": _weights_table,
    "kv": _kv_table,
    "budget": _budget_tables,
    "results": _results_table,
    "refusals": _refusals,
    "example": _example,
}


def _try_plan(model: CardModel, kind: str) -> Plan | None:
    try:
        return plan(model.as_card(), ultravox_8b(kind), _gpu_settings())
    except CannotStart:
        return None


def _model(name: str) -> CardModel:
    model = find_model(name)
    assert model, f"{name} is not in CARD_MODELS"
    return model


def _label(label: str) -> str:
    """The label of a row. For the KV cache it omits the number of tokens, which varies."""
    return "KV cache" if label.startswith("KV of ") else label


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
