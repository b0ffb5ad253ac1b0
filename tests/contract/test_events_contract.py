"""asyncapi.yaml and the code agree, both ways, and the server sends what the spec says."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
import socketio
import uvicorn

import errors
from adapters.turn import Turn
from container import Container
from contract import events, schemas
from contract.event_bindings import EventBindings
from contract.operations import ContractError
from contract.websocket import Connection
from models import EnglishLevel, NotificationType
from realtime import emit
from realtime.connection import SocketConnection
from realtime.emit import Event
from services.calls.learners_online import LearnersOnline
from services.calls.outcomes import Invited, Match, Partner, Searching
from services.calls.participants import SignalPayload
from services.identity.logins import Identity
from settings import Settings
from testing.calls import LocalBus
from testing.ports import free_port
from testing.time_limits import limit
from wire.events import ErrorCode, IceCandidate, Notification

Document = dict[str, Any]

IDS = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(4)]


@pytest.fixture
def document() -> Document:
    return copy.deepcopy(schemas.load(schemas.ASYNCAPI))


# --- Spec and functions ---------------------------------------------------------------------------


def test_operations_and_functions_match(document: Document) -> None:
    bound = EventBindings(document)
    operations = document["operations"]
    handlers = {name: f"{function.__module__}.{function.__name__}" for name, (function, _) in bound.receives.items()}
    assert handlers == {
        operation["title"]: f"{operation['x-handler']}.{operation['title']}"
        for operation in operations.values()
        if operation["action"] == "receive"
    }
    assert {each["title"] for each in operations.values() if each["action"] == "send"} == set(bound.sends)
    assert set(bound.acks) == set(bound.receives)


@pytest.mark.parametrize("module", ["realtime.signaling", "realtime.lobby", "matchmaking", "", "sys", "os.path"])
def test_operation_without_a_function_fails_by_name(document: Document, module: str) -> None:
    document["operations"]["findPartner"]["x-handler"] = module
    with pytest.raises(ContractError) as refused:
        EventBindings(document)
    assert f"asyncapi.yaml names {module}.find_partner," in str(refused.value)


def test_operation_without_a_module_fails_by_name(document: Document) -> None:
    del document["operations"]["findPartner"]["x-handler"]
    with pytest.raises(ContractError, match=r"asyncapi\.yaml names \.find_partner,"):
        EventBindings(document)


async def takes_too_little(services: Container, connection: SocketConnection) -> None:
    """A function with the signature of no event."""


def waits_for_nothing(services: Container, connection: SocketConnection, body: dict[str, Any]) -> None:
    """A function that is not async."""


NOT_A_FUNCTION = 42


@pytest.mark.parametrize("function", ["takes_too_little", "waits_for_nothing", "NOT_A_FUNCTION"])
def test_operation_with_an_unsuitable_function_fails_by_name(document: Document, function: str) -> None:
    document["operations"]["findPartner"]["x-handler"] = __name__
    document["components"]["messages"]["find_partner"]["name"] = function
    with pytest.raises(ContractError) as refused:
        EventBindings(document)
    assert str(refused.value).startswith(f"{__name__}.{function} should be ")


def test_function_without_an_operation_fails_by_name(document: Document) -> None:
    keys = [key for key, operation in document["operations"].items() if operation["action"] == "receive"]
    for key in keys:
        lacking = {**document, "operations": {k: v for k, v in document["operations"].items() if k != key}}
        operation = document["operations"][key]
        with pytest.raises(ContractError) as refused:
            EventBindings(lacking)
        assert str(refused.value).startswith(f"{operation['x-handler']}.{operation['title']} takes events")


def test_sent_event_without_a_function_fails_by_name(document: Document) -> None:
    document["components"]["messages"]["applause"] = {"name": "applause", "payload": {"type": "object"}}
    document["channels"]["root"]["messages"]["applause"] = {"$ref": "#/components/messages/applause"}
    document["operations"]["onApplause"] = {
        **document["operations"]["onSearching"],
        "messages": [{"$ref": "#/channels/root/messages/applause"}],
    }
    with pytest.raises(ContractError) as refused:
        EventBindings(document)
    assert "names applause," in str(refused.value)


def test_emit_function_without_an_event_fails_by_name(document: Document) -> None:
    for name in EventBindings(document).sends:
        left = {key: each for key, each in document["operations"].items() if each["title"] != name}
        lacking = {**document, "operations": left}
        with pytest.raises(ContractError) as refused:
            EventBindings(lacking)
        assert str(refused.value).startswith(f"realtime.emit.{name} ")


# --- The document in itself -------------------------------------------------------------------------


def test_channel_messages_are_the_events_and_the_ack(document: Document) -> None:
    bound = EventBindings(document)
    channel = document["channels"]["root"]["messages"]
    assert all(message == {"$ref": f"#/components/messages/{key}"} for key, message in channel.items())
    assert set(channel) == set(document["components"]["messages"])
    names = {schemas.follow(message, document)["name"] for message in channel.values()}
    assert names == {*bound.receives, *bound.sends, "ack", "ice_ack", "invitation_ack"}

    used = [
        message["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
        for message in [*operation["messages"], *operation.get("reply", {"messages": []})["messages"]]
    ]
    assert set(used) == set(channel), "a message that no operation uses"
    assert all(len(operation["messages"]) == 1 for operation in document["operations"].values())


def test_operation_is_titled_after_its_event(document: Document) -> None:
    assert document["operations"]
    for operation in document["operations"].values():
        assert operation["title"] == schemas.follow(operation["messages"][0], document)["name"]


def test_every_example_is_valid(document: Document) -> None:
    checked = 0
    for name, message in document["components"]["messages"].items():
        validate = schemas.compiled(message["payload"], document)
        for example in message.get("examples", []):
            checked += 1
            assert validate(example["payload"]) is None, name
    for name, schema in document["components"]["schemas"].items():
        validate = schemas.compiled({"$ref": f"#/components/schemas/{name}"}, document)
        for example in schema.get("examples", []):
            checked += 1
            assert validate(example) is None, name
    assert checked >= 4


def test_client_payloads_refuse_unknown_fields(document: Document) -> None:
    receives = EventBindings(document).receives
    assert len(receives) == sum(each["action"] == "receive" for each in document["operations"].values()) > 5
    for name, (_, validate) in receives.items():
        room = {"roomId": IDS[0]} if "lacks 'roomId'" in (validate({}) or "") else {}
        described = {**room, "sdp": "v=0"} if "'sdp'" in (validate(room) or "") else room
        whole = {**described, "candidate": None} if "'candidate'" in (validate(described) or "") else described
        state: dict[str, object] = {"isBackground": True} if "'isBackground'" in (validate({}) or "") else {}
        state |= {"userId": IDS[0]} if name == "invite_partner" else {}
        state |= {"invitationId": IDS[0]} if "_invitation" in name else {}
        state |= {"isAccepted": True} if name == "answer_invitation" else {}
        assert validate({**whole, **state}) is None and validate({**whole, **state, "unknown": 1}), name


@pytest.mark.parametrize("message", ["join_room", "end_call", "refresh_ice", "send_offer", "send_answer", "send_ice"])
def test_room_of_an_event_is_a_uuid(document: Document, message: str) -> None:
    found = document["components"]["messages"][message]
    payload = found["examples"][0]["payload"]
    validate = schemas.compiled(found["payload"], document)
    assert validate(payload) is None
    for wrong in ("the blue one", IDS[0].replace("-", ""), f"{IDS[0]}\n"):
        assert validate({**payload, "roomId": wrong}) == "'roomId' should be a UUID"


def test_codes_of_the_spec_are_those_of_the_code(document: Document) -> None:
    assert set(document["components"]["schemas"]["ErrorCode"]["enum"]) == errors.SOCKET_CODES


DATA: tuple[dict[str, str] | None, ...] = (None, {}, {"orderId": IDS[1]})


# --- What the server sends ----------------------------------------------------------------------------


def what_is_sent(settings: Settings) -> list[Event[Any]]:
    """Every function of realtime/emit.py, with everything it may be given."""
    ada = Partner(IDS[0], "Ada", None, "beginner", "worker.a")
    bob = Partner(IDS[1], "Bob", "https://cdn.example/bob.webp", "advanced", "worker.b")
    ice_servers = Turn(settings).ice_servers(ada.user_id)

    def numbered(event: Event[SignalPayload]) -> Event[SignalPayload]:
        """A signal as its room hands it on."""
        event.payload["seq"] = 1048577
        return event

    def notification(kind: NotificationType, data: dict[str, str] | None) -> Event[Notification]:
        at = "2026-03-14T10:26:53.589Z"
        return emit.notification(
            {"id": IDS[0], "type": kind.value, "title": "Hello", "body": "There.", "data": data, "created_at": at}
        )

    candidates: list[IceCandidate] = [
        {"candidate": "", "sdpMid": None, "sdpMLineIndex": None, "usernameFragment": None},
        {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"},
    ]
    codes: tuple[ErrorCode, ...] = get_args(ErrorCode)
    assert set(codes) == set(errors.SOCKET_CODES)
    return [
        emit.searching(Searching(IDS[0], 0, 0, (EnglishLevel.BEGINNER,)), 0),
        emit.searching(Searching(IDS[0], 300, 300, tuple(EnglishLevel)), 10_000),
        *(
            emit.match_found(Match(IDS[2], IDS[3], "all", topic, ada, bob), bob, ice_servers)
            for topic in (None, "travel")
        ),
        emit.match_found(Match(IDS[2], IDS[3], "all", None, ada, bob), ada, []),
        emit.invitation(Invited((), IDS[0], ada, None, datetime(2026, 12, 1, tzinfo=UTC))),
        emit.invitation_over(IDS[0], "declined"),
        emit.partner_cancelled(),
        *(emit.peer_joined(role, IDS[0]) for role in ("caller", "receiver")),
        numbered(emit.webrtc_offer("v=0")),
        numbered(emit.webrtc_answer("v=0")),
        numbered(emit.webrtc_ice(None)),
        *(numbered(emit.webrtc_ice(candidate)) for candidate in candidates),
        emit.search_expired(),
        emit.resting("2026-12-01T18:05:00Z"),
        emit.peer_reconnecting(10),
        emit.peer_reconnected(),
        emit.session_replaced(),
        emit.resync(),
        *(notification(kind, data) for kind in NotificationType for data in DATA),
        *(emit.peer_left(reason) for reason in ("ended", "disconnected", "timeout", "banned")),
        *(emit.error(code, "A sentence.") for code in codes),
    ]


def test_emitted_payloads_fit_the_spec(document: Document, settings: Settings) -> None:
    bound = EventBindings(document)
    sent = what_is_sent(settings)
    for event in sent:
        assert bound.sends[event.name](event.payload) is None, event
    functions = {name for name, f in inspect.getmembers(emit, inspect.isfunction) if f.__module__ == emit.__name__}
    assert {event.name for event in sent} == functions


def test_extra_or_missing_field_is_reported(document: Document, settings: Settings) -> None:
    bound, sent = EventBindings(document), what_is_sent(settings)
    assert bound.sends.keys() == {event.name for event in sent}
    for name, payload in sent:
        assert bound.sends[name]({**payload, "more": 1}), name
        for field in payload:
            assert bound.sends[name]({key: value for key, value in payload.items() if key != field}), (name, field)


class OddServices:
    """Services whose facts break the contract: a wait of less than nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bus = LocalBus("only")
        self.authentication = SimpleNamespace(authenticate_socket=self._admit)
        self.matchmaking = SimpleNamespace(find_partner=self._find_partner, connect=lambda socket: None)
        forwarding = SimpleNamespace(on_signal=lambda write: None)
        self.signaling = SimpleNamespace(disconnect=self._disconnect, relay=None, forwarding=forwarding)
        self.user_sockets = SimpleNamespace(add=lambda *_: None, remove=lambda *_: None)
        self.login_revocations = SimpleNamespace(on_ended=lambda listener: None, has_ended=lambda family: False)
        self.invitation_ends = SimpleNamespace(disconnect=self._end_nothing)
        self.pools = SimpleNamespace(read_platform=self._end_nothing)
        self.metrics = SimpleNamespace(events=Counter())
        self.learners_online = LearnersOnline(None, "odd")  # type: ignore[arg-type]
        self.goodbyes = SimpleNamespace(note=self._note_goodbye)
        self.background: list[Any] = []

    async def _admit(self, token: str) -> Identity:
        return Identity(IDS[0], "ada@example.com", "student", IDS[1], 0)

    async def _find_partner(self, user_id: str, socket: str, **wishes: object) -> Searching:
        return Searching(socket, -1, 0, (EnglishLevel.BEGINNER,))

    async def _end_nothing(self, argument: str) -> str:
        return ""

    async def _note_goodbye(self, user_id: str, socket: str) -> None:
        return None

    async def _disconnect(self, user_id: str, socket: str, *, final_reason: str | None) -> None:
        return None


