"""Access tokens: RS256 JWTs, verified with the published keys."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

import errors
from adapters.keys import KeyRing

#: Accepted difference of clocks in seconds.
LEEWAY_SECONDS = 30
_PLAYBACK = "playback"
_DEVICE = "device"
#: Lifetime of a device proof after the last login or refresh; pruning its signing key ends it sooner.
DEVICE_PROOF_LIFETIME = timedelta(days=180)
#: Maximum of cached verified tokens; the oldest are dropped first.
_CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Claims of a verified access token. `family_id` is its login (claim `sid`)."""

    user_id: str
    email: str
    role: str
    family_id: str
    issued_at: int


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

    def issue(self, *, user_id: str, email: str, role: str, family_id: str) -> str:
        """Sign a token that is valid for `lifetime`."""
        issued_at = int(time.time())
        self._keys.refresh()
        signing_key = self._keys.signing_key
        header = {"alg": "RS256", "kid": signing_key.kid, "typ": "JWT"}
        claims = {
            "sub": user_id,
            "email": email,
            "role": role,
            "sid": family_id,
            "iat": issued_at,
            "exp": issued_at + int(self.lifetime.total_seconds()),
            "iss": self._issuer,
            "aud": self._audience,
        }
        return jwt.encode(header, claims, signing_key, algorithms=["RS256"])

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
        try:
            decoded = jwt.decode(token, self._find_key, algorithms=["RS256"])
            if decoded.header.get("typ") != "JWT":
                raise errors.Unauthenticated()
            self._claims.validate(decoded.claims)
            claims = decoded.claims
            identity = Identity(claims["sub"], claims["email"], claims["role"], claims["sid"], claims["iat"])
            words = (identity.user_id, identity.email, identity.role, identity.family_id)
            if not all(isinstance(word, str) for word in words):
                raise errors.Unauthenticated()
            return identity, claims["exp"]
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise errors.Unauthenticated() from None

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
        self._keys.refresh()
        signing_key = self._keys.signing_key
        header = {"alg": "RS256", "kid": signing_key.kid, "typ": _PLAYBACK}
        claims = {
            "sub": identity.user_id,
            "sid": identity.family_id,
            "lesson": lesson_id,
            "exp": int(time.time() + lifetime.total_seconds()),
            "iss": self._issuer,
            "aud": f"{self._audience}/{_PLAYBACK}",
        }
        return jwt.encode(header, claims, signing_key, algorithms=["RS256"])

    def verify_playback(self, token: str, lesson_id: str) -> tuple[str, str]:
        """Return the user and the login that may play a lesson; raise Unauthenticated."""
        self._keys.refresh()
        claims = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": f"{self._audience}/{_PLAYBACK}"},
            exp={"essential": True},
            lesson={"essential": True, "value": lesson_id},
        )
        try:
            decoded = jwt.decode(token, self._find_key, algorithms=["RS256"])
            if decoded.header.get("typ") != _PLAYBACK:
                raise errors.Unauthenticated()
            claims.validate(decoded.claims)
            return str(decoded.claims["sub"]), str(decoded.claims["sid"])
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise errors.Unauthenticated() from None

    # --- Device proofs: this device has logged in to this account; they grant no access ---------------

    def issue_device_proof(self, account: str, device_id: str) -> str:
        """Sign that a device has logged in to an account, named by the hash of its canonical e-mail address."""
        self._keys.refresh()
        signing_key = self._keys.signing_key
        header = {"alg": "RS256", "kid": signing_key.kid, "typ": _DEVICE}
        claims = {
            "sub": account,
            "device": device_id,
            "exp": int(time.time() + DEVICE_PROOF_LIFETIME.total_seconds()),
            "iss": self._issuer,
            "aud": f"{self._audience}/{_DEVICE}",
        }
        return jwt.encode(header, claims, signing_key, algorithms=["RS256"])

    def is_device_proof(self, token: str, account: str, device_id: str) -> bool:
        """Return whether a proof is of this account and device; False for any other text."""
        self._keys.refresh()
        claims = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": f"{self._audience}/{_DEVICE}"},
            exp={"essential": True},
            sub={"essential": True, "value": account},
            device={"essential": True, "value": device_id},
        )
        try:
            decoded = jwt.decode(token, self._find_key, algorithms=["RS256"])
            claims.validate(decoded.claims)
            return decoded.header.get("typ") == _DEVICE
        except (errors.Unauthenticated, JoseError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def jwks(self) -> dict[str, Any]:
        """Return the published keys as a JSON Web Key Set (RFC 7517)."""
        fields = ("kty", "use", "alg", "kid", "n", "e")
        self._keys.refresh()
        keys = [key.as_dict(private=False) for key in self._keys.public_keys.values()]
        return {"keys": [{field: key[field] for field in fields} for key in keys]}
