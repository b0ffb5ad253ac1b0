"""ID tokens that are not accepted: malformed, forged, foreign, expired and confused ones, each with its refusal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from joserfc.jwk import RSAKey

from devtools.stand_ins.issuers import Issuer, Issuers
from testing.identities import new_nonce

Json = dict[str, Any]
Refusal = tuple[int, str]
#: The refusal of nearly all, and the one of texts that are no token by the contract.
REFUSED: Refusal = (401, "id_token_invalid")
MALFORMED: Refusal = (400, "request_invalid")
Make = Callable[[Issuers, str], Json]

#: By name: what makes a body without the device, for the identity of a subject, and how it is refused.
TABLE: dict[str, tuple[Make, Refusal]] = {}
_FOREIGN_KEY = RSAKey.generate_key(2048)


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign(key: Any, signed: str, hash_of: Any = None) -> str:
    private: Any = key.private_key
    return encode(private.sign(signed.encode(), padding.PKCS1v15(), hash_of or SHA256()))


def header_of(issuer: Issuer, **changes: Any) -> Json:
    return {"alg": "RS256", "kid": issuer.keys.signing_key("RS256").kid, "typ": "JWT"} | changes


def claims_of(issuer: Issuer, subject: str, nonce: str, /, **changes: Any) -> Json:
    now = int(time.time())
    address = {"email": f"{subject}@example.com", "email_verified": True}
    times = {"iat": now, "exp": now + 3600}
    whom = {"iss": issuer.url, "sub": subject, "aud": issuer.client_ids["ios"], "nonce": nonce}
    return whom | times | address | changes


def without_none(values: Json) -> bytes:
    return json.dumps({name: value for name, value in values.items() if value is not None}).encode()


def token_of(issuer: Issuer, header: bytes | Json, claims: bytes | Json, key: Any = None) -> str:
    """A JWT with exactly these contents, by RS256, also where its header names another algorithm."""
    parts = [encode(each if isinstance(each, bytes) else without_none(each)) for each in (header, claims)]
    signed = ".".join(parts)
    return f"{signed}.{sign(key or issuer.keys.signing_key('RS256'), signed)}"


def row(name: str, make: Callable[[Issuers, str, str], str | Json], refusal: Refusal = REFUSED) -> None:
    """Add a token; `make` takes the issuers, the subject and the nonce, and returns it or more of the body."""

    def body(issuers: Issuers, subject: str) -> Json:
        nonce = new_nonce()
        made = make(issuers, subject, nonce)
        more = made if isinstance(made, dict) else {"idToken": made}
        return {"provider": "google", "nonce": nonce} | more

    assert name not in TABLE
    TABLE[name] = (body, refusal)


def with_header(**changes: Any) -> Callable[[Issuers, str, str], str]:
    return lambda issuers, subject, nonce: token_of(
        issuers.google, header_of(issuers.google, **changes), claims_of(issuers.google, subject, nonce)
    )


def with_claims(**changes: Any) -> Callable[[Issuers, str, str], str]:
    return lambda issuers, subject, nonce: token_of(
        issuers.google, header_of(issuers.google), claims_of(issuers.google, subject, nonce, **changes)
    )


def by_issuer(make: Callable[[Issuers], Json]) -> Callable[[Issuers, str, str], str]:
    """Claims that depend on the issuers."""
    return lambda issuers, subject, nonce: with_claims(**make(issuers))(issuers, subject, nonce)


def with_bytes(
    header: Callable[[bytes], bytes], claims: Callable[[bytes], bytes]
) -> Callable[[Issuers, str, str], str]:
    """The contents of a good token, changed as bytes and signed."""

    def make(issuers: Issuers, subject: str, nonce: str) -> str:
        google = issuers.google
        good = without_none(header_of(google)), without_none(claims_of(google, subject, nonce))
        return token_of(google, header(good[0]), claims(good[1]))

    return make


def same(content: bytes) -> bytes:
    return content


def good(issuers: Issuers, subject: str, nonce: str) -> str:
    return with_claims()(issuers, subject, nonce)


def hs256(secret: Callable[[Issuers], bytes]) -> Callable[[Issuers, str, str], str]:
    """An HMAC by what is public: accepted where the algorithm is the header's and the key any bytes."""

    def make(issuers: Issuers, subject: str, nonce: str) -> str:
        google = issuers.google
        contents = header_of(google, alg="HS256"), claims_of(google, subject, nonce)
        signed = ".".join(encode(without_none(each)) for each in contents)
        return f"{signed}.{encode(hmac.digest(secret(issuers), signed.encode(), 'sha256'))}"

    return make


