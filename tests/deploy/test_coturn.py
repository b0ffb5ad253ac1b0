"""deploy/turnserver.conf in a real coturn: who may relay, to which addresses, with which limits.

The client is aioice's, over UDP, TCP and TLS. The configuration is the deployed one; what the tests set for themselves
(`testing.debian_programs.coturn`) are addresses, ports, files, realm and secret.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import itertools
import os
import re
import signal
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aioice import stun, turn

from adapters.turn import Turn
from settings import Settings
from testing.debian_programs import DEPLOY, Coturn, certificate, coturn, running
from testing.polling import eventually
from testing.time_limits import limit

pytestmark = pytest.mark.system

#: None of these may be a peer: what stands on this machine, on its network, or nowhere.
NOT_PUBLIC_4 = [
    *("0.0.0.0", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1"),
    *("127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.255.255", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
]
NOT_PUBLIC_6 = [
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::"),
    *(
        "2002:a00:1::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ),
]
#: The last and the first address outside of what is denied, and some that everybody knows.
PUBLIC_4 = [
    *("1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255"),
]
PUBLIC_6 = ["2001:4860:4860::8888", "2400::1", "2606:4700:4700::1111", "2a00:1450::1", "2003::1"]

UNAUTHORIZED, FORBIDDEN, ALLOCATION_MISMATCH, FAMILY_MISMATCH, QUOTA_REACHED = 401, 403, 437, 443, 486


@pytest.fixture(scope="module")
def server(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    with coturn(tmp_path_factory.mktemp("coturn"), settings.turn_secret.get_secret_value()) as started:
        yield started


@pytest.fixture(scope="module")
def server6(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """The same, relaying from an IPv6 address: only such a relay is ever asked about IPv6 peers."""
    secret = settings.turn_secret.get_secret_value()
    family = "--allocation-default-address-family=ipv6"
    with coturn(tmp_path_factory.mktemp("coturn6"), secret, family, relay="::1") as started:
        yield started


@pytest.fixture
def credentials(settings: Settings) -> Callable[[], tuple[str, str]]:
    """Name and password that the API hands to a new learner."""

    def make() -> tuple[str, str]:
        relayed = Turn(settings).ice_servers(str(uuid.uuid4()))[1]
        return relayed["username"], relayed["credential"]

    return make


def signed(username: str, secret: str) -> tuple[str, str]:
    return username, base64.b64encode(hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()).decode()


@asynccontextmanager
async def connection(server: Coturn, credentials: tuple[str, str], transport: str = "udp") -> AsyncIterator[Any]:
    """Reach coturn without asking for anything yet."""
    loop = asyncio.get_running_loop()
    port = server.tls_port if transport == "tls" else server.port
    kind = turn.TurnClientUdpProtocol if transport == "udp" else turn.TurnClientTcpProtocol
    protocol = kind(("127.0.0.1", port), *credentials, lifetime=600, channel_refresh_time=500)
    if transport == "udp":
        await loop.create_datagram_endpoint(lambda: protocol, remote_addr=protocol.server)
    else:
        context = ssl.create_default_context(cafile=str(server.certificate)) if transport == "tls" else None
        await loop.create_connection(lambda: protocol, *protocol.server, ssl=context)
    try:
        yield protocol
    finally:
        if protocol.relayed_address:
            await protocol.delete()
        protocol.transport.close()


@asynccontextmanager
async def relay(server: Coturn, credentials: tuple[str, str], transport: str = "udp") -> AsyncIterator[Any]:
    """Hold an allocation; raise stun.TransactionFailed where it is refused."""
    async with connection(server, credentials, transport) as protocol:
        await protocol.connect()
        yield protocol


async def refusal(answer: Any) -> int | None:
    """The STUN error code of what is awaited, or None where it succeeds."""
    try:
        await answer
    except stun.TransactionFailed as failure:
        return failure.response.error_code
    return None


async def allocation(server: Coturn, credentials: tuple[str, str], transport: str = "udp") -> int | None:
    async with connection(server, credentials, transport) as protocol:
        return await refusal(protocol.connect())


async def allocates(server: Coturn, credentials: tuple[str, str]) -> bool:
    refusal = await allocation(server, credentials)
    print(f"an allocation: {refusal or 'granted'}")
    return refusal is None


def permission(protocol: Any, peer: str) -> Any:
    attributes = {"XOR-PEER-ADDRESS": (peer, 5000)}
    request = stun.Message(stun.Method.CREATE_PERMISSION, stun.Class.REQUEST, attributes=attributes)
    return protocol.request_with_retry(request)


async def asked(protocol: Any, peers: list[str]) -> dict[str, tuple[int | None, int | None]]:
    """What coturn answers to CreatePermission and to ChannelBind for each peer."""
    channels = itertools.count(0x4000)
    return {
        peer: (
            await refusal(permission(protocol, peer)),
            await refusal(protocol.channel_bind(next(channels), (peer, 5000))),
        )
        for peer in peers
    }


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_credentials_of_the_api_allocate_a_relay(server: Coturn, credentials: Any, transport: str) -> None:
    async with relay(server, credentials(), transport) as protocol:
        host, port = protocol.relayed_address
        assert host == "127.0.0.1" and 49152 <= port <= 65535
        assert protocol.realm == "parlance.test"


async def test_stun_needs_no_credentials_and_names_no_software(server: Coturn, credentials: Any) -> None:
    async with connection(server, credentials()) as protocol:
        response, _ = await protocol.request(stun.Message(stun.Method.BINDING, stun.Class.REQUEST))
        assert response.attributes["XOR-MAPPED-ADDRESS"] == protocol.transport.get_extra_info("sockname")
        assert "FINGERPRINT" in response.attributes
        # RFC 5780 would be an address more to attack, and nobody here asks for it.
        assert not {"SOFTWARE", "OTHER-ADDRESS"} & set(response.attributes)


async def test_tls_port_takes_no_udp(server: Coturn) -> None:
    """No browser speaks TURN over DTLS, so UDP 5349 needs no hole in a firewall."""
    refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    class Probe(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: Any) -> None:
            refused.set_exception(AssertionError(f"an answer came: {data!r}"))

        def error_received(self, error: Exception) -> None:
            if not refused.done():
                refused.set_result(error)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Probe, remote_addr=("127.0.0.1", server.tls_port)
    )
    transport.sendto(bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST)))
    assert isinstance(await asyncio.wait_for(refused, limit(10)), ConnectionRefusedError)
    transport.close()


@pytest.mark.parametrize("sender", ["hook", "chart"])
async def test_renewed_certificate_is_read_on_sigusr2(settings: Settings, tmp_path: Path, sender: str) -> None:
    """The signal comes from the hook of certbot, or from the second container of the chart's pod."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(coturn(tmp_path, settings.turn_secret.get_secret_value()))

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", server.tls_port))

        before = await asyncio.to_thread(shown)
        script, pid_file = DEPLOY / "helm/reload-certificate.sh", tmp_path / "turnserver.pid"
        if sender == "chart":
            command = ["sh", str(script), str(server.certificate), str(pid_file), "0.1"]
            stack.enter_context(running(command, tmp_path / "reload.log", pid_file.exists))
        assert before == await asyncio.to_thread(shown)
        renewed = certificate(server.certificate.parent).read_text()
        assert renewed != before
        if sender == "hook":
            os.kill(server.pid, signal.SIGUSR2)

        async def is_renewed() -> bool:
            return await asyncio.to_thread(shown) == renewed

        await eventually(is_renewed)


