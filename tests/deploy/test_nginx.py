"""deploy/nginx.conf in a real nginx before two web processes of `parlance serve`.

The configuration is the deployed one but for ports, files and the upstream (`testing.debian_programs.nginx`). Limits
are counted by address: each client here has a loopback address of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import socketio
import websockets
from websockets.asyncio.client import connect

import errors
from container import Container
from contract import problems, schemas
from contract.operations import definitions
from contract.request_bodies import MAX_JSON_BYTES
from testing.calls import empty_queue
from testing.debian_programs import DEPLOY, Nginx, certificate, nginx
from testing.pictures import picture, upload
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import Learner, Phone, Server, address, dial, http_client, own_address, register
from testing.time_limits import limit

pytestmark = pytest.mark.system

AVATAR, AVATAR_BYTES = "/users/me/avatar", 5 * 1024 * 1024
MakeClient = Callable[..., httpx.AsyncClient]


def trust(edge: Nginx) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(edge.certificate))


@pytest.fixture(scope="module")
def edge(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with nginx(tmp_path_factory.mktemp("nginx"), server.url.removeprefix("http://")) as started:
        yield started


@pytest.fixture
async def client(edge: Nginx) -> AsyncIterator[MakeClient]:
    """Make clients that come from the address they are given, or from one of their own."""
    made: list[httpx.AsyncClient] = []

    def make(source: str | None = None, to: Nginx = edge) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(verify=trust(to), local_address=source or own_address())
        made.append(httpx.AsyncClient(transport=transport, base_url=to.url, timeout=limit(30)))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@asynccontextmanager
async def socket(edge: Nginx, learner: Learner, **options: Any) -> AsyncIterator[Phone]:
    connector = aiohttp.TCPConnector(ssl=trust(edge), local_addr=(own_address(), 0))
    async with aiohttp.ClientSession(connector=connector) as db:
        phone = await dial(edge.url, learner, http_session=db, **options)
        yield phone
        await phone.client.disconnect()


async def pipelined(to: Nginx, path: str, *headers: dict[str, str]) -> list[httpx.Response]:
    """Send a request for each of `headers`, all in one write from an address of their own: a flood without a client."""
    host, _, port = to.url.removeprefix("https://").partition(":")
    source = (own_address(), 0)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trust(to), local_addr=source)
    for each in headers:
        lines = "".join(f"{name}: {value}\r\n" for name, value in each.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
    answers: list[httpx.Response] = []
    async with asyncio.timeout(limit(60)):
        while len(answers) < len(headers):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])]
            answer = httpx.Response(int(head[0].split()[1]), headers=fields)
            body = await reader.readexactly(int(answer.headers["Content-Length"]))
            answers.append(httpx.Response(answer.status_code, headers=fields, content=body))
    writer.close()
    return answers


def same_problem(answer: httpx.Response, error: errors.ProductError) -> None:
    """What nginx says by itself is what the API would say."""
    body, headers = problems.problem_response(error)
    assert answer.status_code == error.status
    assert answer.headers["Content-Type"] == headers["Content-Type"]
    assert answer.json() == httpx.Response(200, content=body).json()
    assert "Strict-Transport-Security" in answer.headers
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


async def test_rest_passes_nginx(client: MakeClient, edge: Nginx) -> None:
    http = client()
    learner = await register(http)
    me = await http.get("/users/me")
    assert me.status_code == 200 and me.json()["id"] == learner.id
    assert me.headers.get_list("Strict-Transport-Security") == ["max-age=31536000; includeSubDomains"]
    # The API's own headers stay, and once each; nobody names a version.
    for name in ("X-Content-Type-Options", "Content-Security-Policy", "X-Request-Id"):
        assert len(me.headers.get_list(name)) == 1, name
    assert me.headers["Server"] == "nginx"
    assert (await http.get("/health")).json()["status"] == "ok"
    missing = await http.get("/nowhere")
    assert missing.json()["code"] == "not_found" and len(missing.headers.get_list("Content-Type")) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_tls_is_modern_and_http_2_is_offered(edge: Nginx) -> None:
    context = trust(edge)
    context.set_alpn_protocols(["h2", "http/1.1"])
    port = int(edge.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    tls = writer.get_extra_info("ssl_object")
    assert (tls.selected_alpn_protocol(), tls.version()) == ("h2", "TLSv1.3")
    writer.close()
    old = ssl.create_default_context(cafile=str(edge.certificate))
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version|alert"):
        await asyncio.open_connection("127.0.0.1", port, ssl=old)


async def test_http_is_redirected_with_its_method(edge: Nginx) -> None:
    async with http_client(edge.plain_url, headers={"Host": "parlance.test"}) as http:
        for method in ("GET", "POST", "DELETE"):
            answer = await http.request(method, "/users/me?a=b&c=d%2Fe")
            assert answer.status_code == 308
            assert answer.headers["Location"] == "https://parlance.test/users/me?a=b&c=d%2Fe"
        assert (await http.get("/nginx-health")).text == "ok\n"
        # Answered from the disk: a certificate is renewed without the API.
        assert (await http.get("/.well-known/acme-challenge/none")).status_code == 404


async def test_request_id_is_the_same_behind_nginx(client: MakeClient, server: Server) -> None:
    """The client's, where it is safe in a log; otherwise nginx makes one, which the API uses too."""
    http = client()
    given = f"app-{secrets.token_hex(8)}"
    assert (await http.get("/health", headers={"X-Request-Id": given})).headers.get_list("X-Request-Id") == [given]
    (made,) = (await http.get("/users/me", headers={"X-Request-Id": "no spaces"})).headers.get_list("X-Request-Id")
    assert re.fullmatch("[0-9a-f]{32}", made)
    refused = await http.get("/metrics", headers={"X-Request-Id": given})
    assert refused.headers.get_list("X-Request-Id") == [given]