def unsigned(algorithm: str, *, signature: str = "") -> Callable[[Issuers, str, str], str]:
    def make(issuers: Issuers, subject: str, nonce: str) -> str:
        google = issuers.google
        contents = header_of(google, alg=algorithm), claims_of(google, subject, nonce)
        return ".".join(encode(without_none(each)) for each in contents) + f".{signature}"

    return make


def public_pem(issuers: Issuers) -> bytes:
    key: Any = issuers.google.keys.signing_key("RS256")
    return bytes(key.as_pem(private=False))


def published(issuers: Issuers) -> Json:
    found: Json = issuers.google.keys.jwks()["keys"][0]
    return found


# --- Signatures and algorithms -------------------------------------------------------------------

row("algorithm none", unsigned("none"))
row("algorithm None", unsigned("None"))
row("algorithm nOnE with a signature", unsigned("nOnE", signature="c2ln"))
row("no signature", lambda issuers, subject, nonce: good(issuers, subject, nonce).rpartition(".")[0] + ".")
row("HS256 by the public key's PEM", hs256(public_pem))
row("HS256 by the modulus", hs256(lambda issuers: published(issuers)["n"].encode()))
row("HS256 by the whole JWK", hs256(lambda issuers: json.dumps(published(issuers)).encode()))
row("HS256 by nothing", hs256(lambda issuers: b""))
row("HS256 by the client secret", hs256(lambda issuers: issuers.keys.google_client_secret.encode()))
row("no algorithm", with_header(alg=None))
row("algorithm is a list", with_header(alg=["RS256"]))
row("algorithm of lower case", with_header(alg="rs256"))
row("PS256 with a key for RS256", with_header(alg="PS256"))
row("ES256 with a key for RS256", with_header(alg="ES256"))
row("encryption for signature", with_header(alg="RSA-OAEP", enc="A256GCM"))


def make_rs512(issuers: Issuers, subject: str, nonce: str) -> str:
    google = issuers.google
    contents = header_of(google, alg="RS512"), claims_of(google, subject, nonce)
    signed = ".".join(encode(without_none(each)) for each in contents)
    return f"{signed}.{sign(google.keys.signing_key('RS256'), signed, SHA512())}"


row("RS512 with a key for RS256", make_rs512)
row(
    "key of another under the key id",
    lambda issuers, subject, nonce: token_of(
        issuers.google, header_of(issuers.google), claims_of(issuers.google, subject, nonce), _FOREIGN_KEY
    ),
)
row(
    "key of another provider",
    lambda issuers, subject, nonce: token_of(
        issuers.apple, header_of(issuers.apple), claims_of(issuers.google, subject, nonce)
    ),
)
row("key id that is not published", with_header(kid="made-up"))
row("no key id", with_header(kid=None))
row("empty key id", with_header(kid=""))
row("key id is a number", with_header(kid=1))
row("key id is a path", with_header(kid="../../dev/null"))
row("key id is a query", with_header(kid="' OR '1'='1"))
row(
    "signature of another token",
    lambda issuers, subject, nonce: (
        good(issuers, subject, nonce).rpartition(".")[0] + "." + good(issuers, "other", nonce).rpartition(".")[2]
    ),
)
row("signature cut short", lambda issuers, subject, nonce: good(issuers, subject, nonce)[:-8])