@asynccontextmanager
async def talking_to(services: OddServices) -> AsyncIterator[socketio.AsyncClient]:
    """Serve the events contract over these services, and connect to it."""
    app = socketio.ASGIApp(events.build(cast(Container, services)))
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, ws=Connection, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    client = socketio.AsyncClient(reconnection=False)
    try:
        await client.connect(
            f"http://127.0.0.1:{port}", auth={"token": "any"}, transports=["websocket"], wait_timeout=limit(10)
        )
        yield client
    finally:
        await client.disconnect()
        server.should_exit = True
        await serving


async def test_invalid_payload_is_not_sent(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    received: list[str] = []
    async with talking_to(OddServices(settings)) as client:
        client.on("*", lambda name, payload: received.append(name))
        ack = await client.call("find_partner", {}, timeout=limit(15))
    assert ack["error"]["code"] == "internal" and received == ["error"]
    (record,) = [record for record in caplog.records if record.name == "parlance.contract"]
    assert record.exc_info is not None and isinstance(record.exc_info[1], ContractError)
    assert "the payload of searching does not match asyncapi.yaml" in str(record.exc_info[1])


async def test_production_does_not_validate_sent_events(settings: Settings) -> None:
    received: list[Any] = []
    async with talking_to(OddServices(settings.model_copy(update={"app_env": "production"}))) as client:
        client.on("*", lambda name, payload: received.append((name, payload)))
        assert await client.call("find_partner", {}, timeout=limit(15)) == {"ok": True}
    assert [(name, payload["estimatedWaitSeconds"]) for name, payload in received] == [("searching", -1)]
