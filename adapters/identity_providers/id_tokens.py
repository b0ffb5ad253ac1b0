"""ID tokens (OpenID Connect Core 1.0, 2 and 3.1.3.7): signature, form, and every claim that we rely on."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

import errors
from adapters.identity_providers.documents import ALGORITHMS, Key
from adapters.identity_providers.quirks import Quirks
from adapters.ports import VerifiedIdentity
from digests import compute_digest

#: Accepted difference of clocks in seconds.
LEEWAY_SECONDS = 30
#: A token is refused a day after it was issued, whenever it says to expire: none of the providers' lives longer.
MAX_AGE_SECONDS = 24 * 60 * 60
MAX_BYTES = 8192
#: Header parameters that say how to verify: they would have to be understood, or name keys of who has made the token.
_REFUSED_HEADERS = {"crit", "b64", "zip", "jku", "jwk", "x5u", "x5c"}
_MAX_SUBJECT_LENGTH, _MAX_EMAIL_LENGTH = 255, 254
_MAX_AUDIENCES = 10
_SERIALIZATION = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


class TokenHeader(NamedTuple):
    """Which key a token claims to be signed with."""

    key_id: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to be for. `nonces` is None for a token that came from the token endpoint itself."""

    issuers: frozenset[str]
    audiences: Collection[str]
    nonces: tuple[str, ...] | None


def read_header(token: str) -> TokenHeader:
    """Read the header of a token, still to be verified; raise IdTokenInvalid."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts) or len(token) > MAX_BYTES:
        raise _refusal("it is not a signed JWT")
    header = _read_json(parts[0], "header")
    if _REFUSED_HEADERS & header.keys():
        raise _refusal("its header has parameters that are not accepted")
    kind, algorithm, key_id = header.get("typ", "JWT"), header.get("alg"), header.get("kid")
    # Access tokens, logout tokens and the like have types of their own, and the same key (RFC 8725, 3.11).
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise _refusal("its header has another type than JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _refusal("its algorithm is not accepted")
    if not isinstance(key_id, str) or not key_id:
        raise _refusal("its header names no key")
    return TokenHeader(key_id, algorithm)


def read_claims(token: str, key: Key | None, algorithm: str) -> dict[str, Any]:
    """Verify the signature and return the claims; raise IdTokenInvalid."""
    if key is None:
        raise _refusal("the provider has no such key")
    try:
        # The algorithm is that of the key, not of the header.
        jws.deserialize_compact(token, key, algorithms=[algorithm], registry=_SERIALIZATION)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise _refusal("its signature is wrong") from None
    return _read_json(token.split(".")[1], "payload")


def check_claims(claims: Mapping[str, Any], expected: Expected) -> None:
    """Check for whom and when a token was issued; raise IdTokenInvalid."""
    issuer, nonce = claims.get("iss"), claims.get("nonce")
    # Keycloak signs access tokens with the same key, some with the nonce; it names the kind here.
    if claims.get("typ", "ID") != "ID":
        raise _refusal("it is a token of another kind")
    if not isinstance(issuer, str) or issuer not in expected.issuers:
        raise _refusal("its issuer is another")
    _check_audience(claims, expected.audiences)
    now = time.time()
    issued_at, expires_at = _read_time(claims, "iat"), _read_time(claims, "exp")
    if expires_at <= now - LEEWAY_SECONDS or issued_at <= now - MAX_AGE_SECONDS:
        raise _refusal("it has expired")
    if issued_at > now + LEEWAY_SECONDS or ("nbf" in claims and _read_time(claims, "nbf") > now + LEEWAY_SECONDS):
        raise _refusal("it is not valid yet")
    if expected.nonces is None:
        return
    if not isinstance(nonce, str) or not nonce:
        raise _refusal("it has no nonce; request it with one")
    if not nonce.isascii() or not any(hmac.compare_digest(nonce, each) for each in expected.nonces):
        raise _refusal("its nonce is another")


def read_identity(provider: str, token: str, claims: Mapping[str, Any], quirks: Quirks) -> VerifiedIdentity:
    """Read whom a checked token is about; raise IdTokenInvalid."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise _refusal("its subject is no text of 1 to 255 characters")
    email = _read_email(claims.get("email"))
    issued_at = int(claims["iat"])
    expires_at = min(int(claims["exp"]), issued_at + MAX_AGE_SECONDS) + LEEWAY_SECONDS
    audience = claims["aud"]
    return VerifiedIdentity(
        provider=provider,
        subject=subject,
        email=email,
        is_email_trusted=email is not None and _is_trusted(email, claims, quirks),
        client_id=audience if isinstance(audience, str) else audience[0],
        issued_at=datetime.fromtimestamp(issued_at, UTC),
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        # Without the signature: of one text there are several right ones with ECDSA.
        token_key=f"{provider} {token.rpartition('.')[0]}",
    )


def accepted_nonces(nonce: str, quirks: Quirks) -> tuple[str, ...]:
    """Return what the claim may be where a client has made this nonce."""
    return (nonce, compute_digest(nonce)) if quirks.hashes_nonce else (nonce,)


def _check_audience(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    """Check that a token is for a client of ours and for no one else, who could send it to us."""
    audience, party = claims.get("aud"), claims.get("azp")
    listed: list[Any] = audience if isinstance(audience, list) else [audience]
    is_ours = all(isinstance(each, str) and each in audiences for each in listed)
    if not 1 <= len(listed) <= _MAX_AUDIENCES or not is_ours:
        raise _refusal("its audience is no client id of this platform")
    # With one audience it may be another: on Android the app asks for a token of the web's client.
    if party is not None and (not isinstance(party, str) or (len(listed) > 1 and party not in audiences)):
        raise _refusal("its authorized party is another")


def _read_time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 < value < 2**40:
        raise _refusal(f"its claim {name} is no time")
    return value


def _read_email(value: Any) -> str | None:
    """Return the address as the provider writes it; None where there is none."""
    if not isinstance(value, str) or len(value) > _MAX_EMAIL_LENGTH:
        return None
    return value


def _is_trusted(email: str, claims: Mapping[str, Any], quirks: Quirks) -> bool:
    """Return whether the provider has verified the address, and knows that it belongs to who logs in."""
    verified = claims.get("email_verified")
    if verified is not True and not (quirks.has_text_booleans and verified == "true"):
        return False
    hosted = claims.get(quirks.hosted_claim) if quirks.hosted_claim else None
    return (
        quirks.trusts_verified_email
        or email.rpartition("@")[2].lower() in quirks.own_domains
        or (isinstance(hosted, str) and bool(hosted))
    )


def _read_json(part: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(
            urlsafe_b64decode(part.encode("ascii")).decode("utf-8"),
            object_pairs_hook=_read_members,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError, IndexError):
        raise _refusal(f"its {name} is no JSON object, or names a member twice") from None
    if not isinstance(found, dict):
        raise _refusal(f"its {name} is no JSON object")
    return found


def _read_members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name twice: two readers of such a token could see different claims."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(name)
        members[name] = value
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _refusal(reason: str) -> errors.IdTokenInvalid:
    return errors.IdTokenInvalid(f"The ID token is not accepted: {reason}.")