async def test_metrics_are_not_served_outside(client: MakeClient) -> None:
    same_problem(await client().get("/metrics"), errors.NotFound())


async def test_learners_on_two_processes_meet_through_nginx(
    client: MakeClient, edge: Nginx, container: Container
) -> None:
    await empty_queue(container)
    async with socket(edge, await register(client())) as ada:
        learner = await register(client())
        for _ in range(100):
            async with socket(edge, learner) as bob:
                if bob.worker == ada.worker:
                    continue
                for phone in (ada, bob):
                    assert await phone.send("find_partner", {"topic": learner.username}) == {"ok": True}
                room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
                await bob.wait_for("match_found")
                for phone in (ada, bob):
                    assert await phone.send("join_room", room) == {"ok": True}
                # As long as an offer may be: more than any of nginx's buffers.
                sdp = "v=0 " + "x" * 32_000
                assert await ada.send("webrtc_offer", {**room, "sdp": sdp}) == {"ok": True}
                assert (await bob.wait_for("webrtc_offer"))["sdp"] == sdp
                assert await bob.send("end_call", room) == {"ok": True}
                assert (await ada.wait_for("peer_left"))["reason"] == "ended"
                return
    raise AssertionError("every socket landed on the same worker")


async def test_socket_of_another_origin_is_refused(client: MakeClient, edge: Nginx) -> None:
    """The API compares `Origin` with the scheme and host that nginx forwards."""
    learner = await register(client())
    own = {"Host": "parlance.test", "Origin": "https://parlance.test"}
    async with socket(edge, learner, headers=own) as phone:
        assert phone.client.connected
    for origin in ("https://evil.test", "http://parlance.test", "https://parlance.test.evil.test"):
        forged = {**own, "Origin": origin, "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http"}
        with pytest.raises(socketio.exceptions.ConnectionError):
            async with socket(edge, learner, headers=forged):
                pass


async def test_forged_address_is_ignored(client: MakeClient) -> None:
    """Ten accounts an hour from one address, with any forwarding header of the client."""

    async def sign_up(http: httpx.AsyncClient) -> int:
        headers = {"X-Forwarded-For": address(), "X-Real-IP": address(), "Forwarded": f"for={address()}"}
        email = f"{secrets.token_hex(8)}@example.com"
        body = {"email": email, "password": "correct horse", "deviceId": "phone", "platform": "ios"}
        return (await http.post("/auth/register", json=body, headers=headers)).status_code

    one, other = client(), client()
    assert [await sign_up(one) for _ in range(12)] == [201] * 10 + [429] * 2
    assert await sign_up(other) == 201