def make_altered(issuers: Issuers, subject: str, nonce: str) -> str:
    """The subject is another than the signed one."""
    header, _, signature = good(issuers, "attacker", nonce).split(".")
    return f"{header}.{encode(without_none(claims_of(issuers.google, subject, nonce)))}.{signature}"


row("payload altered", make_altered)

# --- Headers that name keys, or change what is signed --------------------------------------------

_OWN_JWK = _FOREIGN_KEY.as_dict(private=False)


def by_foreign_key(**changes: Any) -> Callable[[Issuers, str, str], str]:
    return lambda issuers, subject, nonce: token_of(
        issuers.google, header_of(issuers.google, **changes), claims_of(issuers.google, subject, nonce), _FOREIGN_KEY
    )


row("jwk with its own key", by_foreign_key(jwk=_OWN_JWK))
row("jwk beside a right signature", with_header(jwk=_OWN_JWK))
row("jku to its own keys", by_foreign_key(jku="https://attacker.example/keys"))
row("jku beside a right signature", with_header(jku="http://127.0.0.1:1/keys"))
row("x5u to its own certificate", by_foreign_key(x5u="https://attacker.example/x.pem"))
row("x5c with its own certificate", by_foreign_key(x5c=["MIIB"]))
row("crit", with_header(crit=["exp"], exp=1))
row("crit of b64", with_header(crit=["b64"], b64=False))
row("b64 false", with_header(b64=False))
row("crit is empty", with_header(crit=[]))
row("zip", with_header(zip="DEF"))
row("type of access tokens", with_header(typ="at+jwt"))
row("type of logout tokens", with_header(typ="logout+jwt"))
row("type is a number", with_header(typ=1))
row("access token of Keycloak's kind", with_claims(typ="Bearer"))

# --- Issuer and audience -------------------------------------------------------------------------

row("another issuer", with_claims(iss="https://attacker.example"))
row("issuer with a slash", by_issuer(lambda issuers: {"iss": f"{issuers.google.url}/"}))
row("issuer in capitals", by_issuer(lambda issuers: {"iss": issuers.google.url.upper()}))
row("issuer that begins alike", by_issuer(lambda issuers: {"iss": f"{issuers.google.url}.attacker.example"}))
row("issuer of another provider", by_issuer(lambda issuers: {"iss": issuers.apple.url}))
row("issuer is a list", by_issuer(lambda issuers: {"iss": [issuers.google.url]}))
row("no issuer", with_claims(iss=None))
row("audience of another app", with_claims(aud="other.apps.example"))
row("audience of another platform", by_issuer(lambda issuers: {"aud": issuers.google.client_ids["android"]}))
row("audience of the web", by_issuer(lambda issuers: {"aud": issuers.google.client_ids["web"]}))
row("audience of another provider's client", by_issuer(lambda issuers: {"aud": issuers.apple.client_ids["ios"]}))
row(
    "audience also of another app",
    by_issuer(lambda issuers: {"aud": [issuers.google.client_ids["ios"], "other.apps.example"]}),
)
row(
    "audiences of two platforms",
    by_issuer(lambda issuers: {"aud": [issuers.google.client_ids["ios"], issuers.google.client_ids["web"]]}),
)
row("audience repeated", by_issuer(lambda issuers: {"aud": [issuers.google.client_ids["ios"]] * 11}))
row(
    "two audiences for another party",
    by_issuer(lambda issuers: {"aud": [issuers.google.client_ids["ios"]] * 2, "azp": "other.apps.example"}),
)
row("party is a number", with_claims(azp=1))
row("no audience", with_claims(aud=None))
row("empty audience", with_claims(aud=""))
row("empty list of audiences", with_claims(aud=[]))
row("audience is a number", with_claims(aud=1))
row("audience is an object", by_issuer(lambda issuers: {"aud": {issuers.google.client_ids["ios"]: True}}))
row("audience in a list in a list", by_issuer(lambda issuers: {"aud": [[issuers.google.client_ids["ios"]]]}))

# --- Times ---------------------------------------------------------------------------------------

