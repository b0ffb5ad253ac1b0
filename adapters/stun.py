"""Owns asking a TURN server for a relay, as a browser does (RFC 8489, RFC 8656), to see whether it gives one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import struct

import errors

_COOKIE = 0x2112A442
_ALLOCATE, _REFRESH = 0x003, 0x004
_USERNAME, _INTEGRITY, _ERROR, _LIFETIME, _REALM, _NONCE = 0x006, 0x008, 0x009, 0x00D, 0x014, 0x015
_TRANSPORT = 0x019
_UDP = b"\x11\0\0\0"
#: Seconds until a question over UDP, which may get lost, is put again.
_AGAIN = 0.5


class RelayRefused(errors.Refused):
    """The server answers, and gives no relay; the message says why."""


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes | OSError] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass

    def datagram_received(self, data: bytes, _addr: object) -> None:
        self.answers.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):  # nobody listens on that port
            self.answers.put_nowait(exc)


async def allocate(host: str, port: int, username: str, credential: str) -> None:
    """Take a relay over UDP and give it back; raise RelayRefused, OSError, or wait for ever where nobody answers."""
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(_Exchange, remote_addr=(host, port))

    async def ask(method: int, *attributes: bytes, key: bytes | None = None) -> tuple[bool, dict[int, bytes]]:
        transaction = secrets.token_bytes(12)
        question = _message(method, transaction, b"".join(attributes), key)
        while True:
            transport.sendto(question)
            try:
                async with asyncio.timeout(_AGAIN):
                    while True:
                        answer = await exchange.answers.get()
                        if isinstance(answer, OSError):
                            raise answer
                        if len(answer) >= 20 and answer[8:20] == transaction:
                            return not answer[1] & 0x10, _attributes(answer)  # the class of an error
            except TimeoutError:
                continue

    try:
        wanted = _attribute(_TRANSPORT, _UDP)
        _, told = await ask(_ALLOCATE, wanted)
        if _REALM not in told or _NONCE not in told:
            raise RelayRefused("it asks for no credentials, so it is no relay of `use-auth-secret`")
        realm, nonce = told[_REALM], told[_NONCE]
        # MD5 is what the protocol asks for; what protects is the secret behind the credential.
        key = hashlib.md5(b":".join([username.encode(), realm, credential.encode()]), usedforsecurity=False).digest()
        signed = [
            _attribute(_USERNAME, username.encode()),
            _attribute(_REALM, realm),
            _attribute(_NONCE, nonce),
        ]
        given, told = await ask(_ALLOCATE, wanted, *signed, key=key)
        if not given:
            code = told[_ERROR][2] * 100 + told[_ERROR][3] if len(told.get(_ERROR, b"")) >= 4 else 0
            raise RelayRefused("it refuses our credentials" if code == 401 else f"it gives no relay (error {code})")
        await ask(_REFRESH, _attribute(_LIFETIME, b"\0\0\0\0"), *signed, key=key)
    finally:
        transport.close()


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def _message(method: int, transaction: bytes, attributes: bytes, key: bytes | None) -> bytes:
    # The digest covers a header that counts the digest in already.
    length = len(attributes) + (24 if key else 0)
    message = struct.pack("!HHI", method, length, _COOKIE) + transaction + attributes
    return message + _attribute(_INTEGRITY, hmac.new(key, message, hashlib.sha1).digest()) if key else message


def _attributes(message: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 20
    while at + 4 <= len(message):
        kind, length = struct.unpack_from("!HH", message, at)
        found[kind] = message[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
    return found
