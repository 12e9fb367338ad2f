"""The statement of a proof: what was run, what left, what the watcher saw, the verdict. No I/O.

`voicectl prove-offline` passes the records of one proof, a sequence of JSON values, on stdin. Their
`kind` is:

about      facts of the host: `run_id`, `host`, `kernel`, `engine`, `image_id`, `release`, and
           `flags_left_out`, the flags of this site that concern a network
phase      one step: `name`, `began` and `ended` (epoch seconds), `ok`, and `found` in words
report     the report of a smoke test (`report`) that ran in the phase `phase`
watching, packets, end     the records of the watcher
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.egress_proof import probes
from appliance.egress_proof.packets import Destination

SCHEMA = 1
KIND = "offline-proof"
BOOT, CALLS, FAILURE, CALLS_AFTER, SELF_TEST, STOP = PHASES = (
    "boot",
    "calls",
    "failure",
    "calls after the failure",
    "self-test",
    "stop",
)
# The loopback device must carry the packets of these, or the appliance ran somewhere else.
CALLING = (CALLS, FAILURE, CALLS_AFTER)

NOT_PROVEN = (
    "Behaviour that was not exercised: other settings, inputs, tools, dates or a longer run.",
    "Channels that are not a network: mounted files, the log, shared memory, timing, the screen.",
    "Sockets that are not in a network namespace, such as vsock to the hypervisor.",
    "The appliance in production: its network is given by the site's own flags or unit.",
    "The host, the container engine and the kernel: they are trusted to isolate and to report.",
    "An image that lies: the watcher comes from the same image, and software could recognise a"
    " proof. The signature of the release covers both.",
)
NO_IPV6 = "Attempts over IPv6: the namespace has no IPv6, so none could become a packet."


@dataclass(frozen=True, slots=True)
class Leaving:
    """Packets to one destination outside of the namespace, in one phase.

    first     when the first was seen, epoch seconds
    phase     name of the phase; "between phases" otherwise
    """

    protocol: str
    address: str
    port: int
    name: str
    packets: int
    first: float
    phase: str

    @property
    def to(self) -> Destination:
        return Destination(self.protocol, self.address, self.port, self.name)

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        target = f"{host}:{self.port}" if self.port else host
        asked = f" asking for {self.name}" if self.name else ""
        plural = "" if self.packets == 1 else "s"
        return f"{self.packets} packet{plural} of {self.protocol} to {target}{asked}, {self.phase}"


def read_records(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text. Raises ValueError."""
    decoder = json.JSONDecoder()
    at = 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        if not isinstance(value, dict):
            raise ValueError(f"not an object: {value!r}")
        yield value


def make(records: Sequence[Mapping[str, Any]], image: Mapping[str, str]) -> dict[str, Any]:
    """Return the statement as JSON values. Raises KeyError, TypeError or ValueError.

    image   facts of the image that was run: version, profile, hash of the lock
    """
    about = _only(records, "about")
    phases = _of(records, "phase")
    reports = {record["phase"]: record["report"] for record in _of(records, "report")}
    watching, end = _only(records, "watching"), _only(records, "end")
    seconds = _of(records, "packets")
    ipv6 = bool(watching and watching["ipv6"])
    entries = [_leaving(entry, phases) for record in seconds for entry in record["leaving"]]
    self_tests = {
        sender: _self_test(_probes(about, sender, ipv6), entries) for sender in probes.SENDERS
    }
    own = {to for sender in probes.SENDERS for to in _probes(about, sender, ipv6=True).values()}
    left = _merge([entry for entry in entries if entry.to not in own])
    more = sum(record["more"] for record in seconds)
    loopback = {phase["name"]: _loopback(phase, seconds) for phase in phases}
    problems = [
        *_watcher_problems(watching, end),
        *_self_test_problems(self_tests, {phase["name"] for phase in phases}),
        *_phase_problems(phases, reports, loopback),
    ]
    if left or more:
        problems.insert(0, f"packets that left: {sum(entry.packets for entry in left) + more}")
    times = [time for phase in phases for time in (phase["began"], phase["ended"])]
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "passed": not problems,
        "problems": problems,
        "about": {
            **{name: value for name, value in about.items() if name != "kind"},
            **image,
            "began": _utc(min(times, default=0)),
            "ended": _utc(max(times, default=0)),
        },
        "left": [asdict(entry) for entry in left],
        "left_to_more_destinations": more,
        "phases": [_phase(phase, reports, loopback) for phase in phases],
        "self_tests": self_tests,
        "watched": {
            "ipv4": True,
            "ipv6": ipv6,
            "packets_within": sum(record["loopback"] for record in seconds),
            "packets_not_recorded": end.get("dropped", 0) if end else None,
        },
        "not_proven": [*NOT_PROVEN, *(() if ipv6 else (NO_IPV6,))],
    }


