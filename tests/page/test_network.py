"""A call from the page in a network without a way out: what the browser tries there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.egress_proof.packets import Destination
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway
from tests.page.chromium import Browser
from tests.page.network import ADDRESS, NAME_SERVER, SealedNetwork, sealed_network
from tests.page.user import ANSWERS, LISTENING, SPEAKING, ask, captions, choose_language, signed_in
from tests.pool.programs import program

LOOPBACK = ("127.0.0.1", "::1")
A_NAME, AN_ADDRESS = "weights.example", "203.0.113.9"  # RFC 2606, RFC 5737


@pytest.fixture
def network() -> Iterator[SealedNetwork]:
    """The network of a test; the test itself is in it."""
    with sealed_network() as network:
        yield network


@pytest.fixture
def sealed_browser(network: SealedNetwork, question: Path) -> Iterator[Browser]:
    """A browser in that network, whose microphone hears the question once."""
    browser = Browser(question, launcher=network.prefix)
    yield browser
    browser.stop()


async def test_conversation_tries_the_gateway_only(
    make_gateway: MakeGateway, network: SealedNetwork, sealed_browser: Browser
) -> None:
    """Login, a spoken question, a typed one that interrupts, settings, the end and the logout."""
    llm = ScriptedLLM("It is Paris.", "This is a long answer. " * 40, "Fine.")
    async with make_gateway(llm) as gateway, signed_in(sealed_browser, gateway) as tab:
        assert await tab.evaluate("navigator.onLine")  # it tries what it would try elsewhere
        await tab.click("#talk")
        await tab.wait_for(f"{ANSWERS} === 1")
        await tab.wait_for(LISTENING)
        await ask(tab, "Tell me a story.")
        await tab.wait_for(SPEAKING)
        await ask(tab, "Stop. How are you?")
        await tab.wait_for("document.querySelector('#captions').innerText.includes('Fine.')")
        await choose_language(tab, "de")
        await tab.click("#talk")
        await gateway.wait_sessions_closed()
        assert (await captions(tab))[0].startswith("user")
        await tab.click("#logout")
        await tab.wait_for("!document.querySelector('#login').hidden")
        tried = network.tried()
    driver = {Destination("tcp", "127.0.0.1", sealed_browser.debugger_port)}
    wanted = {Destination("tcp", address, gateway.port) for address in LOOPBACK}
    assert tried & wanted
    assert tried - driver <= wanted


def test_network_has_no_address_that_comes_later(network: SealedNetwork) -> None:
    """A browser that sees a new address drops what it loads: the page stays without its script."""
    ip = program("ip", "iproute2")
    shown = subprocess.run([ip, "-o", "address"], check=True, capture_output=True, text=True)
    addresses = [line.split()[3] for line in shown.stdout.splitlines()]
    assert sorted(addresses) == sorted([ADDRESS, "127.0.0.1/8", "::1/128"])


async def test_what_another_page_tries_is_seen(
    network: SealedNetwork, sealed_browser: Browser
) -> None:
    """The check itself: a lookup of a name, and a connection to an address."""
    async with sealed_browser.tab() as tab:
        await tab.open("data:text/html,<p>a page without a policy")
        for host in (A_NAME, AN_ADDRESS):
            error = await tab.evaluate(f"fetch('http://{host}/').catch(({{name}}) => name)")
            assert error == "TypeError"
        assert network.tried() >= {
            Destination("udp", NAME_SERVER, 53, A_NAME),
            Destination("tcp", AN_ADDRESS, 80),
        }
