"""A software authenticator: real registrations and assertions of WebAuthn, any part of which a test may make wrong."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import cbor2
import httpx
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from testing.accounts import bearer
from testing.servers import PASSWORD, address

#: Bits of the flags in authenticator data.
PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED, EXTENDED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
#: As the app in tests has them: APP_URL is its default.
RP_ID, ORIGIN = "localhost", "http://localhost:5503"

Json = dict[str, Any]
#: Changes an answer before it is sent.
Alter = Callable[[Json], None]


def encode(value: bytes) -> str:
    """Write Base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Key(Protocol):
    @property
    def cose(self) -> dict[int, Any]:
        """The public key as COSE has it."""

    def sign(self, data: bytes) -> bytes: ...


class EllipticKey:
    """ES256."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def cose(self) -> dict[int, Any]:
        numbers = self._key.public_key().public_numbers()
        return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ec.ECDSA(SHA256()))


class EdwardsKey:
    """EdDSA with Ed25519."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()

    @property
    def cose(self) -> dict[int, Any]:
        return {1: 1, 3: -8, -1: 6, -2: self._key.public_key().public_bytes_raw()}

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class RsaKey:
    """RS256."""

    def __init__(self, bits: int = 2048) -> None:
        self._key = rsa.generate_private_key(65537, bits)

    @property
    def cose(self) -> dict[int, Any]:
        numbers = self._key.public_key().public_numbers()
        return {1: 3, 3: -257, -1: numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"), -2: b"\x01\x00\x01"}

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, padding.PKCS1v15(), SHA256())


@dataclass
class Authenticator:
    """One passkey in an authenticator. Tests set a field to what it should send wrongly."""

    key: Key = field(default_factory=EllipticKey)
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    rp_id: str = RP_ID
    origin: Any = ORIGIN
    flags: int = PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP
    #: The counter of the next answer; a synced passkey sends 0 each time.
    counter: int = 0
    #: Members of the client data that are added, or replace others; None removes one.
    client_data: Json = field(default_factory=dict)
    #: Of the account; what the options of the registration said.
    user_handle: bytes | None = None
    aaguid: bytes = bytes(16)
    attestation: Json = field(default_factory=lambda: {"fmt": "none", "attStmt": {}})
    #: The COSE key, where it is not that of `key`; or bytes that are no key.
    cose: Any = None

    def register(self, options_json: str) -> Json:
        """Answer `navigator.credentials.create()`."""
        options = json.loads(options_json)
        self.user_handle = decode(options["user"]["id"])
        public = self.cose if isinstance(self.cose, bytes) else cbor2.dumps(self.cose or self.key.cose)
        attested = self.aaguid + len(self.credential_id).to_bytes(2, "big") + self.credential_id + public
        data = self._authenticator_data(self.flags | ATTESTED) + attested
        response = {
            "clientDataJSON": encode(self._client_data("webauthn.create", options["challenge"])),
            "attestationObject": encode(cbor2.dumps({**self.attestation, "authData": data})),
            "transports": ["internal"],
        }
        return self._credential(response)

    def answer(self, options_json: str) -> Json:
        """Answer `navigator.credentials.get()`."""
        client_data = self._client_data("webauthn.get", json.loads(options_json)["challenge"])
        data = self._authenticator_data(self.flags)
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(self.key.sign(data + hashlib.sha256(client_data).digest())),
            "userHandle": None if self.user_handle is None else encode(self.user_handle),
        }
        return self._credential(response)

    def _credential(self, response: Json) -> Json:
        name = encode(self.credential_id)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "response": response,
            "clientExtensionResults": {},
        }

    def _authenticator_data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: str) -> bytes:
        members = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        members |= self.client_data
        return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def proof_of(challenge: Json, credential: Json | str) -> Json:
    """The schema `PasskeyProof`."""
    text = credential if isinstance(credential, str) else json.dumps(credential)
    return {"challengeToken": challenge["challengeToken"], "credentialJson": text}


async def get_challenge(http: httpx.AsyncClient) -> Json:
    """Get a challenge of a login, from an address of its own."""
    answer = await http.post("/auth/passkeys/challenge", headers={"X-Forwarded-For": address()})
    assert answer.status_code == 200, answer.text
    challenge: Json = answer.json()
    return challenge


async def make_proof(http: httpx.AsyncClient, authenticator: Authenticator) -> Json:
    """Make a `PasskeyProof` of a new challenge."""
    challenge = await get_challenge(http)
    return proof_of(challenge, authenticator.answer(challenge["optionsJson"]))


async def begin_registration(http: httpx.AsyncClient, proof: Json | None = None) -> Json:
    """Begin to add a passkey to the account of `http`, with its password or another proof."""
    answer = await http.post("/users/me/passkeys/challenge", json={"proof": proof or {"password": PASSWORD}})
    assert answer.status_code == 200, answer.text
    challenge: Json = answer.json()
    return challenge


async def send_passkey(
    http: httpx.AsyncClient, authenticator: Authenticator, *, name: str = "Phone", proof: Json | None = None
) -> httpx.Response:
    """Add a passkey to the account of `http`."""
    challenge = await begin_registration(http, proof)
    credential = authenticator.register(challenge["optionsJson"])
    return await http.post("/users/me/passkeys", json={**proof_of(challenge, credential), "name": name})


async def add_passkey(
    http: httpx.AsyncClient,
    authenticator: Authenticator | None = None,
    *,
    name: str = "Phone",
    proof: Json | None = None,
) -> tuple[Authenticator, Json]:
    """Add a passkey to the account of `http`; return its authenticator and the passkey as the answer has it."""
    authenticator = authenticator or Authenticator()
    answer = await send_passkey(http, authenticator, name=name, proof=proof)
    assert answer.status_code == 201, answer.text
    return authenticator, answer.json()


async def log_in_with(
    http: httpx.AsyncClient, authenticator: Authenticator, *, device: str | None = None, platform: str = "ios"
) -> httpx.Response:
    """Log in with a passkey, and put the access token on `http`."""
    proof = await make_proof(http, authenticator)
    return await send_login(http, proof, device=device, platform=platform)


async def send_login(
    http: httpx.AsyncClient, proof: Json, *, device: str | None = None, platform: str = "ios"
) -> httpx.Response:
    """Send a `PasskeyProof` as a login, from an address of its own; put the access token on `http`."""
    body = {**proof, "deviceId": device or f"device-{uuid.uuid4().hex}", "platform": platform}
    answer = await http.post("/auth/passkeys/login", json=body, headers={"X-Forwarded-For": address()})
    if answer.status_code == 200:
        http.headers.update(bearer(answer.json()["accessToken"]))
    return answer
