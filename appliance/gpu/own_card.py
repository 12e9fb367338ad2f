"""Which of several visible cards belongs to this appliance: the first.

A container normally sees one card. If it sees more (`--gpus all`), the engines would use the first,
but CUDA and the driver may order cards differently, and the loss of another card would end this
appliance. So boot names the card to all its programs, by UUID: CUDA, vLLM, the guard and the
exporter then see no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from appliance import journal
from appliance.gpu import nvml
from appliance.gpu.nvml import CardList

DRIVER_SECONDS = 20.0  # for the driver's reply; a hung one is the guard's business
MIG = "MIG-"  # CUDA shows a process one MIG instance only, and vLLM does not find it by its UUID
log = journal.get()


def variables(cards: CardList) -> dict[str, str]:
    """Return the environment variables that limit a program to the first of several cards."""
    if len(cards.cards) < 2 or not cards.cards[0].uuid or cards.cards[0].uuid.startswith(MIG):
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": cards.cards[0].uuid}


def of_this_machine(
    list_cards: Callable[[], CardList] = nvml.list_cards, seconds: float = DRIVER_SECONDS
) -> Mapping[str, str]:
    """Return the variables for the cards of this machine; none if the driver does not reply."""
    replies: list[CardList] = []
    asking = threading.Thread(target=lambda: replies.append(list_cards()), daemon=True)
    asking.start()
    asking.join(seconds)
    chosen = variables(replies[0]) if replies else {}
    if chosen:
        log.info("first of several cards is used", device=chosen["CUDA_VISIBLE_DEVICES"])
    return chosen
