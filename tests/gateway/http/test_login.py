"""Login cookies and tickets on the real gateway, and who tries to misuse them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from appliance.access import signed
from appliance.access.presented import COOKIE_NAME
from appliance.gateway.http.gatekeeper import Gatekeeper
from appliance.settings import GatewayConfig
from tests.gateway.http.test_tokens import TokenFile, audit, call, tokens
from tests.gateway.requests import Answer, send
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.gateway.test_server import connect_refused

__all__ = ["tokens"]  # a fixture

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
KIOSK = "https://kiosk.example"
EVIL = "https://evil.example"
JSON = {"Content-Type": "application/json"}


def own(gateway: RunningGateway) -> dict[str, str]:
    return {"Origin": f"http://{gateway.address}"}


async def log_in(gateway: RunningGateway, headers: dict[str, str] = AUTHORIZED) -> dict[str, str]:
    """Log in from the gateway's own page. Return the `Cookie` header that a browser then sends."""
    answer = await send(gateway, "POST", "/login", headers | own(gateway))
    assert answer.status == 200, answer.body
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


async def ticket(gateway: RunningGateway, headers: dict[str, str] = AUTHORIZED) -> str:
    answer = await send(gateway, "POST", "/start", headers)
    assert answer.status == 200, answer.body
    return str(answer.json["token"])


async def open_with(gateway: RunningGateway, token: str, **headers: str) -> Any:
    return await connect(f"ws://{gateway.address}/ws?token={token}", additional_headers=headers)


async def refused_with(
    gateway: RunningGateway, token: str, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://{gateway.address}/ws?token={token}", additional_headers=headers)
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["reason"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (AUTHORIZED, b""),
        (JSON, json.dumps({"token": TOKEN}).encode()),
        ({"Content-Type": "application/x-www-form-urlencoded"}, f"token={TOKEN}".encode()),
    ],
)
async def test_browser_that_logged_in_can_call_from_own_pages(
    gateway: RunningGateway, headers: dict[str, str], body: bytes
) -> None:
    answer = await send(gateway, "POST", "/login", headers | own(gateway), body)
    assert answer.status == 200
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert set(attributes) == {"HttpOnly", "Max-Age=43200", "Path=/", "SameSite=strict", "Secure"}
    assert cookie.startswith(f"{COOKIE_NAME}=") and TOKEN not in cookie
    assert answer.headers["cache-control"] == "no-store"
    client = await call(gateway, {"Cookie": cookie} | own(gateway))
    await client.type("Hello.")
    assert (await client.turn(1))["outcome"] == "answered"
    assert audit(gateway, "call_started")[0]["token"] == "shared"


@pytest.mark.parametrize("origin", [None, EVIL, KIOSK, "null", "https://{address}", "http://x"])
async def test_cookie_is_worthless_for_other_pages(
    make_gateway: MakeGateway, origin: str | None
) -> None:
    async with make_gateway(allowed_origins=(KIOSK,)) as gateway:
        cookie = await log_in(gateway)
        headers = dict(cookie)
        if origin is not None:
            headers["Origin"] = origin.format(address=gateway.address)
        assert (await connect_refused(gateway, headers))[:2] == (403, "wrong_origin")
        assert (await send(gateway, "POST", "/start", headers)).status == 403


@pytest.mark.parametrize("origin", [EVIL, KIOSK, "null"])
async def test_other_pages_can_neither_log_in_nor_out(
    make_gateway: MakeGateway, origin: str
) -> None:
    async with make_gateway(allowed_origins=(KIOSK,)) as gateway:
        for path in ("/login", "/logout"):
            answer = await send(gateway, "POST", path, AUTHORIZED | {"Origin": origin})
            assert (answer.status, answer.reason) == (403, "wrong_origin")
            assert "set-cookie" not in answer.headers


async def test_logout_removes_the_cookie(gateway: RunningGateway) -> None:
    answer = await send(gateway, "POST", "/logout", own(gateway))
    assert answer.status == 204
    assert answer.headers["set-cookie"].startswith(f'{COOKIE_NAME}=""; HttpOnly; Max-Age=0;')


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"Authorization": "Bearer wrong"}, b""),
        ({"Authorization": "Bearer wrong"} | JSON, json.dumps({"token": TOKEN}).encode()),
        (JSON, b'{"token": "wrong"}'),
        (JSON, b'{"token": 1}'),
        (JSON, b"["),
        (JSON, b"[" * 2000),
        (JSON, b'"\xff"'),
        (JSON, json.dumps({"token": TOKEN, "x": "x" * 4000}).encode()),
        (JSON | {"Transfer-Encoding": "chunked", "Content-Length": "0"}, b""),
        ({"Content-Type": "application/x-www-form-urlencoded"}, f"token={TOKEN}&token=x".encode()),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"&" * 2000),
        ({"Content-Type": "text/plain"}, json.dumps({"token": TOKEN}).encode()),
    ],
)
async def test_any_other_login_is_refused_and_counted(
    make_gateway: MakeGateway, headers: dict[str, str], body: bytes
) -> None:
    async with make_gateway(max_attempts_per_minute=1) as gateway:
        answers = [
            await send(gateway, "POST", "/login", headers | own(gateway), body) for _ in range(2)
        ]
        if answers[0].status != 400:  # refused by the HTTP parser
            assert [a.status for a in answers] == [401, 429]
            assert [a.reason for a in answers] == ["wrong_token", "too_many_attempts"]
            assert int(answers[1].headers["retry-after"]) > 0
        assert all("set-cookie" not in a.headers for a in answers)
        await log_in(gateway)  # the right token, from the same address
        assert gateway.logged_errors() == []


