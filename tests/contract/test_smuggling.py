"""Request smuggling: no byte of a request's body is ever read as a request."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import subprocess
from collections import defaultdict
from typing import Any

import h11
import pytest
from websockets.utils import apply_mask

from contract.http_limits import Limits
from contract.http_server import HttpProtocol
from testing.servers import Server, address
from testing.time_limits import limit
from tests.contract.odd_requests import HOST, NEXT, OFFERS, STREAMS
from tests.contract.test_http_server import serving

Accepted = list[tuple[str, str, bytes]]
JSON = b"Content-Type: application/json\r\n"


class Brief(HttpProtocol):
    """The product's, which waits less for what never comes."""

    limits = Limits(head_seconds=limit(3), body_seconds=limit(3), linger_seconds=limit(30))


class Recorder:
    """An app that notes each whole request by the port it came from."""

    def __init__(self) -> None:
        self.accepted: dict[int, Accepted] = defaultdict(list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.accepted[scope["client"][1]].append((scope["method"], target.decode("latin-1"), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def h11_reads(stream: bytes) -> Accepted:
    """Return what h11, as a server that answers each request with 200, accepts of a stream."""
    connection, body = h11.Connection(h11.SERVER), b""
    accepted: Accepted = []
    request: Any = None
    connection.receive_data(stream)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return accepted
        if event is h11.NEED_DATA:
            return accepted
        if event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
            if isinstance(event, h11.EndOfMessage):
                accepted.append((request.method.decode(), request.target.decode("latin-1"), body))
            if connection.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
                status = 405 if request.method == b"CONNECT" else 200  # what accepts it becomes a tunnel
                connection.send(h11.Response(status_code=status, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return accepted
            connection.start_next_cycle()
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data


#: What this server accepts and h11 does not, or reads in another way, and why that hides no request from anybody.
ALLOWED = {
    "stream line breaks before": "RFC 9112 (2.2) asks servers to ignore an empty line before a request; h11 does not.",
    "stream line breaks between": "The same, behind a body that ended where both say.",
    "stream bare line feeds before": "The same; no line of a request may end so.",
    "line b'GET  /first HTTP/1.1'": "Spaces around the target are skipped, which RFC 9112 (3) allows.",
    "line b'GET /first  HTTP/1.1'": "The same.",
    "line b'GET http://parlance/first HTTP/1.1'": "The app is given the path of an absolute target (RFC 9112, 3.2.2).",
    "line b'OPTIONS /first RTSP/1.0'": "Read as HTTP/1.0: one request, and the connection closes.",
    "line b'SOURCE /first ICE/1.0'": "The same.",
    "chunk b'000000000000000000000000000000000000000028'": "Leading zeros change no size; h11 stops at 20 digits.",
}


async def exchange(port: int, *segments: bytes) -> tuple[int, bytes]:
    """Send segments, read until the server closes; return the client's port and all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    own: int = writer.get_extra_info("sockname")[1]
    answers = b""
    try:
        for segment in segments:
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0)  # a segment of its own
        answers = await asyncio.wait_for(reader.read(), limit(60))
    except ConnectionError:
        pass
    finally:
        writer.close()
    return own, answers


def is_refusal(answers: bytes) -> bool:
    """Say whether the last answer is a refusal, after which the server closes."""
    heads = re.findall(rb"HTTP/1\.1 (\d+) (?:.*\r\n)*?\r\n", answers)
    return bool(heads) and heads[-1].startswith(b"4") and b"connection: close" in answers.lower()


@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_odd_requests_are_read_as_h11_reads_them(pieces: int) -> None:
    """Of each stream this server accepts what h11 accepts, or refuses with 4xx and closes."""
    assert len(STREAMS) >= 200
    recorder = Recorder()
    differences: dict[str, Any] = {}
    async with serving(recorder, protocol=Brief, timeout_keep_alive=limit(1)) as port:

        async def compare(name: str, stream: bytes) -> None:
            cuts = [len(stream) * number // pieces for number in range(pieces + 1)]
            segments = [stream[start:end] for start, end in itertools.pairwise(cuts)]
            own, answers = await exchange(port, *segments)
            ours, reference = recorder.accepted.pop(own, []), h11_reads(stream)
            if ours == reference or (is_refusal(answers) and ours == reference[: len(ours)]):
                return
            differences[name] = (ours, reference, answers[-300:])

        await asyncio.gather(*(compare(*each) for each in STREAMS.items()))
    assert {name: found for name, found in differences.items() if name not in ALLOWED} == {}
    assert differences.keys() == ALLOWED.keys()


async def test_requests_behind_an_upgrade_are_answered_in_order() -> None:
    """Hundreds of offers in one segment cost no recursion, and what follows them is a request again."""
    recorder = Recorder()
    offers = b"".join(
        b"POST /%d HTTP/1.1\r\n%b%bContent-Length: 1\r\n\r\nx" % (n, HOST, OFFERS["h2c"]) for n in range(400)
    )
    async with serving(recorder, protocol=Brief, timeout_keep_alive=limit(1)) as port:
        own, _ = await exchange(port, offers + NEXT)
    assert recorder.accepted[own] == [*(("POST", f"/{n}", b"x") for n in range(400)), ("GET", "/next", b"")]


def answered(answers: bytes) -> list[tuple[int, str]]:
    """Return the status and the request id of each answer."""
    found = re.findall(rb"HTTP/1\.1 (\d{3}) .*\r\n(?:.+\r\n)*?x-request-id: (.+)\r\n", answers)
    return [(int(status), name.decode()) for status, name in found]


async def ask(server: Server, *segments: bytes) -> bytes:
    _, answers = await exchange(int(server.url.rpartition(":")[2]), *segments)
    return answers


LINES = {
    "h2c": b"POST /payments/webhook",
    "tls": b"POST /payments/webhook",
    "websocket": b"POST /payments/webhook",
    "nonsense": b"POST /socket.io/?EIO=4&transport=websocket",
    "websocket elsewhere": b"GET /health",
}


@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("offer", LINES)
async def test_upgrade_request_hides_no_request(server: Server, offer: str, segments: int) -> None:
    """The body holds 300 KB of line breaks and a whole request; the next request gets the answer to itself."""
    hidden = b"POST /auth/login HTTP/1.1\r\nHost: a\r\nX-Request-Id: hidden\r\nContent-Length: 2\r\n\r\n{}"
    body = b"\r\n" * 150_000 + hidden
    head = b"%b HTTP/1.1\r\n%b%bX-Request-Id: attack\r\nContent-Length: %d\r\n\r\n" % (
        *(LINES[offer], HOST, OFFERS[offer.split()[0]], len(body)),
    )
    victim = b"GET /users/me HTTP/1.1\r\nHost: a\r\nX-Request-Id: victim\r\nConnection: close\r\n\r\n"
    pieces = [head + body + victim] if segments == 1 else [head, body + victim]
    (status, first), second = answered(await ask(server, *pieces))
    assert first == "attack" and 200 <= status < 500
    assert second == (401, "victim")


#: What the HttpClient of JDK 17 sends by default, the body in a segment of its own.
JDK_HEAD = (
    b"Connection: Upgrade, HTTP2-Settings\r\nContent-Length: %d\r\nHost: 127.0.0.1:34435\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.15\r\n"
)
LOGIN = b'{"email":"nobody@example.com","password":"correct horse","deviceId":"d","platform":"ios"}'


@pytest.mark.parametrize("offer", ["h2c", "tls", "websocket", "nonsense", "jdk"])
async def test_body_of_an_upgrade_request_is_read(server: Server, offer: str) -> None:
    length = b"Host: a\r\nContent-Length: %d\r\n" % len(LOGIN)
    head = JDK_HEAD % len(LOGIN) if offer == "jdk" else OFFERS[offer] + length
    forwarded = b"X-Forwarded-For: %b\r\n" % address().encode()
    start = b"POST /auth/login HTTP/1.1\r\n" + head + JSON + forwarded + b"\r\n"
    end = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for pieces in ([start + LOGIN + end], [start, LOGIN, end]):
        answers = await ask(server, *pieces)
        assert [status for status, _ in answered(answers)] == [401, 200], answers
        assert b'"code":"invalid_credentials"' in answers


async def test_curl_with_http2_is_answered(server: Server) -> None:
    curl = shutil.which("curl")
    assert curl, "this test runs curl; install it with: apt-get install curl"
    command = [curl, "-sS", "--http2", "-d", LOGIN.decode(), "-H", "Content-Type: application/json"]
    command += [
        "-H",
        f"X-Forwarded-For: {address()}",
        "-w",
        " %{http_code} %{http_version}",
        f"{server.url}/auth/login",
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=limit(60))
    assert '"code":"invalid_credentials"' in done.stdout and done.stdout.endswith(" 401 1.1"), done


async def test_bytes_after_an_invalid_request_are_not_read(server: Server) -> None:
    """The refusal waits for the answers before it, and is the last one.

    It has the request's id if a whole header line follows that id: the parser reports a line when the next has begun.
    """
    first = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: first\r\n\r\n"
    for broken in (
        b"GET / HTTP/1.1\r\nX-Request-Id: second\r\nHost: a\r\nBroken : 1\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nX-Request-Id: second\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nX-Request-Id: second\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Request-Id: second\r\n\r\n",
    ):
        answers = await ask(server, first + broken + first.replace(b"first", b"third"))
        assert answered(answers) == [(200, "first"), (400, "second")], answers


async def test_handshake_waits_for_earlier_answers(server: Server) -> None:
    """With an answer still to come the protocol cannot change: the offer is ignored, and its request answered."""
    line = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nX-Request-Id: second\r\n"
    first = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: first\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: third\r\nConnection: close\r\n\r\n"
    answers = await ask(server, first + line + OFFERS["websocket"] + b"\r\n" + last)
    assert answered(answers) == [(200, "first"), (400, "second"), (200, "third")]


async def test_bytes_after_a_handshake_are_websocket_frames(server: Server) -> None:
    """They belong to the WebSocket, in one piece or in several: a request among them is an invalid frame."""
    line = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n" + OFFERS["websocket"]
    ping = b"\x89\x84" + b"mask" + apply_mask(b"ping", b"mask")
    request = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: second\r\n\r\n"
    for extra in (b"", b"Sec-WebSocket-Protocol: chat\r\n"):  # opened at once, and by way of ASGI
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(line + extra + b"\r\n" + ping * 2000)
        answer = b""
        async with asyncio.timeout(limit(10)):
            while answer.count(b"\x8a\x04ping") < 1:
                answer += await reader.read(65536)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 101 ")
        answers = await ask(server, line + extra + b"\r\n" + request * 2000)
        assert answers.count(b"HTTP/1.1 ") == 1 and answers.startswith(b"HTTP/1.1 101 "), answers
