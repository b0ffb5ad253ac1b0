"""Access tokens: issued ones are accepted, forged ones are refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import errors
import settings as configuration
from adapters.keys import KeyFiles, KeyRing
from adapters.tokens import LEEWAY_SECONDS, AccessTokens
from testing.time_limits import limit

ISSUER, AUDIENCE, KID = "https://parlance.example", "parlance", "key-v1"


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def as_json(part: Any) -> str:
    return encode(json.dumps(part).encode())


@dataclass
class Forge:
    """What an attacker has (a key pair of their own, our public key), and for the honest case our private one."""

    tokens: AccessTokens
    ours: rsa.RSAPrivateKey
    theirs: rsa.RSAPrivateKey
    public_pem: bytes

    def header(self, **changes: Any) -> dict[str, Any]:
        return without_nothing({"alg": "RS256", "kid": KID, "typ": "JWT", **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"sub": "3f0c", "email": "ada@example.com", "role": "student", "sid": "9b1d"}
        times = {"iat": now, "exp": now + 900, "iss": ISSUER, "aud": AUDIENCE}
        return without_nothing({**claims, **times, **changes})

    def sign(self, header: Any, claims: Any, key: rsa.RSAPrivateKey | None = None) -> str:
        signed = f"{as_json(header)}.{as_json(claims)}"
        signature = (key or self.ours).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode(signature)}"

    def hmac(self, header: Any, claims: Any, secret: bytes) -> str:
        signed = f"{as_json(header)}.{as_json(claims)}"
        return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def embedded_key(self) -> dict[str, Any]:
        numbers = self.theirs.public_key().public_numbers()
        modulus, exponent = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
        return {"kty": "RSA", "n": encode(modulus), "e": encode(exponent), "kid": KID}


#: Marks a header field or a claim that is left out.
ABSENT = object()


def without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ABSENT}


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    directory = tmp_path_factory.mktemp("keys")
    paths = {"jwt_private_key_path": directory / "private.pem", "jwt_public_key_path": directory / "public.pem"}
    files = KeyFiles(configuration.load(None, **paths))
    files.generate()
    ours = serialization.load_pem_private_key(paths["jwt_private_key_path"].read_bytes(), None)
    assert isinstance(ours, rsa.RSAPrivateKey)
    tokens = AccessTokens(KeyRing(files), issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(minutes=15))
    theirs = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return Forge(tokens, ours, theirs, paths["jwt_public_key_path"].read_bytes())


def test_issued_token_is_verified(forge: Forge) -> None:
    before = int(time.time())
    token = forge.tokens.issue(user_id="u1", email="ada@example.com", role="admin", family_id="f1")
    identity = forge.tokens.verify(token)
    assert (identity.user_id, identity.email, identity.role, identity.family_id) == (
        "u1",
        "ada@example.com",
        "admin",
        "f1",
    )
    assert before <= identity.issued_at <= time.time()
    header, claims, _ = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in [*token.split(".")[:2], "e30"])
    assert header == {"alg": "RS256", "kid": KID, "typ": "JWT"}
    assert set(claims) == {"sub", "email", "role", "sid", "iat", "exp", "iss", "aud"}
    assert claims["exp"] - claims["iat"] == 900 and (claims["iss"], claims["aud"]) == (ISSUER, AUDIENCE)


def test_token_encoded_by_the_test_is_verified(
    forge: Forge,
) -> None:
    assert forge.tokens.verify(forge.sign(forge.header(), forge.claims())).user_id == "3f0c"


Make = Callable[[Forge], str]

FORGERIES: dict[str, Make] = {
    # The algorithm
    "none, unsigned": lambda f: f"{as_json(f.header(alg='none'))}.{as_json(f.claims())}.",
    "None, unsigned": lambda f: f"{as_json(f.header(alg='None'))}.{as_json(f.claims())}.",
    "none, no kid": lambda f: f"{as_json(f.header(alg='none', kid=ABSENT))}.{as_json(f.claims())}.",
    "none, our signature": lambda f: f.sign(f.header(alg="none"), f.claims()),
    "no signature": lambda f: f"{as_json(f.header())}.{as_json(f.claims())}.",
    "HS256 with the public key": lambda f: f.hmac(f.header(alg="HS256"), f.claims(), f.public_pem),
    "HS256 with the public key, stripped": lambda f: f.hmac(f.header(alg="HS256"), f.claims(), f.public_pem.strip()),
    "HS256 called RS256": lambda f: f.hmac(f.header(), f.claims(), f.public_pem),
    "HS256 with nothing": lambda f: f.hmac(f.header(alg="HS256"), f.claims(), b""),
    "RS384": lambda f: f.sign(f.header(alg="RS384"), f.claims()),
    "PS256": lambda f: f.sign(f.header(alg="PS256"), f.claims()),
    "alg missing": lambda f: f.sign(f.header(alg=ABSENT), f.claims()),
    "alg a list": lambda f: f.sign(f.header(alg=["RS256"]), f.claims()),
    "alg null": lambda f: f.sign(f.header(alg=None), f.claims()),
    # The key
    "another key": lambda f: f.sign(f.header(), f.claims(), f.theirs),
    "unknown kid": lambda f: f.sign(f.header(kid="key-v2"), f.claims()),
    "unknown kid, another key": lambda f: f.sign(f.header(kid="theirs"), f.claims(), f.theirs),
    "kid missing": lambda f: f.sign(f.header(kid=ABSENT), f.claims()),
    "kid empty": lambda f: f.sign(f.header(kid=""), f.claims()),
    "kid null": lambda f: f.sign(f.header(kid=None), f.claims()),
    "kid a number": lambda f: f.sign(f.header(kid=1), f.claims()),
    "kid a list": lambda f: f.sign(f.header(kid=[KID]), f.claims()),
    "kid an object": lambda f: f.sign(f.header(kid={KID: KID}), f.claims()),
    "kid a path": lambda f: f.sign(f.header(kid=f"../published/{KID}"), f.claims()),
    "kid a device": lambda f: f.sign(f.header(kid="/dev/null"), f.claims()),
    "kid with a NUL": lambda f: f.sign(f.header(kid=f"{KID}\0"), f.claims()),
    "key in the header": lambda f: f.sign(f.header(jwk=f.embedded_key()), f.claims(), f.theirs),
    "key in the header, no kid": lambda f: f.sign(f.header(jwk=f.embedded_key(), kid=ABSENT), f.claims(), f.theirs),
    "key at an address": lambda f: f.sign(f.header(jku="https://evil.example/jwks.json"), f.claims(), f.theirs),
    # The kind
    "typ at+jwt": lambda f: f.sign(f.header(typ="at+jwt"), f.claims()),
    "typ missing": lambda f: f.sign(f.header(typ=ABSENT), f.claims()),
    "typ a list": lambda f: f.sign(f.header(typ=["JWT"]), f.claims()),
    "crit that we do not know": lambda f: f.sign(f.header(crit=["x-up"], **{"x-up": 1}), f.claims()),
    "unencoded payload": lambda f: f.sign(f.header(crit=["b64"], b64=False), f.claims()),
    # The claims
    "wrong iss": lambda f: f.sign(f.header(), f.claims(iss="https://evil.example")),
    "iss with a slash more": lambda f: f.sign(f.header(), f.claims(iss=f"{ISSUER}/")),
    "iss a list": lambda f: f.sign(f.header(), f.claims(iss=[ISSUER])),
    "wrong aud": lambda f: f.sign(f.header(), f.claims(aud="another-service")),
    "aud a list without us": lambda f: f.sign(f.header(), f.claims(aud=["another-service", "a-third"])),
    "aud an empty list": lambda f: f.sign(f.header(), f.claims(aud=[])),
    "aud with us as a part": lambda f: f.sign(f.header(), f.claims(aud=f"{AUDIENCE}-admin")),
    "claims a list": lambda f: f.sign(f.header(), [f.claims()]),
    "claims a string": lambda f: f.sign(f.header(), "claims"),
    "claims null": lambda f: f.sign(f.header(), None),
    "header a list": lambda f: f.sign([f.header()], f.claims()),
    "second factor a text": lambda f: f.sign(f.header(), f.claims(second_factor_at=str(int(time.time())))),
    "second factor true": lambda f: f.sign(f.header(), f.claims(second_factor_at=True)),
    "second factor not whole": lambda f: f.sign(f.header(), f.claims(second_factor_at=time.time() + 0.5)),
    "role a list": lambda f: f.sign(f.header(), f.claims(role=["admin"])),
    "sub a number": lambda f: f.sign(f.header(), f.claims(sub=1)),
    "sid an object": lambda f: f.sign(f.header(), f.claims(sid={"a": 1})),
    **{
        f"{claim} missing": lambda f, claim=claim: f.sign(f.header(), f.claims(**{claim: ABSENT}))  # type: ignore[misc]
        for claim in ("sub", "email", "role", "sid", "iat", "exp", "iss", "aud")
    },
    **{
        f"{claim} null": lambda f, claim=claim: f.sign(f.header(), f.claims(**{claim: None}))  # type: ignore[misc]
        for claim in ("sub", "email", "role", "sid", "iat", "exp", "iss", "aud")
    },
    # The time
    "expired 31 s ago": lambda f: f.sign(f.header(), f.claims(exp=int(time.time()) - 31)),
    "expired a year ago": lambda f: f.sign(f.header(), f.claims(exp=int(time.time()) - 31_536_000)),
    "exp a string": lambda f: f.sign(f.header(), f.claims(exp=str(int(time.time()) + 900))),
    "exp without end": lambda f: f.sign(f.header(), f.claims(exp=float("inf"))),
    "exp not a number": lambda f: f.sign(f.header(), f.claims(exp=float("nan"))),
    "issued in the future": lambda f: f.sign(f.header(), f.claims(iat=int(time.time()) + 40)),
    "not yet valid": lambda f: f.sign(f.header(), f.claims(nbf=int(time.time()) + 40)),
    # The form
    "empty": lambda f: "",
    "a word": lambda f: "Bearer",
    "dots": lambda f: "..",
    "many dots": lambda f: "." * 10_000,
    "truncated": lambda f: f.sign(f.header(), f.claims())[:-5],
    "without its signature's start": lambda f: f.sign(f.header(), f.claims()).replace(".", ".x", 2),
    "a fourth part": lambda f: f.sign(f.header(), f.claims()) + ".e30",
    "five parts": lambda f: f.sign(f.header(), f.claims()) + ".e30.e30",
    "not base64": lambda f: "!!!.???.***",
    "not JSON": lambda f: f"{encode(b'{')}.{encode(b'}')}.{encode(b'x')}",
    "not UTF-8": lambda f: f"{encode(bytes([255, 254]))}.{encode(bytes([255]))}.{encode(b'x')}",
    "deeply nested": lambda f: f"{encode(b'[' * 20_000)}.{encode(b'[' * 20_000)}.{encode(b'x')}",
    "unicode": lambda f: "ü.😀.\u202e",
    "a lone surrogate": lambda f: "\ud800.\ud800.\ud800",
    "unicode digits": lambda f: f.sign(f.header(), f.claims()).replace(".", "․", 2),
    "oversized": lambda f: f.sign(f.header(), f.claims(more="x" * 60_000), f.theirs),
    "oversized signature": lambda f: f.sign(f.header(), f.claims()) + "A" * 60_000,
    "a space before": lambda f: " " + f.sign(f.header(), f.claims()),
    "a newline after": lambda f: f.sign(f.header(), f.claims()) + "\n",
    "padded": lambda f: f.sign(f.header(), f.claims()) + "==",
    "an encrypted token": lambda f: (
        f"{as_json({'alg': 'RSA-OAEP', 'enc': 'A256GCM', 'kid': KID, 'typ': 'JWT'})}.e30.e30.e30.e30"
    ),
}


@pytest.mark.parametrize("make", FORGERIES.values(), ids=FORGERIES.keys())
def test_forged_token_is_refused_without_a_reason(forge: Forge, make: Make) -> None:
    token = make(forge)
    started = time.perf_counter()
    with pytest.raises(errors.Unauthenticated) as caught:
        forge.tokens.verify(token)
    assert caught.value.detail == errors.Unauthenticated.title
    assert time.perf_counter() - started < limit(1)


def test_token_leeway_is_thirty_seconds(forge: Forge) -> None:
    assert LEEWAY_SECONDS <= 30
    now = int(time.time())
    for kept in ({"exp": now - 28}, {"iat": now + 28}, {"nbf": now + 28}):
        assert forge.tokens.verify(forge.sign(forge.header(), forge.claims(**kept))).user_id == "3f0c"


def test_every_changed_character_is_refused(forge: Forge) -> None:
    token = forge.tokens.issue(user_id="u1", email="ada@example.com", role="student", family_id="f1")
    last = len(token) - 1
    for position in range(0, last, 7):
        if token[position] != ".":
            changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
            with pytest.raises(errors.Unauthenticated):
                forge.tokens.verify(changed)


def test_tokens_of_another_deployment_are_refused(forge: Forge, tmp_path: Path) -> None:
    paths = {"jwt_private_key_path": tmp_path / "private.pem", "jwt_public_key_path": tmp_path / "public.pem"}
    files = KeyFiles(configuration.load(None, **paths))
    assert files.generate() == KID
    others = AccessTokens(KeyRing(files), issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(minutes=15))
    token = others.issue(user_id="u1", email="ada@example.com", role="admin", family_id="f1")
    assert others.verify(token).role == "admin"
    with pytest.raises(errors.Unauthenticated):
        forge.tokens.verify(token)
