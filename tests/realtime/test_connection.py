"""Handshakes of sockets: tokens, origins, transports and refusals."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
import socketio
import sqlalchemy as sa
import websockets
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlmodel import col
from websockets.asyncio.client import connect

from adapters.keys import KeyFiles, KeyRing
from adapters.tokens import LEEWAY_SECONDS, AccessTokens
from container import Container
from contract import middleware, socket_server
from contract.event_rate import EventLimit
from models import Profile, RefreshToken, User
from settings import Settings
from testing.calls import MakePhone, ban
from testing.servers import Learner, Server, http_client
from testing.time_limits import limit
from tests.contract.test_rest_contract import assert_problem


async def refusal(server: Server, auth: Any, *, headers: dict[str, str] | None = None) -> Any:
    """Try to connect; answer what the client's `connect_error` is given, or None where it connected."""
    refusals: list[Any] = []
    client = socketio.AsyncClient(reconnection=False)
    client.on("connect_error", refusals.append)
    try:
        await client.connect(
            server.url, auth=auth, headers=headers or {}, transports=["websocket"], wait_timeout=limit(10)
        )
    except socketio.exceptions.ConnectionError:
        assert len(refusals) == 1
        return refusals[0]
    finally:
        await client.disconnect()
    return None


UNAUTHENTICATED = {"message": "unauthenticated"}


@pytest.fixture
async def learner(make_phone: MakePhone) -> Learner:
    return (await make_phone()).learner


async def test_valid_token_connects(server: Server, learner: Learner) -> None:
    assert await refusal(server, {"token": learner.access_token}) is None
    assert await refusal(server, {"token": learner.access_token, "device": "phone"}) is None


@pytest.mark.parametrize(
    "auth",
    [
        None,
        {},
        [],
        "token",
        7,
        {"token": None},
        {"token": ""},
        {"token": 7},
        {"token": ["a"]},
        {"token": {"token": "a"}},
        {"token": "nonsense"},
        {"token": "a.b.c"},
        {"token": "\x00\ud83d.é.☃"},
        {"token": "." * 60_000},
        {"Token": "a.b.c"},
    ],
    ids=lambda auth: str(auth)[:24].encode("unicode_escape").decode(),
)
async def test_handshake_without_a_token(server: Server, auth: Any) -> None:
    assert await refusal(server, auth) == UNAUTHENTICATED


