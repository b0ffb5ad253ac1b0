"""Engine.IO v4 and Socket.IO v5 over WebSocket: the cases of both protocols' official test suites.

Cases about polling and upgrades do not apply. The product has one namespace and takes no binary data, so those cases
hold it to the refusal that the protocol has for them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import socketio
import websockets
from websockets.asyncio.client import ClientConnection, connect

from contract import transport, websocket
from testing.calls import MakePhone
from testing.client_internals import close_connection
from testing.polling import eventually
from testing.servers import Learner, Server, start_server, stop_server
from testing.time_limits import limit

#: How long, in seconds, an answer may take on the slowest machine; none of it is waited for when all is well.
ANSWER_SECONDS = 20
PATH = "/socket.io/?EIO=4&transport=websocket"
INVALID_NAMESPACE = '{"message":"Invalid namespace"}'
ALREADY_CONNECTED = '44{"message":"Already connected"}'
UNAUTHENTICATED = '44{"message":"unauthenticated"}'
MALFORMED = '42["error",{"code":"bad_payload","message":"a frame is not a Socket.IO packet; the connection is closed"}]'


class Wire:
    """A WebSocket of which the test reads every frame but pings."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.unanswered_pings = 0

    async def send(self, *frames: str | bytes) -> None:
        for frame in frames:
            await self.socket.send(frame)

    async def read(self) -> str:
        async with asyncio.timeout(limit(ANSWER_SECONDS)):
            while (frame := await self.socket.recv()) == "2":
                await self.socket.send("3")
        assert isinstance(frame, str)
        return frame

    async def read_until(self, start: str) -> str:
        while not (frame := await self.read()).startswith(start):
            pass
        return frame

    async def read_to_close(self, *, within: float = ANSWER_SECONDS) -> list[str]:
        """Wait until the server has closed the connection, answering no ping; the frames until then."""
        frames = []
        async with asyncio.timeout(limit(within)):
            try:
                while True:
                    frame = str(await self.socket.recv())
                    if frame == "2":
                        self.unanswered_pings += 1
                    else:
                        frames.append(frame)
            except websockets.ConnectionClosed:
                return frames

    async def is_served(self) -> None:
        """Hold the server to the acknowledgement of an event on the default namespace."""
        await self.send('4277["cancel_search",{}]')
        assert '"not_searching"' in await self.read_until("4377[")


Dial = Callable[..., Awaitable[Wire]]


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    variables = {**environment, "SOCKET_HANDSHAKE_TIMEOUT": "2s"}
    running = start_server(variables, tmp_path_factory.mktemp("protocol") / "server.log", workers=1)
    yield running
    stop_server(running)


@pytest.fixture
async def dial(server: Server) -> AsyncIterator[Dial]:
    """Open connections; with a learner, ones that are connected to the default namespace."""
    opened: list[Wire] = []

    async def make(learner: Learner | None = None) -> Wire:
        wire = Wire(await connect(server.url.replace("http", "ws") + PATH, compression=None))
        opened.append(wire)
        assert (await wire.read()).startswith("0{")
        if learner is not None:
            await wire.send("40" + json.dumps({"token": learner.access_token}))
            assert (await wire.read()).startswith("40{")
        return wire

    yield make
    for each in opened:
        await close_connection(each.socket)


@pytest.fixture
async def learner(make_phone: MakePhone) -> Learner:
    return (await make_phone()).learner


# --- Engine.IO ----------------------------------------------------------------------------------


async def test_engine_handshake_has_the_keys_of_v4(server: Server) -> None:
    async with connect(server.url.replace("http", "ws") + PATH) as socket:
        opening = str(await socket.recv())
    assert opening[0] == "0"
    content = json.loads(opening[1:])
    assert isinstance(content.pop("sid"), str)
    assert content == {
        "upgrades": [],
        "pingInterval": transport.PING_INTERVAL_SECONDS * 1000,
        "pingTimeout": transport.PING_TIMEOUT_SECONDS * 1000,
        "maxPayload": websocket.MAX_FRAME_BYTES,
    }


@pytest.mark.parametrize(
    "query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"]
)
async def test_engine_handshake_refuses_other_parameters(server: Server, query: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"{server.url.replace('http', 'ws')}/socket.io/?{query}")
    assert refused.value.response.status_code == 400


async def test_engine_heartbeat(dial: Dial, learner: Learner) -> None:
    """A client that answers pings stays connected; one that does not is disconnected after the ping timeout."""
    answering, silent = await dial(learner), await dial(learner)

    async def answer() -> None:
        async with asyncio.timeout(limit(3 * transport.PING_INTERVAL_SECONDS)):
            for _ in range(2):
                assert await answering.socket.recv() == "2"
                await answering.socket.send("3")
        await answering.is_served()

    within = transport.PING_INTERVAL_SECONDS + transport.PING_TIMEOUT_SECONDS + 10
    _, frames = await asyncio.gather(answer(), silent.read_to_close(within=within))
    assert (frames, silent.unanswered_pings) == ([], 1)


