"""What the three stand-in issuers have in common: people, codes, tokens, ID tokens and revocations."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from joserfc.jwk import Key

from devtools.stand_ins.issuers.authorization import (
    AuthorizationRefused,
    AuthorizationRequest,
    TokenRefused,
    half_hash,
    matches_challenge,
    parse_request,
)
from devtools.stand_ins.issuers.key_ring import Json, KeyRing, sign
from devtools.stand_ins.store import Store, Table


@dataclass(frozen=True)
class Person:
    """A person with an account at an issuer; `subject` is the claim `sub`."""

    subject: str
    email: str | None = None
    email_verified: bool = True
    #: Google: the domain of the organization (Workspace) that manages the account.
    hd: str | None = None
    #: Apple: the app gets a relay address in place of the person's.
    is_private_email: bool = False
    given_name: str = "Stand-in"
    family_name: str = "Learner"


@dataclass(frozen=True)
class Revocation:
    """A token that was revoked; `subject` is None where the issuer did not know it."""

    token: str
    client_id: str | None
    subject: str | None


class Issuer:
    """One issuer at `url`, which is the claim `iss` and the base of the discovery document.

    Attributes below may be changed while it runs.
    """

    #: The id under which the product has it, and the name that it shows.
    id: ClassVar[str]
    name: ClassVar[str]
    authorization_path: ClassVar[str]
    token_path: ClassVar[str]
    revocation_path: ClassVar[str]
    jwks_path: ClassVar[str]
    algorithms: ClassVar[tuple[str, ...]] = ("RS256",)
    code_seconds: ClassVar[int] = 600
    id_token_seconds: ClassVar[int] = 3600
    uses_pkce: ClassVar[bool] = True
    accepts_basic: ClassVar[bool] = True
    revocation_needs_client: ClassVar[bool] = True
    cancel_error: ClassVar[str] = "access_denied"
    pkce_errors: ClassVar[tuple[str, str]] = ("Missing code verifier.", "Invalid code verifier.")
    code_error: ClassVar[str] = "Bad Request"

    def __init__(self, url: str, store: Store, client_ids: Mapping[str, str], cache_control: str) -> None:
        """`client_ids` are by platform: ios, android, web."""
        self.url = url
        self.client_ids = dict(client_ids)
        #: Where authorizations may return to; all addresses where it is empty.
        self.redirect_uris: set[str] = set()
        #: The header of the JWK Set.
        self.cache_control = cache_control
        #: The algorithm that signs, one of `algorithms`.
        self.algorithm = self.algorithms[0]
        #: JSON that is answered in place of `discovery` or `jwks`.
        self.documents: dict[str, Any] = {}
        #: How often each was called: discovery, jwks, authorization, token, revocation.
        self.calls: Counter[str] = Counter()
        self.keys = KeyRing(*self.algorithms)
        self._store = store

    # --- Who is who ---------------------------------------------------------------

    def find_person(self, email: str) -> Person:
        """Return the person of an address: always the same subject, with what was last said of them."""
        known = self._table("people").get(self.subject_of(email))
        return Person(**known) if known else Person(self.subject_of(email), email)

    def people(self) -> list[Person]:
        with self._store.lock:
            return [Person(**each) for each in self._table("people").values()]

    def subject_of(self, email: str) -> str:
        """Return the subject of an address, in this issuer's form."""
        raise NotImplementedError

    # --- Tokens for tests ---------------------------------------------------------

    def issue_id_token(
        self,
        *,
        subject: str | None = None,
        email: str | None = None,
        nonce: str | None = None,
        audience: str | None = None,
        headers: Json | None = None,
        key: Key | None = None,
        **claims: Any,
    ) -> str:
        """Sign an ID token; `audience` is by default the client of the web.

        `claims` and `headers` replace or add; one that is None is left out. `key` signs in place of the issuer's.
        """
        subject = subject or self.subject_of(email or secrets.token_hex(8))
        person = Person(subject, email, hd=claims.get("hd"))
        made = self._claims(person, audience or self.client_ids["web"], {"openid", "email"}) | {"nonce": nonce} | claims
        return self._sign(made, headers or {}, key)

    def issue_code(self, email: str, *, client_id: str, nonce: str | None = None, **details: Any) -> str:
        """Make a code as the SDK of an app gets it: without a redirect URI and PKCE. `details` are of `Person`."""
        request = AuthorizationRequest(client_id, "", scopes=frozenset({"openid", "email"}), nonce=nonce)
        return self.grant(request, replace(self.find_person(email), **details))["code"]

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign with new keys; the old ones stay published, or are gone at once."""
        self.keys.rotate(keep_old=keep_old)

    @property
    def revoked(self) -> list[Revocation]:
        """Tokens that the revocation endpoint was asked to revoke, the first first."""
        with self._store.lock:
            return [Revocation(**each) for each in self._table("revoked").values()]

    # --- Authorization ------------------------------------------------------------

    def authorize(
        self, url: str, email: str = "learner@example.com", *, cancel: bool = False, **details: Any
    ) -> dict[str, str]:
        """Do what a person does on the page at `url`; return what the redirect URI gets. `details` are of `Person`.

        Raises AuthorizationRefused where the page shows an error.
        """
        request = self.accept(dict(parse_qsl(urlsplit(url).query)))
        return self.cancel(request) if cancel else self.grant(request, replace(self.find_person(email), **details))

    def accept(self, parameters: Mapping[str, str]) -> AuthorizationRequest:
        """Read and check a request; raise AuthorizationRefused."""
        request = parse_request(parameters)
        if request.client_id not in self.client_ids.values():
            raise AuthorizationRefused("invalid_client", "The OAuth client was not found.")
        if self.redirect_uris and request.redirect_uri not in self.redirect_uris:
            raise AuthorizationRefused(
                "redirect_uri_mismatch", f"The client has no redirect URI {request.redirect_uri}"
            )
        if request.response_type not in ("code", "code id_token"):
            raise AuthorizationRefused("unsupported_response_type", "Invalid response_type")
        return request

    def grant(self, request: AuthorizationRequest, person: Person) -> dict[str, str]:
        """Let a person in; return the parameters of the callback."""
        code = secrets.token_urlsafe(32)
        with self._store.change():
            self._table("people")[person.subject] = asdict(person)
            self._table("codes")[code] = {
                **asdict(replace(request, scopes=frozenset())),
                "scopes": sorted(request.scopes),
                "subject": person.subject,
                "expires": self._store.now() + self.code_seconds,
                "is_used": False,
            }
        answer = {"code": code} | self._callback(request)
        if request.response_type == "code id_token":
            claims = self._claims(person, request.client_id, set(request.scopes))
            answer["id_token"] = self._sign({**claims, "nonce": request.nonce, "c_hash": half_hash(code)}, {}, None)
        return answer

    def cancel(self, request: AuthorizationRequest) -> dict[str, str]:
        """Return the parameters of the callback after a person has said no."""
        return self.refuse(request, self.cancel_error)

    def refuse(self, request: AuthorizationRequest, error: str) -> dict[str, str]:
        return {"error": error} | self._callback(request)

    def _callback(self, request: AuthorizationRequest) -> dict[str, str]:
        return ({"state": request.state} if request.state is not None else {}) | {"iss": self.url}

    # --- Tokens -------------------------------------------------------------------

    def authenticate_client(self, client_id: str, secret: str) -> None:
        """Raise TokenRefused where a client does not prove who it is."""
        raise NotImplementedError

    def exchange_code(self, client_id: str, form: Mapping[str, str]) -> Json:
        """Spend a code; raise TokenRefused."""
        with self._store.change():
            code = self._table("codes").get(form.get("code", ""))
            if code is None or code["is_used"] or code["expires"] <= self._store.now():
                raise TokenRefused("invalid_grant", self.code_error)
            if code["client_id"] != client_id:
                raise TokenRefused("invalid_grant", self.code_error)
            if form.get("redirect_uri", "") != code["redirect_uri"]:
                raise self._redirect_uri_mismatch()
            if self.uses_pkce:
                self._check_verifier(code, form.get("code_verifier"))
            code["is_used"] = True
            return self._answer_tokens(code, is_first=True)

    def refresh(self, client_id: str, form: Mapping[str, str]) -> Json:
        """Give tokens for a refresh token; raise TokenRefused."""
        with self._store.change():
            token = self._table("tokens").get(form.get("refresh_token", ""))
            if token is None or token["kind"] != "refresh" or token["client_id"] != client_id:
                raise TokenRefused("invalid_grant", self.code_error)
            return self._answer_tokens(token | {"nonce": None}, is_first=False)

    def revoke(self, client_id: str | None, token: str) -> None:
        """Record a revocation and delete every token of the person and the client."""
        with self._store.change():
            tokens = self._table("tokens")
            known = tokens.get(token)
            subject = known["subject"] if known else None
            revoked = Revocation(token, client_id, subject)
            self._table("revoked")[str(len(self._table("revoked")))] = asdict(revoked)
            if known is not None:
                grant = (known["client_id"], subject)
                for each in [name for name, row in tokens.items() if (row["client_id"], row["subject"]) == grant]:
                    del tokens[each]
                self._table("grants").pop(f"{grant[0]} {grant[1]}", None)

    def _check_verifier(self, code: Json, verifier: str | None) -> None:
        missing, wrong = self.pkce_errors
        challenge = code["code_challenge"]
        if challenge is not None and verifier is None:
            raise TokenRefused("invalid_grant", missing)
        if challenge is None and verifier is not None:
            raise TokenRefused("invalid_grant", wrong)
        if challenge is not None and not matches_challenge(verifier or "", challenge, code["code_challenge_method"]):
            raise TokenRefused("invalid_grant", wrong)

    def _redirect_uri_mismatch(self) -> TokenRefused:
        return TokenRefused("invalid_grant", "Incorrect redirect_uri")

    def _gives_refresh_token(self, grant: Json) -> bool:
        return True

    def _answer_tokens(self, grant: Json, *, is_first: bool) -> Json:
        person = Person(**self._table("people")[grant["subject"]])
        access_token = secrets.token_urlsafe(32)
        row = {name: grant[name] for name in ("client_id", "subject", "scopes")}
        self._table("tokens")[access_token] = row | {"kind": "access"}
        claims = self._claims(person, grant["client_id"], set(grant["scopes"]))
        claims |= {"nonce": grant["nonce"], "at_hash": half_hash(access_token)}
        answer: Json = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": self._sign(claims, {}, None),
        }
        if is_first and self._gives_refresh_token(grant):
            answer["refresh_token"] = secrets.token_urlsafe(32)
            self._table("tokens")[answer["refresh_token"]] = row | {"kind": "refresh"}
        return answer

    # --- Documents ----------------------------------------------------------------

    def discovery(self) -> Json:
        return {
            "issuer": self.url,
            "authorization_endpoint": self.url + self.authorization_path,
            "token_endpoint": self.url + self.token_path,
            "revocation_endpoint": self.url + self.revocation_path,
            "jwks_uri": self.url + self.jwks_path,
            "response_types_supported": ["code", "code id_token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(self.algorithms),
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "authorization_response_iss_parameter_supported": True,
        }

    # --- ID tokens ----------------------------------------------------------------

    def _claims(self, person: Person, client_id: str, scopes: set[str]) -> Json:
        now = self._store.now()
        return {
            "iss": self.url,
            "sub": person.subject,
            "aud": client_id,
            "iat": now,
            "exp": now + self.id_token_seconds,
        }

    def _sign(self, claims: Json, headers: Json, key: Key | None) -> str:
        algorithm = headers.get("alg") or self.algorithm
        signing = key or self.keys.signing_key(self.algorithm)
        header = {"alg": algorithm, "typ": "JWT", "kid": signing.kid} | headers
        return sign(_without_none(header), _without_none(claims), signing)

    def _table(self, name: str) -> Table:
        return self._store.table(f"{self.id} {name}")


def _without_none(values: Json) -> Json:
    return {name: value for name, value in values.items() if value is not None}
