#!/usr/bin/env python3
"""How many places and hosts a number of callers needs. Needs Python 3.11 and nothing else.

    ops/pool/scale.py --callers 400 --minutes 3 --places 13     for a site
    ops/pool/scale.py --document docs/scale.md                  write its tables; for developers

The formula is Erlang B (A. K. Erlang, 1917): callers arrive at random and independently, and one
who finds no place gives up. In the proxy's queue callers wait for seconds, so fewer are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

REFUSED = 0.005  # share of callers who find no place: the objective of docs/slo.md for all failures
PLACES = (8, 13, 18)  # of a host: the default of gpu, an L4 with FP8, an L4 or an A10 with W4A16
HOSTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50)
CALL_MINUTES = 3.0
MOST_ERLANGS = 1_000_000  # takes seconds; far above any site
# Measured in tests/pool with 8 calls over TLS; docs/scale.md.
UP_MEGABITS, DOWN_MEGABITS = 0.29, 0.42


def refused_share(erlangs: float, places: int) -> float:
    """Erlang B: the share of callers who find all places taken.

    erlangs  calls per second times seconds per call: the mean number of calls if none were refused
    """
    inverse = 1.0  # 1 / B, by the recursion over places that does not overflow
    for taken in range(1, places + 1):
        inverse = 1.0 + inverse * taken / erlangs if erlangs > 0 else float("inf")
    return 1.0 / inverse


def load_of(places: int, refused: float = REFUSED) -> float:
    """Return the largest load in erlangs of which at most the share `refused` is refused."""
    low, high = 0.0, places / (1 - refused) + 1
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if refused_share(middle, places) > refused else (middle, high)
    return low


def places_for(erlangs: float, refused: float = REFUSED) -> int:
    """Return the least number of places at which at most the share `refused` is refused.

    One pass of the recursion of refused_share: it goes through all smaller numbers of places.
    """
    places, inverse = 0, 1.0
    while 1.0 / inverse > refused:
        places += 1
        inverse = 1.0 + inverse * places / erlangs if erlangs > 0 else float("inf")
    return places


def hosts_for(erlangs: float, places: int, refused: float = REFUSED) -> int:
    """Return how many hosts are needed, one of which may be lost or upgraded."""
    return _hosts_with(places_for(erlangs, refused), places)


def _hosts_with(needed: int, places: int) -> int:
    """Return how many hosts have the needed places, plus the one in reserve."""
    return -(-needed // places) + 1


def split_share(erlangs: float, hosts: int, places: int) -> float:
    """Return the share that is refused if each caller is sent to a random host, full or not."""
    return refused_share(erlangs / hosts, places)


def callers_an_hour(erlangs: float, minutes: float = CALL_MINUTES) -> int:
    """Return how many callers an hour are a load, rounded down to two digits or more."""
    return int(erlangs * 60 / minutes)


def capacity_table() -> Iterable[str]:
    """Callers an hour by hosts and places. One host is reserve, except if there is only one."""
    yield "| hosts | " + " | ".join(f"{places} places each" for places in PLACES) + " |"
    yield "|---" * (len(PLACES) + 1) + "|"
    for hosts in HOSTS:
        cells = []
        for places in PLACES:
            load = load_of(max(1, hosts - 1) * places)
            cells.append(f"{load:.1f} calls, {callers_an_hour(load)} an hour")
        yield f"| {hosts} | " + " | ".join(cells) + " |"


def pooling_table(hosts: int = 3, places: int = 8) -> Iterable[str]:
    """What a pool refuses, and what the same hosts refuse if each has callers of its own."""
    yield "| calls at the same time, mean | pool refuses | random host refuses |"
    yield "|---|---|---|"
    for refused in (0.001, REFUSED, 0.01, 0.02, 0.05):
        load = load_of(hosts * places, refused)
        split = split_share(load, hosts, places)
        yield f"| {load:.1f} | {refused:.1%} | {split:.1%} |"


def site_lines(callers: float, minutes: float, places: int) -> Iterable[str]:
    """What a site with these callers in its busiest hour needs."""
    load = callers * minutes / 60
    needed = places_for(load)
    hosts = _hosts_with(needed, places)
    most = hosts * places
    yield f"{load:.1f} calls at the same time, on average over the busiest hour"
    yield f"{needed} places, so that at most {REFUSED:.1%} of the callers are refused"
    yield f"{hosts} hosts with {places} places each, one of them as reserve"
    yield (
        f"{most * UP_MEGABITS:.0f} Mbit/s from callers, {most * DOWN_MEGABITS:.0f} Mbit/s to them "
        "at the proxy, if all places are taken and all hosts speak"
    )


def document(text: str) -> str:
    """Return the text of docs/scale.md with its tables as this program computes them."""
    tables = {"capacity": capacity_table(), "pooling": pooling_table()}
    for name, lines in tables.items():
        mark = f"<!-- {name}: generated by ops/pool/scale.py -->"
        before, _, rest = text.partition(f"{mark}\n")
        _, _, after = rest.partition("<!-- end -->")
        text = "".join(
            (before, f"{mark}\n", *(f"{line}\n" for line in lines), "<!-- end -->", after)
        )
    return text


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--callers", type=float, help="in the busiest hour")
    parser.add_argument("--minutes", type=float, default=CALL_MINUTES, help="of a call (3)")
    parser.add_argument("--places", type=int, default=PLACES[0], help="of a host (8)")
    parser.add_argument("--document", type=Path, help="write the tables of docs/scale.md")
    options = parser.parse_args(arguments)
    if options.document:
        text = options.document.read_text(encoding="utf-8")
        options.document.write_text(document(text), encoding="utf-8")
        return 0
    if options.callers is None or min(options.callers, options.minutes, options.places) <= 0:
        parser.error("--callers is missing, or a number is not above zero")
    if not options.callers * options.minutes / 60 <= MOST_ERLANGS:  # also if one is not a number
        parser.error(
            f"--callers times --minutes is more than {MOST_ERLANGS:,} calls at the same time: "
            "check both, or compute each site of its own"
        )
    print("\n".join(site_lines(options.callers, options.minutes, options.places)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