async def test_engine_close_ends_the_session(dial: Dial) -> None:
    wire = await dial()
    await wire.send("1")
    assert await wire.read_to_close() == []


@pytest.mark.parametrize("frame", ["abc", "", "7", "0{}"])
async def test_engine_invalid_packet_closes(dial: Dial, frame: str) -> None:
    wire = await dial()
    await wire.send(frame)
    assert await wire.read_to_close() == []


# --- Socket.IO: connect and disconnect ----------------------------------------------------------


async def test_connect_answers_the_socket_id_alone(dial: Dial, learner: Learner) -> None:
    wire = await dial()
    await wire.send("40" + json.dumps({"token": learner.access_token}))
    content = json.loads((await wire.read()).removeprefix("40"))
    assert content.keys() == {"sid"} and isinstance(content["sid"], str)


@pytest.mark.parametrize("payload", ["", "{}", '{"token":"nonsense"}', "/,{}"])
async def test_connect_refused_answers_an_object(dial: Dial, learner: Learner, payload: str) -> None:
    """A refused CONNECT is answered with `{message}`, and another may follow on the same connection."""
    wire = await dial()
    await wire.send(f"40{payload}")
    assert await wire.read() == UNAUTHENTICATED
    await wire.send("40" + json.dumps({"token": learner.access_token}))
    assert (await wire.read()).startswith("40{")


@pytest.mark.parametrize("payload", ["", ",", ',{"token":"abc"}', "?a=b,"])
async def test_connect_to_unknown_namespace(dial: Dial, learner: Learner, payload: str) -> None:
    """The connection goes on, whether it was connected to the default namespace before or not."""
    early, wire = await dial(), await dial(learner)
    for each in (early, wire):
        await each.send(f"40/random{payload}")
        assert await each.read() == f"44/random,{INVALID_NAMESPACE}"
    await early.send("40" + json.dumps({"token": learner.access_token}))
    assert (await early.read()).startswith("40{")
    for each in (early, wire):
        await each.is_served()


async def test_connect_to_unknown_namespace_in_a_client(server: Server, learner: Learner) -> None:
    client = socketio.AsyncClient(reconnection=False)
    errors: list[object] = []
    client.on("connect_error", errors.append, namespace="/admin")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(
            server.url,
            auth={"token": learner.access_token},
            namespaces=["/", "/admin"],
            transports=["websocket"],
            wait_timeout=limit(10),
        )
    assert errors == [{"message": "Invalid namespace"}]
    await client.disconnect()


@pytest.mark.parametrize("with_token", [True, False])
async def test_second_connect_is_refused(dial: Dial, learner: Learner, with_token: bool) -> None:
    """A second CONNECT to the default namespace changes nothing for the first."""
    wire = await dial(learner)
    await wire.send("40" + (json.dumps({"token": learner.access_token}) if with_token else ""))
    assert await wire.read() == ALREADY_CONNECTED
    await wire.is_served()


async def test_connect_refusals_do_not_extend_the_deadline(dial: Dial) -> None:
    wire = await dial()
    await wire.send("40/random,")
    assert await wire.read() == f"44/random,{INVALID_NAMESPACE}"
    assert await wire.read_to_close() == ["1"]


async def test_no_connect_in_time_closes(dial: Dial) -> None:
    wire = await dial()
    assert await wire.read_to_close() == ["1"]


async def test_disconnect_keeps_the_connection(dial: Dial, learner: Learner) -> None:
    """After DISCONNECT the client may connect again; there is no answer to DISCONNECT."""
    wire = await dial(learner)
    await wire.send("41", "40" + json.dumps({"token": learner.access_token}))
    assert (await wire.read()).startswith("40{")
    await wire.is_served()


async def test_disconnect_of_unknown_namespace_is_ignored(dial: Dial, learner: Learner) -> None:
    """It begins no deadline: a connection that had one later has been closed, and this one is served."""
    wire = await dial(learner)
    await wire.send("40/random,", "41/random,")
    assert await wire.read() == f"44/random,{INVALID_NAMESPACE}"
    await wire.is_served()
    later = await dial()
    assert await later.read_to_close() == ["1"]
    await wire.is_served()


# --- Socket.IO: events and acknowledgements -----------------------------------------------------


@pytest.mark.parametrize("ack_id", ["0", "456", "9" * 30])
async def test_event_with_an_id_is_acknowledged(dial: Dial, learner: Learner, ack_id: str) -> None:
    wire = await dial(learner)
    await wire.send(f'42{ack_id}["cancel_search",{{}}]')
    (ack,) = json.loads((await wire.read_until(f"43{ack_id}[")).removeprefix(f"43{ack_id}"))
    assert ack["error"]["code"] == "not_searching"


@pytest.mark.parametrize("start", ["42", "425"])
async def test_event_whose_name_is_a_number_is_refused(dial: Dial, learner: Learner, start: str) -> None:
    wire = await dial(learner)
    await wire.send(f"{start}[1,{{}}]")
    assert "there is no event '1'" in await wire.read()
    await wire.is_served()


PLACEHOLDER = '{"_placeholder":true,"num":0}'