async def test_relay_has_the_public_address_of_its_own_node(
    settings: Settings, credentials: Any, tmp_path: Path
) -> None:
    """One list for all nodes behind NAT, as in the chart: coturn uses the pair of the address that it relays from."""
    pairs = ("--external-ip=203.0.113.6/10.0.0.6", "--external-ip=203.0.113.5/127.0.0.1")
    with coturn(tmp_path, settings.turn_secret.get_secret_value(), *pairs) as server:
        async with relay(server, credentials()) as protocol:
            assert protocol.relayed_address[0] == "203.0.113.5"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_unsigned_credentials_are_refused(
    server: Coturn, settings: Settings, credentials: Any, transport: str
) -> None:
    secret, user = settings.turn_secret.get_secret_value(), uuid.uuid4()
    soon, past = int(time.time()) + 3600, int(time.time()) - 60
    name, password = credentials()
    later = f"{int(name.partition(':')[0]) + 3600}:{user}"
    refused = {
        "expired": signed(f"{past}:{user}", secret),
        "another secret": signed(f"{soon}:{user}", "another secret"),
        "another's password": (f"{soon}:{user}", password),
        "lengthened by its owner": (later, password),
        "no expiry": signed(str(user), secret),
        "no name": signed("", secret),
        "no password": (name, ""),
    }
    answers = {what: await allocation(server, pair, transport) for what, pair in refused.items()}
    assert answers == dict.fromkeys(refused, UNAUTHORIZED)
    assert await allocation(server, signed(f"{soon}:{user}", secret), transport) is None


async def test_allocation_without_credentials_is_refused(server: Coturn, credentials: Any) -> None:
    async with connection(server, credentials()) as protocol:
        protocol.username = None
        assert await refusal(protocol.connect()) == UNAUTHORIZED


async def test_another_realm_is_refused(server: Coturn, credentials: Any) -> None:
    name, password = credentials()
    async with connection(server, (name, password)) as protocol:

        def allocate() -> stun.Message:
            transport = {"REQUESTED-TRANSPORT": turn.UDP_TRANSPORT}
            return stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST, attributes=transport)

        with pytest.raises(stun.TransactionFailed) as challenge:
            await protocol.request(allocate())
        nonce = challenge.value.response.attributes["NONCE"]
        # As a client of another service would: the nonce of this one, the realm and the key of that.
        request = allocate()
        request.attributes |= {"USERNAME": name, "NONCE": nonce, "REALM": "elsewhere.test"}
        request.add_message_integrity(turn.make_integrity_key(name, "elsewhere.test", password))
        # Not by `request`, which waits on where an answer is not signed with the key that it asked with.
        protocol.transactions[request.transaction_id] = stun.Transaction(request, protocol.server, protocol)
        assert await refusal(protocol.transactions[request.transaction_id].run()) == ALLOCATION_MISMATCH