def part(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_handshake_with_a_forged_token(server: Server, settings: Settings, learner: Learner) -> None:
    header, claims, signature = learner.access_token.split(".")
    named = jwt.decode(learner.access_token, KeyFiles(settings).signing_key(), algorithms=["RS256"])
    foreign = RSAKey.generate_key(2048, {"kid": named.header["kid"]})
    forgeries = {
        "another's signature": jwt.encode(named.header, named.claims, foreign, algorithms=["RS256"]),
        "no signature": f"{part({'alg': 'none', 'kid': named.header['kid'], 'typ': 'JWT'})}.{claims}.",
        "a cut signature": f"{header}.{claims}.{signature[:-8]}",
        "other claims": f"{header}.{part({**named.claims, 'sub': str(uuid.uuid4())})}.{signature}",
        "an unknown key": f"{part({**named.header, 'kid': 'other'})}.{claims}.{signature}",
        "a header nested beyond any parser": f"{part('[' * 20_000)}.{claims}.{signature}",
        "claims that are no object": f"{header}.{part([])}.{signature}",
    }
    refusals = {name: await refusal(server, {"token": token}) for name, token in forgeries.items()}
    assert refusals == dict.fromkeys(forgeries, UNAUTHENTICATED)


async def test_handshake_with_an_expired_token(server: Server, settings: Settings, learner: Learner) -> None:
    async def read_refusal(lifetime: timedelta, *, issuer: str = "", audience: str = "") -> Any:
        keys = KeyRing(KeyFiles(settings))
        tokens = AccessTokens(
            keys,
            issuer=issuer or settings.app_url,
            audience=audience or settings.jwt_audience,
            lifetime=lifetime,
        )
        token = tokens.issue(user_id=learner.id, email=learner.email, role="student", family_id=str(uuid.uuid4()))
        return await refusal(server, {"token": token})

    assert await read_refusal(timedelta(minutes=1)) is None
    assert await read_refusal(timedelta(seconds=-LEEWAY_SECONDS - 1)) == UNAUTHENTICATED
    assert await read_refusal(timedelta(minutes=1), issuer="https://elsewhere.example") == UNAUTHENTICATED
    assert await read_refusal(timedelta(minutes=1), audience="elsewhere") == UNAUTHENTICATED


async def test_handshake_of_a_banned_user(server: Server, container: Container, learner: Learner) -> None:
    await ban(container, learner.id)
    assert await refusal(server, {"token": learner.access_token}) == {"message": "banned"}


async def test_handshake_of_a_deleted_user(server: Server, container: Container, learner: Learner) -> None:
    user_id = uuid.UUID(learner.id)
    async with container.database.transaction() as db:
        for table, column in ((RefreshToken, RefreshToken.user_id), (Profile, Profile.user_id), (User, User.id)):
            await db.exec(sa.delete(table).where(col(column) == user_id))
    assert await refusal(server, {"token": learner.access_token}) == UNAUTHENTICATED


async def test_foreign_origin_is_refused(server: Server, settings: Settings, learner: Learner) -> None:
    address = f"{server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    own = server.url.removeprefix("http://")
    for origin in (
        "https://evil.example",
        "null",
        f"https://{own}",
        f"http://{own}.evil.example",
        f"http://evil.example/{own}",
        server.url.rpartition(":")[0],
        settings.app_url.rpartition(":")[0],
    ):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(address, additional_headers={"Origin": origin})
        assert refused.value.response.status_code == 403, origin
    for origin in (server.url, settings.app_url):
        assert await refusal(server, {"token": learner.access_token}, headers={"Origin": origin}) is None


async def test_polling_transport_is_refused(server: Server, learner: Learner) -> None:
    client = socketio.AsyncClient(reconnection=False)
    # The client reads the refusal's body, which aiohttp's connection may not have outlived.
    with pytest.raises((socketio.exceptions.ConnectionError, RuntimeError)):
        await client.connect(
            server.url, auth={"token": learner.access_token}, transports=["polling"], wait_timeout=limit(10)
        )
    async with http_client(server.url) as http:
        for query in ("EIO=4&transport=polling", "EIO=4", "EIO=4&transport=websocket", "transport=polling&j=0"):
            for method in ("GET", "POST"):
                answer = await http.request(method, f"/socket.io/?{query}")
                assert answer.status_code == 400, (method, query)


WEBSOCKET_ONLY = "WebSocket only: connect with transports: ['websocket'], EIO=4."


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ("EIO=4&transport=polling", WEBSOCKET_ONLY),
        ("EIO=4", WEBSOCKET_ONLY),
        ("", WEBSOCKET_ONLY),
        ("EIO=3&transport=polling", "EIO=4 only"),
        ("EIO=3&transport=websocket", "EIO=4 only"),
        ("EIO=4&transport=websocket", "This is not a WebSocket handshake"),
    ],
)
async def test_plain_request_names_the_transport(server: Server, query: str, advice: str) -> None:
    async with http_client(server.url) as http:
        for method in ("GET", "POST"):
            answer = await http.request(method, f"/socket.io/?{query}")
            assert_problem(answer, "request_invalid")
            assert (answer.status_code, answer.json()["detail"].startswith(advice)) == (400, True), answer.text
            assert answer.headers["Sec-WebSocket-Version"] == "13"


