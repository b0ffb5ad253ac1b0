"""Stand-ins of Google, Apple and a plain issuer of OpenID Connect, such as Keycloak, for real clients.

    with running_issuer() as issuer:
        environment |= issuer.environment             # the settings under which the product finds all three
        token = issuer.google.issue_id_token(email="a@example.com", nonce="n")
        callback = issuer.apple.authorize(authorization_url, "b@example.com", is_private_email=True)
        issuer.google.rotate_keys()
        issuer.faults.add("refuse", "GET /google/oauth2/v3/certs", status=500, times=3)
        assert issuer.apple.revoked[0].subject == ...

Issuers are http addresses with a path, at 127.0.0.1; the claim `iss` and the setting (GOOGLE_ISSUER, ...) are equal.
Faults match `METHOD path`, and all paths of an issuer begin with that of its URL (/google, /apple, /realms/stand-in).
An issuer that is away: `cut` or `hang`; keys that make no sense: `garble`, or `issuer.google.documents["jwks"] = {}`.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from devtools.stand_ins.faults import FaultInjector, Faults
from devtools.stand_ins.issuers.authorization import AuthorizationRefused
from devtools.stand_ins.issuers.control import IssuerControl
from devtools.stand_ins.issuers.endpoints import Endpoints, build_fault
from devtools.stand_ins.issuers.issuer import Issuer, Person, Revocation
from devtools.stand_ins.issuers.personalities import AppleIssuer, GoogleIssuer, OidcIssuer
from devtools.stand_ins.serving import serving
from devtools.stand_ins.store import Store

__all__ = ["AuthorizationRefused", "Issuer", "IssuerKeys", "Issuers", "Person", "Revocation", "running_issuer"]

_PLATFORMS = ("ios", "android", "web")
_CLIENT_IDS: Mapping[str, Mapping[str, str]] = {
    "google": {each: f"{each}.google.stand-in.example" for each in _PLATFORMS},
    # Bundle ids for iOS, and identifiers of Services for the other two.
    "apple": {"ios": "example.stand-in", "android": "example.stand-in.android", "web": "example.stand-in.web"},
    "oidc": {each: f"parlance-{each}" for each in _PLATFORMS},
}


def _generate_apple_key() -> str:
    return ECKey.generate_key("P-256").as_pem(private=True).decode()


@dataclass(frozen=True)
class IssuerKeys:
    """Secrets of the clients; random, so that nobody else can be one."""

    google_client_secret: str = field(default_factory=lambda: f"GOCSPX-{secrets.token_urlsafe(21)}")
    apple_team_id: str = field(default_factory=lambda: secrets.token_hex(5).upper())
    apple_key_id: str = field(default_factory=lambda: secrets.token_hex(5).upper())
    #: A PEM, its line breaks as they are or as `\\n`.
    apple_private_key: str = field(default_factory=_generate_apple_key)
    oidc_client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))


class Issuers:
    """The three issuers, served below `url`, and their faults."""

    def __init__(
        self, url: str, *, store: Store | None = None, faults: Faults | None = None, keys: IssuerKeys | None = None
    ) -> None:
        self.url, self.keys = url, keys or IssuerKeys()
        self.store, self.faults = store or Store(), faults or Faults()
        self.google = GoogleIssuer(f"{url}/google", self.store, _CLIENT_IDS["google"], self.keys.google_client_secret)
        self.apple = AppleIssuer(
            f"{url}/apple",
            self.store,
            _CLIENT_IDS["apple"],
            team_id=self.keys.apple_team_id,
            key_id=self.keys.apple_key_id,
            private_key=self.keys.apple_private_key.replace("\\n", "\n"),
        )
        self.oidc = OidcIssuer(f"{url}/realms/stand-in", self.store, _CLIENT_IDS["oidc"], self.keys.oidc_client_secret)
        self.by_id: dict[str, Issuer] = {each.id: each for each in (self.google, self.apple, self.oidc)}

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which the product finds all three; the key on one line, as .env needs it."""
        clients = {
            f"{prefix.upper()}_CLIENT_IDS_{platform.upper()}": client_id
            for prefix, ids in _CLIENT_IDS.items()
            for platform, client_id in ids.items()
        }
        return clients | {
            "GOOGLE_CLIENT_SECRET": self.keys.google_client_secret,
            "GOOGLE_ISSUER": self.google.url,
            "APPLE_TEAM_ID": self.keys.apple_team_id,
            "APPLE_KEY_ID": self.keys.apple_key_id,
            "APPLE_PRIVATE_KEY": self.keys.apple_private_key.strip().replace("\n", "\\n"),
            "APPLE_ISSUER": self.apple.url,
            "OIDC_PROVIDER": self.oidc.id,
            "OIDC_NAME": self.oidc.name,
            "OIDC_ISSUER": self.oidc.url,
            "OIDC_CLIENT_SECRET": self.keys.oidc_client_secret,
        }

    def advance(self, seconds: float) -> None:
        """Put the issuers' clock forward: codes expire, and ID tokens are issued in the future."""
        self.store.advance(seconds)

    def routes(self) -> list[BaseRoute]:
        """The endpoints of each issuer below its path, and the control API."""
        mounts = [
            Mount(
                issuer.url.removeprefix(self.url),
                FaultInjector(Endpoints(issuer).app(), self.faults, build_fault),
            )
            for issuer in self.by_id.values()
        ]
        return [*IssuerControl(self.by_id).routes(), *mounts]


@contextmanager
def running_issuer(*, port: int = 0) -> Iterator[Issuers]:
    """Serve the issuers on 127.0.0.1 from a thread of this process; any port where none is given."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        issuers = Issuers(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with serving(Starlette(routes=issuers.routes()), listener):
            yield issuers
