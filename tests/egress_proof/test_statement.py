"""The statement and its verdict, for records of proofs that went well and of those that did not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from appliance.egress_proof import page, probes
from appliance.egress_proof.packets import Destination
from appliance.egress_proof.statement import PHASES, SELF_TEST, make, read_records

RUN = "00ab12cd"
IMAGE = {"version": "1.2.3", "profile": "cpu", "lock_sha256": "12" * 32}
ANSWERED = {"outcome": "answered"}
RECOVERED = {"state": "pass", "check": "recovery", "found": "llm: recovered after 2.00 s"}
WAY_OUT = Destination("udp", "198.51.100.9", 4000)

Records = list[dict[str, Any]]


def packets(time: float, loopback: int, *leaving: Destination, more: int = 0) -> dict[str, Any]:
    entries = [
        {
            "first": time,
            "packets": 1,
            "protocol": to.protocol,
            "address": to.address,
            "port": to.port,
            "name": to.name,
        }
        for to in leaving
    ]
    return {
        "kind": "packets", "time": time, "loopback": loopback, "leaving": entries, "more": more
    }  # fmt: skip


def proof(ipv6: bool = True) -> Records:
    """The records of a proof that went well: each phase takes 10 s, from 100 on."""
    starts = {name: 100.0 + 10 * number for number, name in enumerate(PHASES)}
    about = {
        "kind": "about",
        "run_id": RUN,
        "host": "ward-7",
        "kernel": "Linux 6.1",
        "engine": "podman 4.3.1",
        "image_id": f"sha256:{'34' * 32}",
        "release": "1.2.3-cpu",
        "flags_left_out": "--publish=8765:8765",
    }
    phases = [
        {"kind": "phase", "name": name, "began": at, "ended": at + 9, "ok": True, "found": "done"}
        for name, at in starts.items()
    ]
    reports = [
        {"kind": "report", "phase": "calls", "report": {"turns": [ANSWERED], "checks": []}},
        {"kind": "report", "phase": "failure", "report": {"turns": [], "checks": [RECOVERED]}},
        {
            "kind": "report",
            "phase": "calls after the failure",
            "report": {"turns": [ANSWERED], "checks": []},
        },
    ]
    own = [packets(90, 4, *probes.expected(RUN, "watcher", ipv6).values())]
    own += [packets(starts[SELF_TEST] + 1, 4, *probes.expected(RUN, "appliance", ipv6).values())]
    calls = [packets(at + 5, 50) for at in starts.values()]
    watching = {"kind": "watching", "time": 89.0, "ipv6": ipv6}
    end = {"kind": "end", "time": 200.0, "dropped": 0}
    return [about, *phases, *reports, watching, *own, *calls, end]


def find(records: Records, kind: str, number: int = 0) -> dict[str, Any]:
    return [record for record in records if record["kind"] == kind][number]


def test_proof_that_went_well_says_so_with_all_facts() -> None:
    statement = make(proof(), IMAGE)
    assert statement["passed"] is True
    assert statement["problems"] == statement["left"] == []
    assert statement["about"] == {
        "run_id": RUN,
        "host": "ward-7",
        "kernel": "Linux 6.1",
        "engine": "podman 4.3.1",
        "image_id": f"sha256:{'34' * 32}",
        "release": "1.2.3-cpu",
        "flags_left_out": "--publish=8765:8765",
        **IMAGE,
        "began": "1970-01-01T00:01:40.000+00:00",
        "ended": "1970-01-01T00:02:39.000+00:00",
    }
    assert [phase["name"] for phase in statement["phases"]] == list(PHASES)
    assert statement["self_tests"]["watcher"]["not_seen"] == []
    assert len(statement["self_tests"]["appliance"]["seen"]) == 5
    text = page.render(statement)
    assert "NOTHING LEFT" in text and "IPv4 and IPv6" in text
    assert "What left\n  nothing\n" in text


def leak(records: Records) -> None:
    records.append(packets(114, 1, WAY_OUT))


def leak_between(records: Records) -> None:
    records.append(packets(109.5, 1, WAY_OUT))


def leak_before(records: Records) -> None:
    records.append(packets(95, 0, WAY_OUT))


def leak_like_a_probe(records: Records) -> None:
    records.append(packets(114, 1, Destination("udp", probes.ADDRESS, 4000)))


def many_leaks(records: Records) -> None:
    records.append(packets(114, 1, more=7))


def blind(records: Records) -> None:
    records.remove(find(records, "packets"))


def blind_to_the_appliance(records: Records) -> None:
    records.remove(find(records, "packets", 1))


def blind_to_names(records: Records) -> None:
    entries = find(records, "packets")["leaving"]
    entries[:] = [entry for entry in entries if not entry["name"]]


def elsewhere(records: Records) -> None:
    for record in records:
        if record["kind"] == "packets":
            record["loopback"] = 0


def overrun(records: Records) -> None:
    find(records, "end")["dropped"] = 3


def cut_short(records: Records) -> None:
    records.remove(find(records, "end"))


def no_watcher(records: Records) -> None:
    records[:] = [each for each in records if each["kind"] in ("about", "phase", "report")]


def nobody_answered(records: Records) -> None:
    find(records, "report")["report"]["turns"] = [{"outcome": "failed"}]


def nothing_killed(records: Records) -> None:
    find(records, "report", 1)["report"]["checks"] = []


def not_recovered(records: Records) -> None:
    find(records, "report", 1)["report"]["checks"] = [{**RECOVERED, "state": "fail"}]


def socket_seen_inside(records: Records) -> None:
    check = {"state": "fail", "check": "egress", "found": "tts: tcp to 198.51.100.9:443"}
    find(records, "report")["report"]["checks"] = [check]


def stopped_badly(records: Records) -> None:
    find(records, "phase", -1).update(ok=False, found="stopped with exit code 137")


def not_started(records: Records) -> None:
    boot, stop = find(records, "phase"), find(records, "phase", -1)
    boot["ok"] = False
    records[:] = [
        each for each in records if each["kind"] not in ("phase", "report") or each in (boot, stop)
    ]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (leak, "packets that left: 1"),
        (leak_between, "packets that left: 1"),
        (leak_before, "packets that left: 1"),
        (leak_like_a_probe, "packets that left: 1"),
        (many_leaks, "packets that left: 7"),
        (blind, "did not see what the watcher sent on purpose: connect over IPv4, sendto"),
        (blind_to_the_appliance, "did not see what the appliance sent on purpose"),
        (blind_to_names, "did not see what the watcher sent on purpose: DNS lookup"),
        (elsewhere, "calls: the watcher saw no packet of the calls"),
        (overrun, "3 packets were not recorded"),
        (cut_short, "did not watch until the end"),
        (no_watcher, "the watcher never watched"),
        (nobody_answered, "calls: no call was answered"),
        (nothing_killed, "failure: no process was killed"),
        (not_recovered, "failure: recovery: llm"),
        (socket_seen_inside, "calls: egress: tts: tcp to 198.51.100.9:443"),
        (stopped_badly, "stop: stopped with exit code 137"),
        (not_started, "calls: not run"),
    ],
)
def test_proof_with_a_fault_does_not_pass(fault: Callable[[Records], None], problem: str) -> None:
    records = proof()
    fault(records)
    statement = make(records, IMAGE)
    assert statement["passed"] is False
    assert any(problem in found for found in statement["problems"]), statement["problems"]
    assert "NOT PROVEN" in page.render(statement)
    assert "NOTHING LEFT" not in page.render(statement)


def test_packet_that_left_is_reported_with_address_port_phase_and_count() -> None:
    records = [*proof(), packets(114, 0, WAY_OUT), packets(115, 0, WAY_OUT)]
    statement = make(records, IMAGE)
    assert statement["left"] == [
        {
            "protocol": "udp",
            "address": "198.51.100.9",
            "port": 4000,
            "name": "",
            "packets": 2,
            "first": 114,
            "phase": "calls",
        }
    ]
    assert "2 packets of udp to 198.51.100.9:4000, calls" in page.render(statement)


def test_namespace_without_ipv6_is_named_as_a_limit() -> None:
    statement = make(proof(ipv6=False), IMAGE)
    assert statement["passed"] is True
    assert any("IPv6" in limit for limit in statement["not_proven"])
    assert "Every packet over IPv4 in" in page.render(statement)
    assert not any("IPv6" in limit for limit in make(proof(), IMAGE)["not_proven"])


def test_page_shows_few_of_many_destinations_and_counts_the_rest() -> None:
    scan = [Destination("tcp", "203.0.113.1", port) for port in range(1, 51)]
    text = page.render(make([*proof(), packets(114, 0, *scan, more=5)], IMAGE))
    assert text.count("packet of tcp") == page.MAX_LEFT
    assert "35 packets to further destinations" in text


def test_page_is_a_page_and_prints_no_control_characters() -> None:
    records = [*proof(), packets(114, 0, Destination("udp", "8.8.8.8", 53, "\x1b[2Ja"))]
    find(records, "about")["host"] = "a\x1b]0;b\nc"
    text = page.render(make(records, IMAGE))
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) < 80


def test_records_may_span_lines() -> None:
    records = proof()
    text = "\n".join(json.dumps(record, indent=index % 2) for index, record in enumerate(records))
    assert list(read_records(text + "\n")) == records


@pytest.mark.parametrize("text", ['{"kind": "end"', "[1]", '{"a": 1} x'])
def test_text_that_is_not_records_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(read_records(text))


def test_two_watchers_are_refused() -> None:
    records = [*proof(), {"kind": "end", "time": 1.0, "dropped": 0}]
    with pytest.raises(ValueError, match="2 records of kind end"):
        make(records, IMAGE)
