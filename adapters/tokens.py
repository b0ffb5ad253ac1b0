"""Access tokens: RS256 JWTs, verified with the published keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

import errors
from adapters.keys import KeyRing

#: Accepted difference of clocks in seconds.
LEEWAY_SECONDS = 30
#: Kinds of tokens, in the header's `typ`.
_ACCESS, _PLAYBACK, _DEVICE, _PASSKEY = "JWT", "playback", "device", "passkey"
#: Kinds of tokens by which a client carries a login at a provider's web page from one request to the next.
AuthorizationKind = Literal["authorization", "grant"]
#: The claim with the time of the second factor.
_FACTOR = "second_factor_at"
#: Lifetime of a device proof after the last login or refresh; pruning its signing key ends it sooner.
DEVICE_PROOF_LIFETIME = timedelta(days=180)
#: Lifetime of a challenge for a passkey.
PASSKEY_CHALLENGE_LIFETIME = timedelta(minutes=5)
#: Maximum of cached verified tokens; the oldest are dropped first.
_CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Claims of a verified access token. `family_id` is its login (claim `sid`).

    `factor_proven_at` is when the login last proved its second factor (claim `second_factor_at`), in Unix seconds.
    """

    user_id: str
    email: str
    role: str
    family_id: str
    issued_at: int
    factor_proven_at: int | None = None


class PublicKey(NamedTuple):
    """An RSA key that verifies: its id, modulus and exponent, the latter two as RFC 7518 writes them."""

    key_id: str
    modulus: str
    exponent: str