async def test_private_peers_are_denied(server: Coturn, credentials: Any) -> None:
    async with relay(server, credentials()) as protocol:
        assert await asked(protocol, NOT_PUBLIC_4) == dict.fromkeys(NOT_PUBLIC_4, (FORBIDDEN, FORBIDDEN))
        assert await asked(protocol, PUBLIC_4) == dict.fromkeys(PUBLIC_4, (None, None))
        mismatch = (FAMILY_MISMATCH, FAMILY_MISMATCH)
        assert await asked(protocol, NOT_PUBLIC_6) == dict.fromkeys(NOT_PUBLIC_6, mismatch)


async def test_private_ipv6_peers_are_denied(server6: Coturn, credentials: Any) -> None:
    async with relay(server6, credentials()) as protocol:
        assert protocol.relayed_address[0] == "::1"
        assert await asked(protocol, NOT_PUBLIC_6) == dict.fromkeys(NOT_PUBLIC_6, (FORBIDDEN, FORBIDDEN))
        assert await asked(protocol, PUBLIC_6) == dict.fromkeys(PUBLIC_6, (None, None))


async def test_denied_ranges_are_denied_end_to_end(server: Coturn, server6: Coturn, credentials: Any) -> None:
    ranges = re.findall(r"^denied-peer-ip=(\S+)-(\S+)$", (DEPLOY / "turnserver.conf").read_text(), re.M)
    ends = [end for pair in ranges for end in pair]
    assert len(ends) > 40
    for version, started in ((4, server), (6, server6)):
        peers = [end for end in ends if ipaddress.ip_address(end).version == version]
        async with relay(started, credentials()) as protocol:
            assert await asked(protocol, peers) == dict.fromkeys(peers, (FORBIDDEN, FORBIDDEN))


async def test_data_to_a_denied_peer_does_not_arrive(server: Coturn, credentials: Any) -> None:
    """A Send indication asks for no permission and gets no answer: the datagram itself has to be missing."""
    received: list[bytes] = []

    class Listener(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: Any) -> None:
            received.append(data)

    loop = asyncio.get_running_loop()
    listener, _ = await loop.create_datagram_endpoint(Listener, local_addr=("127.0.0.1", 0))
    victim = listener.get_extra_info("sockname")
    async with relay(server, credentials()) as protocol:
        for _ in range(5):
            attributes = {"XOR-PEER-ADDRESS": victim, "DATA": b"through the relay"}
            indication = stun.Message(stun.Method.SEND, stun.Class.INDICATION, attributes=attributes)
            protocol.send_stun(indication, protocol.server)
        # Answered after the indications, which coturn reads in order.
        await permission(protocol, "8.8.8.8")
        probe, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=victim)
        probe.sendto(b"directly")
        while not received:
            await asyncio.sleep(0.01)
        probe.close()
    listener.close()
    assert received == [b"directly"]


async def test_user_is_limited_to_twelve_allocations(server: Coturn, settings: Settings, credentials: Any) -> None:
    secret, user, now = settings.turn_secret.get_secret_value(), uuid.uuid4(), int(time.time())
    async with AsyncExitStack() as held:
        for number in range(12):
            last = await held.enter_async_context(relay(server, signed(f"{now + 600 + number}:{user}", secret)))
        assert await allocation(server, signed(f"{now + 3000}:{user}", secret)) == QUOTA_REACHED
        assert await allocation(server, credentials()) is None, "another user has a quota of their own"
        await last.delete()
        await eventually(lambda: allocates(server, signed(f"{now + 3000}:{user}", secret)))


async def test_relay_is_limited_to_2400_allocations(settings: Settings, credentials: Any, tmp_path: Path) -> None:
    """The real figure of the configuration, filled up by two hundred users."""
    with coturn(tmp_path, settings.turn_secret.get_secret_value()) as server:
        people = [credentials() for _ in range(200)]
        at_once = asyncio.Semaphore(50)
        async with AsyncExitStack() as held:

            async def hold(person: tuple[str, str]) -> Any:
                # TCP, for a burst of datagrams may overflow the buffer of a busy machine's socket.
                async with at_once:
                    return await held.enter_async_context(relay(server, person, "tcp"))

            allocations = await asyncio.gather(*(hold(person) for person in people for _ in range(12)))
            assert len({protocol.relayed_address for protocol in allocations}) == 2400
            assert await allocation(server, credentials()) == QUOTA_REACHED
            await allocations[0].delete()
            await eventually(lambda: allocates(server, credentials()))
