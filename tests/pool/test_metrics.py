"""HAProxy's metrics: those in rules and dashboard exist, and count what the objective is about."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from websockets.exceptions import InvalidStatus

from tests.monitoring.shipped import FOLDER, POOL_ALERTS, POOL_RECORDS, proxy_metric_names
from tests.pool.callers import dial, several, waiting
from tests.pool.site import PoolSite

ADMITTED = r'haproxy_server_http_responses_total\{proxy="calls",server="[^"]+",code="1xx"\} (\d+)'
REFUSED = r'haproxy_backend_http_responses_total\{proxy="calls",code="5xx"\} (\d+)'


async def _count(site: PoolSite, pattern: str) -> int:
    page = await asyncio.to_thread(site.proxy.metrics)
    return sum(map(int, re.findall(pattern, page)))


def test_every_metric_in_rules_alerts_and_dashboard_is_exposed(site: PoolSite) -> None:
    page = site.proxy.metrics()
    board = json.loads((FOLDER / "pool-dashboard.json").read_text(encoding="utf-8"))
    used = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    used += [*POOL_RECORDS.values(), *(rule["expr"] for rule in POOL_ALERTS.values())]
    names = {name for expression in used for name in proxy_metric_names(expression)}
    assert names
    for name in names:
        assert re.search(rf"^{name}\{{", page, re.MULTILINE), name
    for state in ("UP", "NOLB", "DRAIN", "DOWN"):
        assert f'haproxy_server_status{{proxy="calls",server="host-1",state="{state}"}}' in page


async def test_caller_who_gets_in_at_another_host_does_not_count_as_a_failure(
    site: PoolSite,
) -> None:
    """One host is full by another path. All callers are admitted while their calls go on."""
    admitted, refused = await _count(site, ADMITTED), await _count(site, REFUSED)
    async with several(site, range(8), site.hosts[0]), several(site, range(8, 24)):
        assert await _count(site, ADMITTED) == admitted + 16
        assert await _count(site, REFUSED) == refused


async def test_caller_whom_the_pool_refuses_is_one_failure(site: PoolSite) -> None:
    refused = await _count(site, REFUSED)
    for host in site.hosts:
        host.drain()
    try:
        drained = {host.name: "NOLB" for host in site.hosts}
        await waiting(lambda: site.proxy.states() == drained, "all are drained")
        with pytest.raises(InvalidStatus):
            await dial(site, 0)
    finally:
        for host in site.hosts:
            host.open()
    assert await _count(site, REFUSED) == refused + 1