class AccessTokens:
    """Access tokens, signed with the signing key, verified with every published one."""

    def __init__(self, keys: KeyRing, *, issuer: str, audience: str, lifetime: timedelta) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self.lifetime = lifetime
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            sid={"essential": True},
        )
        #: Claims and expiry of each verified token: checking a signature takes longer than a whole request.
        self._verified: dict[str, tuple[Identity, float]] = {}
        self._keys_seen = keys.version

    def issue(
        self, *, user_id: str, email: str, role: str, family_id: str, factor_proven_at: datetime | None = None
    ) -> str:
        """Sign a token that is valid for `lifetime`."""
        now = int(time.time())
        claims: dict[str, object] = {"sub": user_id, "email": email, "role": role, "sid": family_id, "iat": now}
        if factor_proven_at is not None:
            claims[_FACTOR] = int(factor_proven_at.timestamp())
        return self._sign(_ACCESS, self._audience, now + self.lifetime.total_seconds(), claims)

    def verify(self, token: str) -> Identity:
        """Verify and read a token; raise Unauthenticated, without the check that failed."""
        self._keys.refresh()
        if self._keys.version != self._keys_seen:
            self._verified.clear()
            self._keys_seen = self._keys.version
        found = self._verified.get(token)
        if found is None:
            found = self._read(token)
            if len(self._verified) >= _CACHE_SIZE:
                self._verified.pop(next(iter(self._verified)))
            self._verified[token] = found
        identity, expires_at = found
        if expires_at <= int(time.time()) - LEEWAY_SECONDS:
            self._verified.pop(token, None)
            raise errors.Unauthenticated()
        return identity

    def _read(self, token: str) -> tuple[Identity, float]:
        claims = self._decode(_ACCESS, token, self._claims)
        try:
            identity = Identity(
                claims["sub"], claims["email"], claims["role"], claims["sid"], claims["iat"], claims.get(_FACTOR)
            )
        except KeyError:
            raise errors.Unauthenticated() from None
        words = (identity.user_id, identity.email, identity.role, identity.family_id)
        is_time = identity.factor_proven_at is None or type(identity.factor_proven_at) is int
        if not (is_time and all(isinstance(word, str) for word in words)):
            raise errors.Unauthenticated()
        return identity, claims["exp"]

    def _find_key(self, token: GuestProtocol) -> RSAKey:
        # Not a key set: for a missing kid the library would pick a key by itself.
        key_id = token.headers().get("kid")
        key = self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise errors.Unauthenticated()
        return key

    # --- Playback: a token that opens one lesson's playlists, and nothing else -----------------------

    def issue_playback(self, identity: Identity, lesson_id: str, lifetime: timedelta) -> str:
        """Sign a token for a player's addresses; its `typ` and audience differ from an access token's."""
        claims = {"sub": identity.user_id, "sid": identity.family_id, "lesson": lesson_id}
        return self._sign(_PLAYBACK, f"{self._audience}/{_PLAYBACK}", time.time() + lifetime.total_seconds(), claims)

    def verify_playback(self, token: str, lesson_id: str) -> tuple[str, str]:
        """Return the user and the login that may play a lesson; raise Unauthenticated."""
        claims = self._read_claims(_PLAYBACK, token, lesson=lesson_id)
        try:
            return str(claims["sub"]), str(claims["sid"])
        except KeyError:
            raise errors.Unauthenticated() from None

    # --- Device proofs: this device has logged in to this account; they grant no access ---------------

    def issue_device_proof(self, account: str, device_id: str) -> str:
        """Sign that a device has logged in to an account, named by the hash of its canonical e-mail address."""
        claims = {"sub": account, "device": device_id}
        expires_at = time.time() + DEVICE_PROOF_LIFETIME.total_seconds()
        return self._sign(_DEVICE, f"{self._audience}/{_DEVICE}", expires_at, claims)

    def is_device_proof(self, token: str, account: str, device_id: str) -> bool:
        """Return whether a proof is of this account and device; False for any other text."""
        try:
            self._read_claims(_DEVICE, token, sub=account, device=device_id)
        except errors.Unauthenticated:
            return False
        return True

    # --- Logins at a provider's web page: the browser's state, and the grant that came of it ------------

    def issue_authorization(self, kind: AuthorizationKind, lifetime: timedelta, **claims: str) -> str:
        """Sign what the client sends back; the client can read it."""
        return self._sign(kind, f"{self._audience}/{kind}", time.time() + lifetime.total_seconds(), claims)

    def read_authorization(self, kind: AuthorizationKind, token: str, **claims: str) -> dict[str, str]:
        """Return the texts of a token that has these claims; raise Unauthenticated."""
        found = self._read_claims(kind, token, **claims)
        return {name: value for name, value in found.items() if isinstance(value, str)}

    # --- Challenges of passkeys: signed instead of stored, so that a request without a login adds no row ---------

    def issue_passkey_challenge(self, challenge: str, **claims: str) -> tuple[str, datetime]:
        """Sign a challenge (Base64url) with what it is for, which `verify_passkey_challenge` asks; return its end."""
        expires_at = int(time.time() + PASSKEY_CHALLENGE_LIFETIME.total_seconds())
        token = self._sign(_PASSKEY, f"{self._audience}/{_PASSKEY}", expires_at, {**claims, "challenge": challenge})
        return token, datetime.fromtimestamp(expires_at, UTC)

    def verify_passkey_challenge(self, token: str, **claims: str) -> tuple[str, datetime]:
        """Return the challenge of a token with these claims, and its end; raise Unauthenticated."""
        found = self._read_claims(_PASSKEY, token, **claims)
        return str(found.get("challenge")), datetime.fromtimestamp(int(found["exp"]), UTC)

    # --- All of them ----------------------------------------------------------------------------------

    def _sign(self, kind: str, audience: str, expires_at: float, claims: Mapping[str, object]) -> str:
        """Sign claims as a token that expires at a Unix time; `typ` and audience keep each kind from being another."""
        self._keys.refresh()
        signing_key = self._keys.signing_key
        header = {"alg": "RS256", "kid": signing_key.kid, "typ": kind}
        signed = {**claims, "exp": int(expires_at), "iss": self._issuer, "aud": audience}
        return jwt.encode(header, signed, signing_key, algorithms=["RS256"])

    def _decode(self, kind: str, token: str, expected: jwt.JWTClaimsRegistry) -> dict[str, Any]:
        """Return the claims of a token; raise Unauthenticated where it is not of this kind, or a claim is another."""
        try:
            decoded = jwt.decode(token, self._find_key, algorithms=["RS256"])
            if decoded.header.get("typ") != kind:
                raise errors.Unauthenticated()
            expected.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise errors.Unauthenticated() from None
        return decoded.claims

    def _read_claims(self, kind: str, token: str, **claims: str) -> dict[str, Any]:
        """Return the claims of a token that has these, and is of a kind of its own; raise Unauthenticated."""
        self._keys.refresh()
        expected = {"iss": self._issuer, "aud": f"{self._audience}/{kind}", **claims}
        options: dict[str, jwt.ClaimsOption] = {
            name: {"essential": True, "value": value} for name, value in expected.items()
        }
        return self._decode(kind, token, jwt.JWTClaimsRegistry(None, 0, exp={"essential": True}, **options))

    def list_public_keys(self) -> list[PublicKey]:
        """List the published keys, by which anyone verifies a token."""
        self._keys.refresh()
        keys = [key.as_dict(private=False) for key in self._keys.public_keys.values()]
        return [PublicKey(str(key["kid"]), str(key["n"]), str(key["e"])) for key in keys]
