"""When a client pings, and when it takes the host for lost."""

import pytest

from client.liveness import TICK_SECONDS, Liveness, Pulse


def pulses(liveness: Liveness, start: float, seconds: float) -> list[tuple[float, Pulse]]:
    """Tick for some seconds; return what was to do, and when."""
    found: list[tuple[float, Pulse]] = []
    for tick in range(1, round(seconds / TICK_SECONDS) + 1):
        now = start + tick * TICK_SECONDS
        if (pulse := liveness.tick(now)) is not Pulse.WAIT:
            found.append((round(now, 3), pulse))
    return found


def test_a_host_that_sends_is_not_pinged() -> None:
    liveness = Liveness(0.0)
    for tick in range(1, 100):
        liveness.heard()
        assert liveness.tick(tick * TICK_SECONDS) is Pulse.WAIT


def test_a_quiet_host_that_answers_its_pings_is_never_lost() -> None:
    liveness, pings = Liveness(0.0), 0
    for tick in range(1, 600):
        pulse = liveness.tick(tick * TICK_SECONDS)
        assert pulse is not Pulse.LOST
        if pulse is Pulse.PING:
            pings += 1
            liveness.heard()
    assert 50 <= pings <= 120


@pytest.mark.parametrize("answered_seconds_ago", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_a_vanished_host_is_lost_within_four_seconds(answered_seconds_ago: float) -> None:
    liveness = Liveness(0.0)
    liveness.heard()
    pulses(liveness, 0.0, answered_seconds_ago)  # the host vanishes now
    found = pulses(liveness, answered_seconds_ago, 6.0)
    assert found[0][1] is Pulse.PING
    lost_after = next(now for now, pulse in found if pulse is Pulse.LOST) - answered_seconds_ago
    assert 3.0 < lost_after < 4.0


@pytest.mark.parametrize("answered_seconds_ago", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_a_network_that_stands_still_for_three_seconds_is_survived(
    answered_seconds_ago: float,
) -> None:
    liveness = Liveness(0.0)
    liveness.heard()
    found = pulses(liveness, 0.0, answered_seconds_ago)
    found += pulses(liveness, answered_seconds_ago, 3.0)
    assert [pulse for _, pulse in found] == [Pulse.PING]
    liveness.heard()
    assert liveness.tick(answered_seconds_ago + 3.1) is Pulse.WAIT


def test_a_client_that_stood_still_reads_what_has_arrived_before_it_gives_up() -> None:
    liveness = Liveness(0.0)
    assert pulses(liveness, 0.0, 0.6) == [(0.5, Pulse.PING)]
    assert liveness.tick(60.0) is Pulse.WAIT  # a suspended laptop
    liveness.heard()
    assert liveness.tick(60.1) is Pulse.WAIT