async def test_refusal_is_readable_across_origins(settings: Settings) -> None:
    """The advice has the headers that a client in a browser needs to read it."""
    origin = "https://app.example.com"
    changed = settings.model_copy(update={"cors_origins": [origin]})
    app = socket_server.App(socket_server.Server(EventLimit(per_second=1, burst=1)))
    transport = httpx.ASGITransport(middleware.wrap(app, changed, lambda *_: None))
    async with httpx.AsyncClient(transport=transport, base_url="http://parlance") as http:
        answer = await http.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": origin})
        assert_problem(answer, "request_invalid")
        assert answer.json()["detail"] == WEBSOCKET_ONLY
        assert answer.headers["Access-Control-Allow-Origin"] == origin


async def test_older_protocol_names_the_supported_one(server: Server) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"{server.url.replace('http', 'ws')}/socket.io/?EIO=3&transport=websocket")
    assert refused.value.response.status_code == 400
    assert b"EIO=4 only: use a client of Socket.IO 3 or later" in refused.value.response.body


async def test_socket_id_starts_with_its_process(make_phone: MakePhone) -> None:
    one = await make_phone()
    other = await make_phone(learner=one.learner, apart_from=one)
    third = await make_phone(learner=one.learner, together_with=one)
    assert len({phone.client.get_sid() for phone in (one, other, third)}) == 3
    assert one.worker == third.worker != other.worker


KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3, which also names what answers it
SESSION = "/socket.io/?EIO=4&transport=websocket"


async def upgrade(server: Server, path: str = SESSION, **headers: str | list[str] | None) -> str:
    """Ask for a WebSocket by hand; answer the head of the answer, and the session's first bytes where there is one."""
    host, port = server.url.removeprefix("http://").split(":")
    asked: dict[str, Any] = {
        "Host": f"{host}:{port}",
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [
        f"{name}: {value}"
        for name, values in asked.items()
        if values is not None
        for value in (values if isinstance(values, list) else [values])
    ]
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        async with asyncio.timeout(limit(10)):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("HTTP/1.1 101"):
                head += (await reader.readuntil(b"}"))[2:].decode(errors="replace")
    finally:
        writer.close()
    return head


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (SESSION, {}),
        ("/socket.io/?transport=websocket&t=abc&EIO=4", {"Sec_WebSocket_Extensions": "permessage-deflate"}),
        (SESSION, {"Origin": "own"}),
        (SESSION, {"Sec_WebSocket_Protocol": "chat"}),
    ],
    ids=["plain", "plain, in other words", "a page", "with a wish"],
)
async def test_handshake_answers_the_same_on_each_path(server: Server, path: str, headers: dict[str, str]) -> None:
    given = {name: server.url if value == "own" else value for name, value in headers.items()}
    head, _, rest = (await upgrade(server, path, **given)).partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    said = dict(line.lower().split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 101 Switching Protocols"
    assert said.pop("date", "") and said == {
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-accept": "s3pplmbitxaq9kygzzhzrbk+xoo=",
    }
    assert rest.startswith('0{"sid":"') and json.loads(rest[1:])["pingInterval"] == 5_000


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (400, {"Sec_WebSocket_Key": None}),
        (400, {"Sec_WebSocket_Key": "short"}),
        (400, {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA"}),
        (400, {"Sec_WebSocket_Key": [KEY, KEY]}),
        (400, {"Sec_WebSocket_Version": "12"}),
        (400, {"Sec_WebSocket_Version": None}),
        (400, {"path": "/socket.io/?EIO=3&transport=websocket"}),
        (400, {"path": "/socket.io/?EIO=4"}),
        (400, {"Upgrade": "h2c"}),
        (400, {"Connection": "close"}),
        (404, {"path": "/elsewhere"}),
        (403, {"Origin": "https://elsewhere.example"}),
    ],
    ids=str,
)
async def test_odd_handshake_request_is_refused(server: Server, status: int, asked: dict[str, Any]) -> None:
    head = await upgrade(server, **asked)
    assert not head.startswith("HTTP/1.1 101"), head
    assert head.startswith(f"HTTP/1.1 {status} "), head