row("expired", by_issuer(lambda _: {"exp": int(time.time()) - 60, "iat": int(time.time()) - 3660}))
row("no expiry", with_claims(exp=None))
row("expiry is a text", by_issuer(lambda _: {"exp": str(int(time.time()) + 60)}))
row("expiry is a fraction", by_issuer(lambda _: {"exp": time.time() + 60.5}))
row("expiry is true", with_claims(exp=True))
row("expiry is negative", with_claims(exp=-1))
row("expiry is zero", with_claims(exp=0))
row("expiry is beyond any calendar", with_claims(exp=10**30))
row(
    "expiry has 5,000 digits",
    with_bytes(same, lambda claims: claims.replace(b'"exp":', b'"exp": 1' + b"0" * 5000 + b', "x":')),
)
row("expiry in exponents", with_bytes(same, lambda claims: claims.replace(b'"exp":', b'"exp": 1e300, "x":')))
row("expiry is infinite", with_bytes(same, lambda claims: claims.replace(b'"exp":', b'"exp": Infinity, "x":')))
row("expiry is a list", by_issuer(lambda _: {"exp": [int(time.time()) + 60]}))
row("issued in five minutes", by_issuer(lambda _: {"iat": int(time.time()) + 300}))
row("issued two days ago for ten years", by_issuer(lambda _: {"iat": int(time.time()) - 2 * 86400, "exp": 2**34}))
row("no time of issue", with_claims(iat=None))
row("time of issue is a text", by_issuer(lambda _: {"iat": str(int(time.time()))}))
row("time of issue is true", with_claims(iat=True))
row("time of issue is negative", with_claims(iat=-(10**12)))
row("time of issue is in milliseconds", by_issuer(lambda _: {"iat": int(time.time() * 1000)}))
row("not before in five minutes", by_issuer(lambda _: {"nbf": int(time.time()) + 300}))
row("not before is a text", with_claims(nbf="now"))

# --- Nonce ---------------------------------------------------------------------------------------


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def apple(nonce_claim: Callable[[str], Any], nonce_sent: Callable[[str], str] = lambda nonce: nonce) -> Any:
    def make(issuers: Issuers, subject: str, nonce: str) -> Json:
        claims = claims_of(issuers.apple, subject, nonce, nonce=nonce_claim(nonce))
        token = token_of(issuers.apple, header_of(issuers.apple), claims)
        return {"provider": "apple", "idToken": token, "nonce": nonce_sent(nonce)}

    return make


row("no nonce", with_claims(nonce=None))
row("empty nonce", with_claims(nonce=""))
row("another nonce", with_claims(nonce="x" * 32))
row("nonce is a list", lambda issuers, subject, nonce: with_claims(nonce=[nonce])(issuers, subject, nonce))
row("nonce is true", with_claims(nonce=True))
row("nonce beyond ASCII", with_claims(nonce="ñ" * 16))
row("nonce is half of a pair", with_claims(nonce="\ud800" * 16))
row(
    "nonce hashed, as only Apple's is",
    lambda issuers, subject, nonce: with_claims(nonce=hashed(nonce))(issuers, subject, nonce),
)
row("no nonce from Apple", apple(lambda nonce: None))
row("nonce hashed twice", apple(lambda nonce: hashed(hashed(nonce))))
row("nonce hashed in capitals", apple(lambda nonce: hashed(nonce).upper()))
row("nonce hashed in Base64", apple(lambda nonce: encode(hashlib.sha256(nonce.encode()).digest())))
row("the client sends the hash of the claim", apple(lambda nonce: nonce, hashed))
row("the client sends another nonce", apple(hashed, lambda nonce: new_nonce()))
row(
    "the client sends a nonce with spaces",
    lambda issuers, subject, nonce: {"idToken": good(issuers, subject, nonce), "nonce": f" {nonce} "},
    MALFORMED,
)
row(
    "the client sends a short nonce",
    lambda issuers, subject, nonce: {"idToken": with_claims(nonce="short")(issuers, subject, nonce), "nonce": "short"},
    MALFORMED,
)

