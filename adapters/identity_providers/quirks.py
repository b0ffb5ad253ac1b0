"""What providers do in their own ways, as data: everything else is OpenID Connect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Quirks:
    """The differences of one provider. The defaults are those of an issuer of which nothing is known."""

    #: Whether the claim `iss` may be the issuer without `https://`.
    drops_issuer_scheme: bool = False
    #: Whether `nonce` may be the SHA-256 of the client's nonce, in hexadecimal.
    hashes_nonce: bool = False
    #: Whether `email_verified` may be the text `true`.
    has_text_booleans: bool = False
    #: Whether each verified address belongs to who logs in. An issuer may call an address verified that its
    #: administrator has typed.
    trusts_verified_email: bool = False
    #: Domains whose addresses the provider itself hands out, so that a verified one belongs to who logs in.
    own_domains: frozenset[str] = frozenset()
    #: A claim that is there where the provider hosts the address, of any domain.
    hosted_claim: str | None = None
    #: Whether deletion of an account has to revoke the authorization.
    revokes_grants: bool = False
    scope: str = "openid email"
    #: Further parameters of the authorization request.
    parameters: Mapping[str, str] = field(default_factory=dict)


#: https://developers.google.com/identity/gsi/web/guides/verify-google-id-token: a verified address is authoritative
#: with `hd` or at Gmail. An account of Google with any other address was verified once, and may have a new owner since.
GOOGLE = Quirks(
    drops_issuer_scheme=True,
    own_domains=frozenset({"gmail.com", "googlemail.com"}),
    hosted_claim="hd",
    parameters={"prompt": "select_account"},
)

#: Apple, "Authenticating users" of AuthenticationServices: with a scope
#: the response is a form that the browser posts. An address is the Apple Account's verified one, or a relay of Apple's.
APPLE = Quirks(
    hashes_nonce=True,
    has_text_booleans=True,
    trusts_verified_email=True,
    revokes_grants=True,
    parameters={"response_mode": "form_post"},
)
