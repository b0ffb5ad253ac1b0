"""The WebSocket handshake: which requests are one, and which of these are plain."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

#: The path of WebSockets.
PATH = "/socket.io/"
#: Appended to the request's key in the answer (RFC 6455, 1.3).
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Parameters of polling sessions, and headers of requests that are not plain: of a page, whose origin is checked, and
#: of extensions.
_ODD_PARAMETERS = {"sid", "j"}
_ODD_HEADERS = {b"origin", b"sec-websocket-protocol"}
_BODY_HEADERS = {b"content-length", b"transfer-encoding"}

Headers = Sequence[tuple[bytes, bytes]]


def read_key(method: str, http_version: str, url: bytes, headers: Headers) -> bytes | None:
    """Return the key of a WebSocket handshake (RFC 6455, 4.2.1) for a session; None for any other request."""
    if method != "GET" or http_version != "1.1" or not _is_session(url):
        return None
    named: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _BODY_HEADERS:
            return None
        named.setdefault(name, []).append(value)
    keys = named.get(b"sec-websocket-key", [])
    if len(keys) != 1 or named.get(b"sec-websocket-version") != [b"13"]:
        return None
    if "websocket" not in _tokens(named.get(b"upgrade")) or "upgrade" not in _tokens(named.get(b"connection")):
        return None
    try:
        is_key = len(binascii.a2b_base64(keys[0], strict_mode=True)) == 16
    except binascii.Error:
        return None
    return keys[0] if is_key else None


def is_plain(url: bytes, headers: Headers) -> bool:
    """Return whether a handshake has no origin, subprotocols or earlier session to check."""
    return not _names_session(url) and all(name not in _ODD_HEADERS for name, _ in headers)


def head_without_offer(scope: Mapping[str, Any], url: bytes, headers: Headers) -> bytes:
    """Return the head of a request without the `Upgrade` that it offers."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (scope["method"].encode(), url, scope["http_version"].encode(), b"".join(lines))


def acceptance(key: bytes, headers: Headers) -> bytes:
    """Return the answer that completes the handshake (RFC 6455, 4.2.2), with `headers` of the server's own."""
    accept = base64.b64encode(hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%b\r\n" % b"".join(
        [b"%b: %b\r\n" % header for header in ((b"Sec-WebSocket-Accept", accept), *headers)]
    )


def _tokens(values: Sequence[bytes] | None) -> list[str]:
    return [token.strip().lower() for value in values or () for token in value.decode("latin-1").split(",")]


@functools.lru_cache(maxsize=64)
def _is_session(url: bytes) -> bool:
    path, _, query = url.decode("latin-1").partition("?")
    parameters = parse_qs(query)
    return path == PATH and parameters.get("EIO") == ["4"] and parameters.get("transport") == ["websocket"]


@functools.lru_cache(maxsize=64)
def _names_session(url: bytes) -> bool:
    return not parse_qs(url.decode("latin-1").partition("?")[2]).keys().isdisjoint(_ODD_PARAMETERS)