async def test_body_limit_is_that_of_the_api(client: MakeClient) -> None:
    http = client()
    await register(http)
    small = picture("JPEG")
    fits = small + bytes(AVATAR_BYTES - len(small))
    answer = await http.post(AVATAR, **upload(fits))
    assert answer.status_code == 200 and answer.json()["avatarUrl"]
    # A little more is still the API's to refuse, much more is not carried to it; the words are the same.
    for data in (fits + b"\0", fits + bytes(2 * 1024 * 1024)):
        answer = await http.post(AVATAR, **upload(data))
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert "X-Content-Type-Options" not in answer.headers, "nginx answered the last one"
    same_problem(answer, errors.PayloadTooLarge())
    for size in (MAX_JSON_BYTES + 1, 1024 * 1024 + 1):
        answer = await http.patch("/users/me", content=b" " * size, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_flood_of_one_address_is_limited(client: MakeClient, edge: Nginx) -> None:
    started = time.monotonic()
    answers = await pipelined(edge, "/health", *[{}] * 500)
    refused = [answer for answer in answers if answer.status_code != 200]
    # A burst of a hundred, then fifty a second.
    assert refused and 100 <= len(answers) - len(refused) <= 102 + 50 * (time.monotonic() - started)
    for answer in refused:
        same_problem(answer, errors.RateLimited())
        assert answer.headers["Retry-After"] == "1"
    assert (await client().get("/health")).status_code == 200


async def test_flood_limit_counts_networks(tmp_path: Path) -> None:
    """One bucket for the addresses of an IPv6 /64 network, another for its neighbour; IPv4 written in IPv6 is IPv4.

    Nothing is behind it: what the limit lets through is answered with 503.
    """
    with nginx(tmp_path, f"127.0.0.1:{free_port()}", client_header="X-Client") as named:

        async def refused(*addresses: str) -> int:
            answers = await pipelined(named, "/health", *({"X-Client": each} for each in addresses))
            return sum(answer.status_code == 429 for answer in answers)

        # 10 and 0 are bytes that a careless pattern stops at.
        network = "2001:db8:a0a:a00"
        started = time.monotonic()
        many = [f"{network}:{number:x}::{number:x}" for number in range(400)]
        spent = await refused(*many)
        assert spent >= 400 - 102 - 50 * (time.monotonic() - started) and spent > 0
        assert await refused("2001:db8:a0a:a01::1", "2001:db8:a0a::1") == 0

        started = time.monotonic()
        spent = await refused(*["192.0.2.10", "::ffff:192.0.2.10"] * 200)
        assert spent >= 400 - 102 - 50 * (time.monotonic() - started) and spent > 0
        assert await refused("192.0.2.11", "::ffff:192.0.2.12") == 0


async def test_unavailable_api_is_answered_with_a_problem(client: MakeClient, tmp_path: Path) -> None:
    with nginx(tmp_path, f"127.0.0.1:{free_port()}") as lonely:
        answer = await client(to=lonely).get("/health")
        same_problem(answer, errors.Unavailable())
        assert answer.headers["Retry-After"] == "2"


async def test_refusals_of_nginx_are_readable_by_allowed_pages(client: MakeClient, tmp_path: Path) -> None:
    """A browser hides an answer without CORS headers from the page, and the page would see a network error."""
    allowed, foreign = "https://app.example.com", "https://evil.example"
    with nginx(tmp_path, f"127.0.0.1:{free_port()}", origin=allowed) as lonely:
        http = client(to=lonely)
        large = b" " * (1024 * 1024 + 1)
        for origin, seen in ((allowed, allowed), (foreign, None)):
            headers = {"Origin": origin}
            away = await http.get("/health", headers=headers)
            too_large = await http.patch("/users/me", content=large, headers=headers)
            flood = await pipelined(lonely, "/users/me", *[headers] * 400)
            refused = next(answer for answer in flood if answer.status_code == 429)
            for answer, status in ((away, 503), (too_large, 413), (refused, 429)):
                assert answer.status_code == status
                assert answer.headers.get("Access-Control-Allow-Origin") == seen
                assert answer.headers.get("Access-Control-Allow-Credentials") == (seen and "true")
                assert answer.headers["Vary"] == "Origin"
                assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After, X-Request-Id"


async def test_renewed_certificate_is_read_on_reload(edge: Nginx, server: Server, tmp_path: Path) -> None:
    with nginx(tmp_path, server.url.removeprefix("http://")) as started:
        port = int(started.url.rpartition(":")[2])

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", port))

        before = await asyncio.to_thread(shown)
        renewed = certificate(started.certificate.parent).read_text()
        assert renewed != before == await asyncio.to_thread(shown)
        os.kill(started.pid, signal.SIGHUP)

        async def is_renewed() -> bool:
            return await asyncio.to_thread(shown) == renewed

        await eventually(is_renewed)


async def test_host_keeps_its_port(client: MakeClient, edge: Nginx) -> None:
    learner = await register(client())
    for host in ("parlance.test:8443", "parlance.test", "[::1]:8443"):
        async with socket(edge, learner, headers={"Host": host, "Origin": f"https://{host}"}) as phone:
            assert phone.client.connected, host
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with socket(edge, learner, headers={"Host": "parlance.test:8443", "Origin": "https://parlance.test"}):
            pass


def test_every_large_body_of_the_contract_passes() -> None:
    """A path that takes more than nginx's usual megabyte has a location of its own that lets it through."""
    configuration = (DEPLOY / "nginx.conf").read_text()
    sizes = {"m": 1024**2, "g": 1024**3}
    locations = [
        (re.compile(pattern), int(number) * sizes[unit])
        for pattern, number, unit in re.findall(
            r"location ~ (\S+) \{\s+client_max_body_size (\d+)([mg]);", configuration
        )
    ]
    document = schemas.load(schemas.OPENAPI)
    checked = 0
    for operation in definitions(document).values():
        body = schemas.follow(operation.get("requestBody", {}), document)
        streamed = [kind for kind in body.get("content", {}) if "octet-stream" in kind or kind.startswith("video/")]
        wanted = 10 * sizes["g"] if streamed else body.get("x-max-bytes", 0)
        if wanted <= sizes["m"]:
            continue
        path = re.sub(r"\{\w+\}", "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", operation["path"])
        passes = [most for pattern, most in locations if pattern.search(path)]
        # The form around a file is a little more than the file.
        assert passes and passes[0] > wanted * 0.99, f"nginx refuses what {operation['operationId']} takes"
        checked += 1
    assert checked >= 4


async def test_assets_come_from_the_host_that_has_them(client: MakeClient, server: Server, tmp_path: Path) -> None:
    """During a rollout the page of one version asks for assets that the other host does not have."""

    async def older(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    before = await asyncio.start_server(older, "127.0.0.1")
    port = before.sockets[0].getsockname()[1]
    async with http_client(server.url) as straight:
        page = (await straight.get("/")).text
    assets = re.findall(r'\b(?:src|href)="(/practice/[^"]*)"', page)
    assert assets
    with nginx(tmp_path, f"127.0.0.1:{port}", server.url.removeprefix("http://")) as rolling:
        http = client(to=rolling)
        for path in assets * 4:
            answer = await http.get(path)
            assert answer.status_code == 200, path
            assert "immutable" in answer.headers["Cache-Control"]
        # Anything else is asked once: a payment must not be made twice.
        statuses = {(await http.get("/users/me")).status_code for _ in range(8)}
        assert statuses == {404, 401}
    before.close()


async def test_pings_keep_a_quiet_socket_open(client: MakeClient, edge: Nginx, server: Server, tmp_path: Path) -> None:
    """Three at once: the deployed timeouts against the pings that the API announces; a timeout that leaves just room
    for one ping; and, so that the two show something, one that is shorter than the time between two pings. When it
    closes the socket depends on the first ping, which comes at a random moment of the interval."""
    learner = await register(client())
    api = server.url.removeprefix("http://")

    async def lives(through: Nginx, seconds: float) -> tuple[dict[str, Any], bool]:
        """What the handshake says, and whether the socket is open after `seconds`."""
        url = through.url.replace("https", "wss") + "/socket.io/?EIO=4&transport=websocket"
        async with connect(url, ssl=trust(through), local_addr=(own_address(), 0)) as raw:
            opening = httpx.Response(200, text=str(await raw.recv())[1:]).json()
            await raw.send('40{"token":"' + learner.access_token + '"}')
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        if await raw.recv() == "2":
                            await raw.send("3")
            except TimeoutError:
                # Alive is who answers.
                await raw.send('421["cancel_search",{}]')
                while not str(await raw.recv()).startswith("431"):
                    pass
                return opening, True
            except websockets.ConnectionClosed:
                return opening, False

    with (
        nginx(tmp_path / "room", api, socket_timeout="8s") as room,
        nginx(tmp_path / "none", api, socket_timeout="2s") as none,
    ):
        (opening, deployed), (_, with_room), (_, without) = await asyncio.gather(
            lives(edge, 1), lives(room, 17), lives(none, 17)
        )
    assert deployed and with_room and not without
    section = re.search(r"location /socket.io/ \{(.*?)\}", edge.configuration.read_text(), re.S)
    assert section
    timeouts = dict(re.findall(r"proxy_(read|send)_timeout (\d+)s;", section[1]))
    silence = (opening["pingInterval"] + opening["pingTimeout"]) / 1000
    assert silence < int(timeouts["read"]) and silence < int(timeouts["send"])


def raw_answers(answers: bytes) -> list[tuple[int, str]]:
    """Return the status and the request id of each answer of a connection."""
    found = re.findall(rb"HTTP/1\.1 (\d{3}) .*\r\n(?:.+\r\n)*?X-Request-Id: (.+)\r\n", answers, re.I)
    return [(int(status), name.decode()) for status, name in found]


@pytest.mark.parametrize("path", ["/payments/webhook", "/socket.io/?EIO=4&transport=websocket"])
async def test_smuggled_request_is_not_answered(client: MakeClient, edge: Nginx, path: str) -> None:
    """A POST with an offer, line breaks and a whole request in its body shares nginx's connections with a stranger."""
    email, password = f"{secrets.token_hex(8)}@example.com", "correct horse"
    login = {"email": email, "password": password, "deviceId": "phone", "platform": "ios"}
    assert (await client().post("/auth/register", json=login)).status_code == 201
    stranger = client()
    await register(stranger)
    content = httpx.Request("POST", "/", json=login).content
    hidden = b"POST /auth/login HTTP/1.1\r\nHost: api\r\nX-Request-Id: hidden\r\nContent-Type: application/json\r\n"
    body = b"\r\n" * 150_000 + hidden + b"Content-Length: %d\r\n\r\n" % len(content) + content
    port = int(edge.url.rpartition(":")[2])

    async def attack(number: int) -> None:
        local = (own_address(), 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust(edge), local_addr=local)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        head += f"X-Request-Id: attack-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        found: list[tuple[int, str]] = []
        try:
            answers = b""
            while not found and (more := await asyncio.wait_for(reader.read(65536), limit(30))):
                answers += more
                found = raw_answers(answers)
        finally:
            writer.close()
        assert [name for _, name in found] == [f"attack-{number}"] and found[0][0] < 500, found

    async def ask(number: int) -> None:
        name = f"stranger-{number}"
        answer = await stranger.get("/users/me", headers={"X-Request-Id": name})
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (200, name), answer.text
        assert "accessToken" not in answer.json() and answer.json()["email"] != email

    for number in range(12):
        await asyncio.gather(attack(number), *(ask(4 * number + turn) for turn in range(4)))
        await ask(1000 + number)


async def test_upgrades_go_to_the_socket_path_alone(client: MakeClient, edge: Nginx) -> None:
    """What reaches the API, as the API's own words show it; other requests keep their connections to it."""
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    handshake = {**offer, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    http = client()
    assert (await http.get("/health", headers=handshake)).status_code == 200
    assert (await http.get("/socket.io/?EIO=4&transport=websocket", headers=handshake)).status_code == 101
    configuration = edge.configuration.read_text()
    assert configuration.count("$http_upgrade") == 2  # the map's and the location's
    section = re.search(r"location /socket.io/ \{(.*?)\}", configuration, re.S)
    assert section and "$http_upgrade" in section[1]