async def test_body_that_does_not_come_keeps_nobody_out(gateway: RunningGateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"POST /login HTTP/1.1\r\nHost: {gateway.address}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    await log_in(gateway)
    writer.close()
    await gateway.wait_until(
        lambda: gateway.metric("voice_sessions_rejected_total", reason="wrong_token")
    )
    assert gateway.logged_errors() == []


@pytest.mark.parametrize("change", ["other key", "kind", "expired", "twice", "other name", "cut"])
async def test_forged_cookie_is_refused(gateway: RunningGateway, change: str) -> None:
    cookie = (await log_in(gateway))["Cookie"]
    name, _, value = cookie.partition("=")
    nonce, key = b"n" * signed.NONCE_BYTES, b"k" * 32
    headers = {
        "other key": f"{name}={signed.sign(signed.COOKIE, 'shared', 9_999_999_999, nonce, key)}",
        "kind": f"{name}={await ticket(gateway)}",
        "expired": f"{name}={value.replace(value.split('.')[2], '1000000000')}",
        "twice": f"{cookie}; {cookie}",
        "other name": f"voice={value}",
        "cut": cookie[:-1],
    }
    refused = await connect_refused(gateway, {"Cookie": headers[change]} | own(gateway))
    assert refused[:2] == (401, "wrong_token")


async def test_revoked_token_ends_the_calls_and_cookies_of_browsers(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        cookie = await log_in(gateway, ward)
        waiting = await ticket(gateway, ward)
        client = await call(gateway, cookie | own(gateway))
        tokens.revoke("ward-3")
        code, reason = await client.wait_closed()
        assert (code, str(reason).split(":")[0]) == (1008, "token_revoked")
        assert (await connect_refused(gateway, cookie | own(gateway)))[0] == 401
        assert await refused_with(gateway, waiting) == (401, "wrong_ticket")


async def test_cookie_does_not_outlive_its_token(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3", expires_in=600)
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        answer = await send(gateway, "POST", "/login", ward)
        assert 0 < answer.json["expires_seconds"] <= 600


async def test_ticket_admits_one_call(gateway: RunningGateway) -> None:
    answer = await send(gateway, "POST", "/start", AUTHORIZED | JSON, b'{"any": "thing"}')
    assert answer.json.keys() == {"wsUrl", "token"}
    assert answer.json["wsUrl"] == f"ws://{gateway.address}/ws"
    assert answer.headers["cache-control"] == "no-store"
    socket = await open_with(gateway, answer.json["token"])
    assert await refused_with(gateway, answer.json["token"]) == (401, "wrong_ticket")
    await socket.close()
    assert await refused_with(gateway, answer.json["token"]) == (401, "wrong_ticket")


async def test_raced_ticket_admits_one_call(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=20) as gateway:
        text = await ticket(gateway)
        results = await asyncio.gather(
            *(open_with(gateway, text) for _ in range(12)), return_exceptions=True
        )
        opened = [result for result in results if not isinstance(result, BaseException)]
        refused = [result for result in results if isinstance(result, InvalidStatus)]
        assert (len(opened), len(refused)) == (1, 11)
        await opened[0].close()


async def test_ticket_of_a_full_gateway_can_be_used_later(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=1) as gateway:
        text = await ticket(gateway)
        client = await gateway.connect()
        assert await refused_with(gateway, text) == (503, "full")
        answer = await send(gateway, "POST", "/start", AUTHORIZED)
        assert (answer.status, answer.reason) == (503, "full")
        assert int(answer.headers["retry-after"]) > 0
        await client.disconnect()
        await gateway.wait_until(lambda: gateway.open_sessions() == 0)
        await (await open_with(gateway, text)).close()


async def test_hosts_of_a_pool_take_the_tickets_of_each_other(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        gateway.gatekeeper._tickets._started -= 60  # instead of a minute's wait
        other = Gatekeeper(GatewayConfig(token_store=str(tokens.path)))
        caller = next(iter(other._verifier.credentials))
        await (await open_with(gateway, other.ticket(caller))).close()
        other.close()
        client = await call(gateway, ward)
        assert not client.closed


async def test_ticket_does_not_outlive_the_gateway_that_issued_it(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        used, unused = await ticket(gateway, ward), await ticket(gateway)
        await (await open_with(gateway, used)).close()
    async with make_gateway(token_store=str(tokens.path)) as gateway:  # within their 30 seconds
        for text in (used, unused):
            assert await refused_with(gateway, text) == (401, "wrong_ticket")
        for headers in (ward, AUTHORIZED):
            await (await open_with(gateway, await ticket(gateway, headers))).close()


async def test_expired_and_forged_tickets_are_refused(gateway: RunningGateway) -> None:
    caller = gateway.gatekeeper._verifier.credentials.find("shared")
    assert caller is not None
    # A nonce of this process: a ticket of another one would be refused because of that.
    nonce = gateway.gatekeeper._tickets.nonce(b"n" * (signed.NONCE_BYTES - signed.MARK_BYTES))
    expired = signed.sign(signed.TICKET, "shared", 1_000_000_000, nonce, caller.key)
    forged = signed.sign(signed.TICKET, "shared", 9_999_999_999, nonce, b"k" * 32)
    cookie = (await log_in(gateway))["Cookie"].partition("=")[2]
    for text in (expired, forged, cookie, "", "x" * 5000, "%00", "vt." + "." * 100):
        assert await refused_with(gateway, text) == (401, "wrong_ticket")
    good = await ticket(gateway)
    assert await refused_with(gateway, f"{good}&token={good}") == (401, "wrong_token")
    assert await refused_with(gateway, good, AUTHORIZED) == (401, "wrong_token")
    assert gateway.logged_errors() == []


async def test_access_token_in_the_url_is_refused_by_name(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")["Authorization"].removeprefix("Bearer ")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        for text in (TOKEN, ward):
            assert await refused_with(gateway, text) == (400, "token_in_url")
            assert text.encode() not in gateway.raw_log()


async def test_tickets_give_no_further_tickets_and_no_login(gateway: RunningGateway) -> None:
    text = await ticket(gateway)
    for path in (f"/start?token={text}", f"/login?token={text}"):
        assert (await send(gateway, "POST", path)).status == 401
    answer = await send(gateway, "POST", "/login", {"Authorization": f"Bearer {text}"})
    assert answer.status == 401


async def test_only_listed_pages_can_read_the_answer_of_start(make_gateway: MakeGateway) -> None:
    def readable(answer: Answer) -> str | None:
        return answer.headers.get("access-control-allow-origin")

    async with make_gateway(allowed_origins=(KIOSK,), max_attempts_per_minute=3) as gateway:
        preflight = {"Access-Control-Request-Method": "POST"}
        allowed = await send(gateway, "OPTIONS", "/start", preflight | {"Origin": KIOSK})
        assert (allowed.status, readable(allowed)) == (204, KIOSK)
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        for origin in (EVIL, "null", "*", f"{KIOSK}.evil.example"):
            other = await send(gateway, "OPTIONS", "/start", preflight | {"Origin": origin})
            assert (other.status, readable(other)) == (403, None)
        answer = await send(gateway, "POST", "/start", AUTHORIZED | {"Origin": KIOSK})
        assert (answer.status, readable(answer)) == (200, KIOSK)
        assert "access-control-allow-credentials" not in answer.headers
        answer = await send(gateway, "POST", "/start", AUTHORIZED | {"Origin": EVIL})
        assert (answer.status, readable(answer)) == (403, None)
        answers = [await send(gateway, "POST", "/start", {"Origin": KIOSK}) for _ in range(4)]
        assert [each.status for each in answers] == [401, 401, 401, 429]
        assert {readable(each) for each in answers} == {KIOSK}
        assert answers[3].headers["access-control-expose-headers"] == "Retry-After"
        assert answers[0].reason == "wrong_token"


async def test_page_behind_a_trusted_proxy_is_an_own_page(make_gateway: MakeGateway) -> None:
    proxy = {"X-Forwarded-Proto": "https", "Host": "voice.example"}
    own_page = {"Origin": "https://voice.example"}
    async with make_gateway(trusted_proxies=("127.0.0.0/8",)) as gateway:
        answer = await send(gateway, "POST", "/login", AUTHORIZED | proxy | own_page)
        cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        answer = await send(gateway, "POST", "/start", cookie | proxy | own_page)
        assert answer.json["wsUrl"] == "wss://voice.example/ws"
        plain = {"Origin": "http://voice.example"}
        assert (await send(gateway, "POST", "/start", cookie | proxy | plain)).status == 403
    async with make_gateway() as gateway:  # the same headers from anybody else
        answer = await send(gateway, "POST", "/start", cookie | proxy | own_page)
        assert answer.status == 403


@pytest.mark.parametrize("path", ["/login", "/start"])
async def test_other_methods_are_refused(gateway: RunningGateway, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert (await send(gateway, method, path, AUTHORIZED)).status == 405