@pytest.mark.parametrize("name", ["find_partner", "webrtc_offer", "nothing_of_ours", "connect"])
@pytest.mark.parametrize("parts", [0, 1, 2, 10])
async def test_binary_event_is_refused_by_name(dial: Dial, learner: Learner, name: str, parts: int) -> None:
    """The `error` and the acknowledgement name the event; its parts are discarded and the connection goes on."""
    wire = await dial(learner)
    for ack_id in ("", "7"):
        await wire.send(f'45{parts}-{ack_id}["{name}",{PLACEHOLDER}]', *[b"\x01\x02"] * parts)
        problem = {"code": "bad_payload", "message": f"the event '{name}' takes no binary data"}
        assert json.loads((await wire.read()).removeprefix("42")) == ["error", problem]
        if ack_id:
            assert json.loads((await wire.read()).removeprefix("437")) == [{"ok": False, "error": problem}]
    await wire.is_served()


async def test_unasked_acknowledgement_is_refused(dial: Dial, learner: Learner) -> None:
    wire = await dial(learner)
    for frames in (["431[]"], [f"461-1[{PLACEHOLDER}]", b"\x00"]):
        await wire.send(*frames)
        assert "no acknowledgement was requested" in await wire.read()
    await wire.is_served()


MALFORMED_PACKETS: dict[str, list[str | bytes]] = {
    "unknown type": ["4abc"],
    "no type": ["4"],
    "type in Arabic digits": ['4\u0662["cancel_search"]'],
    "type 7": ["47"],
    "CONNECT_ERROR": ['44{"message":"no"}'],
    "event of an object": ["42{}"],
    "event of a string": ['42"cancel_search"'],
    "event of null": ["42null"],
    "event without payload": ["42"],
    "empty event": ["42[]"],
    "empty event with an id": ["427[]"],
    "name is null": ["42[null]"],
    "name is true": ["42[true]"],
    "name is an object": ["42[{}]"],
    "invalid id": ['42abc["cancel_search",{}]'],
    "id of 150 digits": [f'42{"9" * 150}["cancel_search",{{}}]'],
    "cut JSON": ['42["cancel_search"'],
    "JSON and more": ['42["cancel_search"]]'],
    "nested beyond the parser": ['42["cancel_search",' + "[" * 30_000],
    "text event with attachments": ['421-["cancel_search"]'],
    "text event with no attachments": ['420-["cancel_search"]'],
    "acknowledgement of an object": ["431{}"],
    "acknowledgement without payload": ["431"],
    "acknowledgement without id": ["43[]"],
    "CONNECT with cut JSON": ['40{"token":'],
    "binary event without a count": [f'45["cancel_search",{PLACEHOLDER}]'],
    "binary event with a count of words": [f'45x-["cancel_search",{PLACEHOLDER}]'],
    "binary event of an object": ["451-{}"],
    "too many attachments": ['4511-["cancel_search",{}]'],
    "count of 5000 digits": [f'45{"9" * 5000}-["cancel_search",{{}}]'],
    "unannounced binary frame": [b"\x00"],
    "more binary than announced": ['451-["cancel_search",{}]', b"\x00", b"\x00"],
    "text in place of binary": ['451-["cancel_search",{}]', '42["cancel_search",{}]'],
}


@pytest.mark.parametrize("frames", MALFORMED_PACKETS.values(), ids=MALFORMED_PACKETS)
async def test_malformed_packet_closes(dial: Dial, learner: Learner, frames: list[str | bytes]) -> None:
    """A client that is connected reads why; nothing behind the malformed packet is handled."""
    wire = await dial(learner)
    await wire.send(*frames, '4299["find_partner",{}]')
    answers = await wire.read_to_close()
    assert [frame for frame in answers if "takes no binary data" not in frame] == [MALFORMED, "1"]
    assert wire.socket.close_code == 1000


async def test_malformed_packet_is_logged_with_socket_id(dial: Dial, learner: Learner, server: Server) -> None:
    """The id is the one of the socket's events, not that of its Engine.IO session."""
    wire = await dial()
    await wire.send("40" + json.dumps({"token": learner.access_token}))
    socket_id = json.loads((await wire.read())[2:])["sid"]
    await wire.send("4x")
    await wire.read_to_close()
    line = f"malformed_packet_disconnected socket_id={socket_id}"
    await eventually(lambda: line in server.log.read_text())


@pytest.mark.parametrize("frames", MALFORMED_PACKETS.values(), ids=MALFORMED_PACKETS)
async def test_malformed_packet_before_connect_closes(dial: Dial, frames: list[str | bytes]) -> None:
    wire = await dial()
    await wire.send(*frames)
    assert await wire.read_to_close() == ["1"]


@pytest.mark.parametrize("frame", ['42["cancel_search",{}]', f'451-["cancel_search",{PLACEHOLDER}]', "431[]"])
async def test_packet_before_connect_closes(dial: Dial, frame: str) -> None:
    wire = await dial()
    await wire.send(frame)
    assert await wire.read_to_close() == ["1"]
