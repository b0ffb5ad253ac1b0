"""Firebase Cloud Messaging stand-in: Google's token endpoint, and sending to one device.

    stand_ins.fcm.environment            # what the product reads
    stand_ins.fcm.unregister(token)      # the app is gone from that device
    stand_ins.fcm.mismatch(token)        # the app there belongs to another project
    stand_ins.fcm.shown(token)           # the messages that the device was sent, in order
    stand_ins.faults.add("refuse", "POST */messages:send", status=429, seconds=30)

Answers follow the public API reference.
"""

from __future__ import annotations

import json
import secrets
import time
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

Json = dict[str, Any]

_PROJECT = "parlance-stand-in"
_EMAIL = f"push@{_PROJECT}.iam.gserviceaccount.com"
#: What Google's libraries name, wherever the endpoint is.
_AUDIENCE = "https://oauth2.googleapis.com/token"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
#: What FCM adds, by which clients know an error.
_CODES = {403: "SENDER_ID_MISMATCH", 404: "UNREGISTERED", 429: "QUOTA_EXCEEDED"}
#: Bytes of a message; the real one says by how much it was too big.
MAX_BYTES = 4096
_PARTS = {"token", "notification", "data", "android", "apns", "webpush"}


def build_fault(status: int, message: str = "as asked") -> Json:
    """An error in FCM's words."""
    error: Json = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}
    if status in _CODES:
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        error["details"] = [{"@type": kind, "errorCode": _CODES[status]}]
    return {"error": error}


class Fcm:
    """One project of Firebase, and the devices that its apps run on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._access_tokens: dict[str, float] = {}
        self._gone: set[str] = set()
        self._of_others: set[str] = set()
        #: What was taken, in order.
        self.messages: list[Json] = []
        #: How often an access token was asked for.
        self.tokens_given = 0

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which the product finds this project; the key on one line, as the docs have it."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "FIREBASE_PROJECT_ID": _PROJECT,
            "FIREBASE_CLIENT_EMAIL": _EMAIL,
            "FIREBASE_PRIVATE_KEY": pem.decode().replace("\n", "\\n"),
            "FIREBASE_API_URL": self._url,
            "FIREBASE_TOKEN_URL": f"{self._url}/token",
        }

    def unregister(self, token: str) -> None:
        """Take the app off a device."""
        self._gone.add(token)

    def mismatch(self, token: str) -> None:
        """Make a token one of another project."""
        self._of_others.add(token)

    def revoke_access_tokens(self) -> None:
        """Take back what the token endpoint gave, before it expires."""
        self._access_tokens.clear()

    def shown(self, token: str) -> list[Json]:
        return [each for each in self.messages if each["token"] == token]

    def app(self) -> Router:
        return Router(
            [
                Route("/token", self._grant, methods=["POST"]),
                Route(f"/v1/projects/{_PROJECT}/messages:send", self._send, methods=["POST"]),
            ]
        )

    async def _grant(self, request: Request) -> Response:
        """OAuth 2.0 with a signed assertion (RFC 7523)."""
        form = parse_qs((await request.body()).decode())
        key = RSAKey.import_key(
            self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        try:
            claims = jwt.decode(form["assertion"][0], key, algorithms=["RS256"]).claims
            assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            assert claims["iss"] == _EMAIL and claims["aud"] == _AUDIENCE
            assert claims["iat"] - 60 < time.time() < claims["exp"]
            assert "https://www.googleapis.com/auth/firebase.messaging" in claims["scope"].split()
        except (JoseError, KeyError, AssertionError):
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        self.tokens_given += 1
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._access_tokens[token] = time.time() + 3600
        return JSONResponse({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    async def _send(self, request: Request) -> Response:
        access_token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._access_tokens.get(access_token, 0) < time.time():
            return JSONResponse(build_fault(401), 401)
        body = await request.json()
        message = body.get("message", {})
        texts = [*message.get("data", {}).values()]
        if not message.get("token") or not message.keys() <= _PARTS or not all(isinstance(each, str) for each in texts):
            return JSONResponse(build_fault(400), 400)
        size = len(json.dumps(message, ensure_ascii=False).encode())
        if size > MAX_BYTES:
            return JSONResponse(build_fault(400, f"Message too big: {size} bytes, where {MAX_BYTES} are taken"), 400)
        if message["token"] in self._of_others:
            return JSONResponse(build_fault(403), 403)
        if message["token"] in self._gone:
            return JSONResponse(build_fault(404), 404)
        self.messages.append(message)
        return JSONResponse({"name": f"projects/{_PROJECT}/messages/{secrets.token_hex(8)}"})