# --- Subject -------------------------------------------------------------------------------------

row("no subject", with_claims(sub=None))
row("empty subject", with_claims(sub=""))
row("long subject", with_claims(sub="x" * 256))
row("subject is a number", with_claims(sub=12345))
row("subject is true", with_claims(sub=True))
row("subject is a list", lambda issuers, subject, nonce: with_claims(sub=[subject])(issuers, subject, nonce))
row(
    "subject with a zero character",
    lambda issuers, subject, nonce: with_claims(sub=f"{subject}\0")(issuers, subject, nonce),
)
row(
    "subject with a line break",
    lambda issuers, subject, nonce: with_claims(sub=f"{subject}\n")(issuers, subject, nonce),
)
row(
    "subject with half of a pair",
    lambda issuers, subject, nonce: with_claims(sub=f"{subject}\udc00")(issuers, subject, nonce),
)
row(
    "token of another provider with the same subject",
    lambda issuers, subject, nonce: token_of(
        issuers.oidc, header_of(issuers.oidc), claims_of(issuers.oidc, subject, nonce)
    ),
)

# --- Form ----------------------------------------------------------------------------------------

row(
    "two issuers",
    with_bytes(same, lambda claims: claims.replace(b'{"iss"', b'{"iss": "https://attacker.example", "iss"')),
)
row("two subjects", with_bytes(same, lambda claims: claims.replace(b'{"iss"', b'{"sub": "attacker", "iss"')))
row("two names by escapes", with_bytes(same, lambda claims: claims.replace(b'{"iss"', b'{"\\u0073ub": "x", "iss"')))
row("two algorithms", with_bytes(lambda header: header.replace(b"{", b'{"alg": "none", ', 1), same))
row("payload is a list", with_bytes(same, lambda claims: b"[" + claims + b"]"))
row("payload is a text", with_bytes(same, lambda claims: json.dumps(claims.decode()).encode()))
row("payload is null", with_bytes(same, lambda claims: b"null"))
row("payload with more behind it", with_bytes(same, lambda claims: claims + b"{}"))
row("payload with a byte-order mark", with_bytes(same, lambda claims: b"\xef\xbb\xbf" + claims))
row("payload in UTF-16", with_bytes(same, lambda claims: claims.decode().encode("utf-16")))
row("payload is no UTF-8", with_bytes(same, lambda claims: claims.replace(b"{", b'{"x": "\xff", ', 1)))
row(
    "payload is nested deeply",
    with_bytes(same, lambda claims: claims.replace(b"{", b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b", ", 1)),
)
row("payload has NaN", with_bytes(same, lambda claims: claims.replace(b"{", b'{"x": NaN, ', 1)))
row("header is a list", with_bytes(lambda header: b"[" + header + b"]", same))
row("header is empty", with_bytes(lambda header: b"{}", same))
row("header is long", with_header(x="x" * 1000))
row("two parts", lambda issuers, subject, nonce: good(issuers, subject, nonce).rpartition(".")[0])
row("four parts", lambda issuers, subject, nonce: good(issuers, subject, nonce) + ".e30")
row("five parts, as an encrypted one", lambda issuers, subject, nonce: good(issuers, subject, nonce) + ".e30.e30")
row("dots alone", lambda issuers, subject, nonce: "..")
row("a word", lambda issuers, subject, nonce: "token")
row("header is no Base64", lambda issuers, subject, nonce: "a" + good(issuers, subject, nonce))
row("with padding", lambda issuers, subject, nonce: good(issuers, subject, nonce) + "=", MALFORMED)
row("with a line break", lambda issuers, subject, nonce: good(issuers, subject, nonce) + "\n", MALFORMED)
row("empty", lambda issuers, subject, nonce: "", MALFORMED)
row("longer than the contract allows", with_claims(x="x" * 8000), MALFORMED)
row("no text", lambda issuers, subject, nonce: {"idToken": {"jwt": good(issuers, subject, nonce)}}, MALFORMED)