def _of(records: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [record for record in records if record["kind"] == kind]


def _only(records: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """Return the only record of a kind, or an empty one. Raises ValueError if there are more."""
    matching = _of(records, kind)
    if len(matching) > 1:
        raise ValueError(f"{len(matching)} records of kind {kind}")
    return matching[0] if matching else {}


def _leaving(entry: Mapping[str, Any], phases: Sequence[Mapping[str, Any]]) -> Leaving:
    names = [
        phase["name"] for phase in phases if phase["began"] <= entry["first"] <= phase["ended"]
    ]
    return Leaving(**entry, phase=names[0] if names else "between phases")


def _merge(entries: Sequence[Leaving]) -> list[Leaving]:
    """Join the entries of one destination and phase, ordered by their first packet."""
    merged: dict[tuple[Destination, str], Leaving] = {}
    for entry in sorted(entries, key=lambda entry: entry.first):
        key = (entry.to, entry.phase)
        before = merged.get(key)
        packets = entry.packets + (before.packets if before else 0)
        merged[key] = Leaving(**{**asdict(before or entry), "packets": packets})
    return list(merged.values())


def _probes(about: Mapping[str, Any], sender: str, ipv6: bool) -> dict[str, Destination]:
    return probes.expected(str(about["run_id"]), sender, ipv6)


def _self_test(
    wanted: Mapping[str, Destination], entries: Sequence[Leaving]
) -> dict[str, list[str]]:
    destinations = {entry.to for entry in entries}
    return {
        "seen": [name for name, to in wanted.items() if to in destinations],
        "not_seen": [name for name, to in wanted.items() if to not in destinations],
    }


def _loopback(phase: Mapping[str, Any], seconds: Sequence[Mapping[str, Any]]) -> int:
    return sum(
        record["loopback"]
        for record in seconds
        if phase["began"] <= record["time"] <= phase["ended"]
    )


def _phase(
    phase: Mapping[str, Any], reports: Mapping[str, Any], loopback: Mapping[str, int]
) -> dict[str, Any]:
    name = phase["name"]
    report = reports.get(name, {})
    return {
        "name": name,
        "began": _utc(phase["began"]),
        "ended": _utc(phase["ended"]),
        "seconds": round(phase["ended"] - phase["began"], 1),
        "ok": phase["ok"],
        "found": phase["found"],
        "packets_within": loopback[name],
        "answered": _answered(report),
        "checks": [
            f"{check['state']}: {check['check']}: {check['found']}"
            for check in report.get("checks", ())
            if check["state"] != "skipped"
        ],
    }


def _answered(report: Mapping[str, Any]) -> int:
    return sum(turn["outcome"] == "answered" for turn in report.get("turns", ()))


def _watcher_problems(watching: Mapping[str, Any], end: Mapping[str, Any]) -> list[str]:
    if not watching:
        return ["the watcher never watched"]
    if not end:
        return ["the watcher did not watch until the end"]
    if end["dropped"]:
        return [f"{end['dropped']} packets were not recorded: the machine was too busy"]
    return []


def _self_test_problems(
    self_tests: Mapping[str, Mapping[str, Sequence[str]]], phases: Collection[str]
) -> list[str]:
    return [
        f"the watcher did not see what the {sender} sent on purpose: {', '.join(test['not_seen'])}"
        for sender, test in self_tests.items()
        if test["not_seen"] and (sender == "watcher" or SELF_TEST in phases)
    ]


def _phase_problems(
    phases: Sequence[Mapping[str, Any]],
    reports: Mapping[str, Mapping[str, Any]],
    loopback: Mapping[str, int],
) -> list[str]:
    """Say what was not exercised: a proof in which no call was answered is not one."""
    problems = []
    done = {phase["name"]: phase for phase in phases}
    for name in PHASES:
        phase = done.get(name)
        if phase is None:
            problems.append(f"{name}: not run")
            continue
        if not phase["ok"]:
            problems.append(f"{name}: {phase['found']}")
        if name in CALLING and not loopback[name]:
            problems.append(f"{name}: the watcher saw no packet of the calls")
        if name in (CALLS, CALLS_AFTER) and not _answered(reports.get(name, {})):
            problems.append(f"{name}: no call was answered")
        checks = reports.get(name, {}).get("checks", ())
        if name == FAILURE and not any(check["check"] == "recovery" for check in checks):
            problems.append(f"{name}: no process was killed")
        problems += [
            f"{name}: {check['check']}: {check['found']}"
            for check in checks
            if check["state"] == "fail" and check["check"] in ("recovery", "egress")
        ]
    return problems


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
