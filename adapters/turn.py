"""ICE servers: STUN, and TURN with credentials of coturn's `use-auth-secret`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import NotRequired, TypedDict

from setting_values import url_host
from settings import Settings

#: Lifetime of a credential in seconds.
CREDENTIAL_SECONDS = 3600


class IceServer(TypedDict):
    """An RTCIceServer."""

    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


class Turn:
    def __init__(self, settings: Settings) -> None:
        self._secret = settings.turn_secret.get_secret_value().encode()
        host, port, tls_port = url_host(settings.turn_host), settings.turn_port, settings.turn_tls_port
        self._stun = [f"stun:{host}:{port}"]
        self._turn = [
            f"turn:{host}:{port}?transport=udp",
            f"turn:{host}:{port}?transport=tcp",
            f"turns:{host}:{tls_port}?transport=tcp",
        ]

    def ice_servers(self, user_id: str) -> list[IceServer]:
        """Make the RTCIceServers of one user: `{unix expiry}:{userId}`, base64 of its HMAC-SHA1 as credential."""
        username = f"{int(time.time()) + CREDENTIAL_SECONDS}:{user_id}"
        digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
        return [
            {"urls": self._stun},
            {"urls": self._turn, "username": username, "credential": base64.b64encode(digest).decode()},
        ]
