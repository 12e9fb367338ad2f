"""What the watcher records of the packets it has seen."""

from __future__ import annotations

from appliance.egress_proof.packets import Destination
from appliance.egress_proof.tally import MAX_DESTINATIONS, Tally

HERE = Destination("tcp", "127.0.0.1", 8765)
AWAY = Destination("udp", "192.0.2.53", 53, "a.invalid")


def test_record_has_each_destination_with_its_first_time_and_its_packets() -> None:
    tally = Tally()
    for number in range(3):
        tally.add(HERE, float(number))
        tally.add(AWAY, 10.0 + number)
    record = tally.take(20.0)
    assert record == {
        "kind": "packets",
        "time": 20.0,
        "loopback": 3,
        "leaving": [
            {
                "first": 10.0,
                "packets": 3,
                "protocol": "udp",
                "address": "192.0.2.53",
                "port": 53,
                "name": "a.invalid",
            }
        ],
        "more": 0,
    }


def test_each_packet_is_in_one_record_and_silence_in_none() -> None:
    tally = Tally()
    tally.add(AWAY, 1.0)
    assert tally.take(2.0) is not None
    assert tally.take(3.0) is None


def test_scan_of_many_ports_cannot_fill_the_memory_and_every_packet_counts() -> None:
    tally = Tally()
    for port in range(MAX_DESTINATIONS + 30):
        tally.add(Destination("tcp", "203.0.113.1", port), 1.0)
    tally.add(Destination("tcp", "203.0.113.1", 0), 1.0)
    record = tally.take(2.0)
    assert record is not None
    assert len(record["leaving"]) == MAX_DESTINATIONS
    assert record["leaving"][0]["packets"] == 2
    assert record["more"] == 30
