"""The order in which several hosts are called."""

import math

from client.errors import CallRefused, CannotConnect
from client.hosts import Hosts

FULL = CallRefused("full", retryable=True, retry_after_seconds=5.0)
UNREACHABLE = CannotConnect("no answer", retryable=True)
UNTRUSTED = CannotConnect("not trusted")


def no_jitter() -> float:
    return 0.0


def test_hosts_are_called_in_order_and_without_a_wait() -> None:
    hosts, called = Hosts(3, no_jitter), []
    for _ in range(3):
        assert hosts.wait_seconds(10.0) == 0
        called.append(place := hosts.next(10.0))
        hosts.failed(place, FULL, 10.0)
    assert called == [0, 1, 2]
    assert hosts.wait_seconds(10.0) == 5.0


def test_the_host_that_is_due_first_is_called_again_first() -> None:
    hosts = Hosts(2, no_jitter)
    hosts.failed(0, FULL, 0.0)
    hosts.failed(1, UNREACHABLE, 0.0)
    assert hosts.wait_seconds(0.0) == 0.25
    assert hosts.next(0.25) == 1
    assert hosts.next(9.0) == 0  # both are due: the order of the list counts


def test_a_host_that_stays_away_is_called_less_and_less_often() -> None:
    hosts, now, delays = Hosts(1, no_jitter), 0.0, []
    for _ in range(4):
        hosts.failed(0, UNREACHABLE, now)
        delays.append(hosts.wait_seconds(now))
        now += delays[-1]
    assert delays == [0.25, 0.5, 1.0, 2.0]


def test_a_host_that_refuses_for_good_is_not_called_again() -> None:
    hosts = Hosts(2, no_jitter)
    hosts.failed(0, UNTRUSTED, 0.0)
    hosts.failed(1, FULL, 0.0)
    assert hosts.next(0.0) == hosts.next(100.0) == 1
    hosts.failed(1, UNTRUSTED, 100.0)
    assert hosts.wait_seconds(100.0) == math.inf
