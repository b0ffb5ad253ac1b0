"""Protocols of stores, vendors and other processes, as services use them; each is named by its role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from adapters.counting import Traffic

#: Takes the id of the socket that a message is for, then its arguments. A handler that returns None has finished.
Handler = Callable[..., Awaitable[None] | None]


class Bus(Protocol):
    """Messages to the web process that holds a socket; those of one process to another arrive once and in order."""

    process_id: str

    def on(self, kind: str, handler: Handler) -> None:
        """Call `handler(socket_id, *arguments)` for each message of `kind` for a socket of this web process."""

    async def send(self, socket_id: str, kind: str, *arguments: object) -> None:
        """Send a message; raise Unavailable if that fails. For a socket of this process, call the handler."""

    def post(self, socket_id: str, kind: str, *arguments: object) -> None:
        """Send a message at the end of this turn of the event loop.

        Raises Unavailable if the process is known to be dead, the queue is full, or Redis is unavailable.
        """

    def on_process_lost(self, listener: Callable[[str], Awaitable[None]]) -> None:
        """Call `listener` with the id of a web process that died; in every process, and perhaps more than once."""

    def on_data_lost(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Call `listener` when Redis has lost the entries of this process, or others have declared it dead."""

    def neighbours(self) -> list[str]:
        """List the other web processes of this host."""

    def traffic(self) -> Mapping[str, Traffic]:
        """Return the messages and bytes sent to other web processes, by path."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail as text and HTML; `link` is the address to open."""

    to: str
    subject: str
    html: str
    text: str
    link: str


class Mailer(Protocol):
    """Delivery of e-mails."""

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Send an e-mail; the same key twice is one e-mail. Raises the cause if it cannot be sent."""


@dataclass(frozen=True, slots=True)
class Push:
    """A push notification. The same `id` twice is shown once; after `lasts` it expires."""

    id: str
    title: str
    body: str
    #: Data for the app: strings by name.
    data: Mapping[str, str]
    lasts: timedelta


class PushSender(Protocol):
    """Delivery of push notifications."""

    async def send(self, token: str, push: Push) -> Literal["sent", "unregistered", "refused"]:
        """Send a push; return whether FCM accepted it, the token is unregistered, or FCM refused it for good.

        Raises Unavailable, with `retry_after` where FCM sent it.
        """

    async def close(self) -> None: ...


#: What is done with a picture: shown, refused, or kept for a person to decide.
Verdict = Literal["allow", "refuse", "review"]


class ImageScreen(Protocol):
    """Screening of the pictures that learners upload."""

    async def screen(self, picture: bytes) -> Verdict:
        """Return the verdict about a WebP of 400 pixels; raise the cause if there is none."""

    async def close(self) -> None: ...


# --- Identity providers: logins at Google, Apple and other issuers ------------------------------


@dataclass(frozen=True, slots=True)
class VerifiedIdentity:
    """Whom an ID token is about; its signature, audience, times and nonce have been verified."""

    provider: str
    #: Names the person at the provider, for ever; an address may pass to another.
    subject: str
    #: As the token has it; None where it has none.
    email: str | None
    #: Whether the provider has verified the address and knows that it belongs to who logs in.
    is_email_trusted: bool
    #: The client of the provider that the token is for.
    client_id: str
    issued_at: datetime
    #: When the token is refused by itself.
    expires_at: datetime
    #: Names the token, however its signature is written.
    token_key: str


@dataclass(frozen=True, slots=True)
class ExchangedCode:
    """What a provider gives for an authorization code. `refresh_token` is None where it gives none."""

    id_token: str
    subject: str
    client_id: str
    refresh_token: str | None


class IdentityProvider(Protocol):
    """A provider of OpenID Connect. Its calls raise Unavailable where it does not answer."""

    id: str
    #: The client of the web's authorization code; None where that is not set up.
    web_client_id: str | None
    #: Whether its grants are kept, to be revoked when the account is deleted.
    revokes_grants: bool

    async def verify(self, id_token: str, nonce: str, platform: str | None) -> VerifiedIdentity:
        """Verify an ID token for a client of a platform, of any where it is None; raise IdTokenInvalid.

        `nonce` is what the client has made, before any hashing.
        """

    async def build_authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Build the address at which the browser of `web_client_id` logs in, with the challenge of a PKCE verifier."""

    async def exchange_code(
        self, code: str, *, client_id: str, redirect_uri: str | None = None, verifier: str | None = None
    ) -> ExchangedCode:
        """Exchange a code, with the address and the verifier of a login in a browser; raise AuthorizationFailed."""

    async def revoke_grant(self, client_id: str, refresh_token: str) -> None:
        """End an authorization; a token that has ended already is no error."""

    async def close(self) -> None: ...


# --- Payments: requests to a provider, and the facts it reports ---------------------------------


@dataclass(frozen=True, slots=True)
class Purchase:
    """Contents of a checkout, all from the order's row, so that a repeat is the same request."""

    order_id: str
    user_id: str
    course_id: str
    title: str
    #: In the smallest unit of the currency.
    amount: int
    currency: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Checkout:
    """The provider's page on which a purchase is paid."""

    session_id: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CheckoutFact:
    """Status of a checkout. `order_id` is the id that we stored at the provider, if the fact has it.

    `session_id` is None for a payment that does not name its page; then there is an `order_id`.
    """

    session_id: str | None
    order_id: str | None
    payment_id: str | None
    #: `open`: still to be paid; `processing`: paid by a method that takes days.
    outcome: Literal["open", "processing", "paid", "failed", "expired"]
    amount: int
    currency: str
    #: Whether it is a purchase, not a subscription or a set-up.
    once: bool
    #: Whether it is real money; None if the provider does not report it.
    live: bool | None


@dataclass(frozen=True, slots=True)
class RefundFact:
    """Status of a refund. `our_id` is the id of its row; None for one made on the provider's pages."""

    refund_id: str
    payment_id: str
    our_id: str | None
    amount: int
    currency: str
    status: Literal["pending", "succeeded", "failed"]
    live: bool | None = None


@dataclass(frozen=True, slots=True)
class DisputeFact:
    """Status of a dispute; `won` is any end without loss."""

    dispute_id: str
    payment_id: str
    amount: int
    currency: str
    status: Literal["open", "won", "lost"]
    reason: str | None
    live: bool | None = None
    #: Whether it is a bank's inquiry, which has moved no money.
    inquiry: bool = False
    #: Whether the provider still gives the payment back on request.
    refundable: bool = False


Fact = CheckoutFact | RefundFact | DisputeFact


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """A webhook that the provider has signed. `fact` is None for a type without a fact about an order.

    It is None too if the event has an unexpected shape; `unreadable` names the part.
    """

    id: str
    type: str
    fact: Fact | None
    unreadable: str | None = None


class PaymentProvider(Protocol):
    """A payment provider. Its calls raise Unavailable (a retry may succeed) or PaymentRefused (it would not)."""

    #: Whether it is real money.
    live: bool

    async def create_checkout(self, purchase: Purchase) -> Checkout:
        """Create the page of a purchase; the same purchase twice is one page."""

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        """Verify and read a webhook from its raw bytes.

        Raises SignatureInvalid, and RequestInvalid for a body that is no event.
        """

    def read_event(self, body: bytes) -> ProviderEvent:
        """Read an event whose signature was checked; raise RequestInvalid for a body that is none."""

    async def refund(self, refund_id: str, payment_id: str, amount: int) -> RefundFact:
        """Refund a payment, or part of it; the same `refund_id` twice is one refund."""

    async def look_up(self, session_id: str) -> list[Fact]:
        """Return the facts about a checkout and its payment, the checkout first."""

    async def list_changes(self, since: datetime) -> list[RefundFact | DisputeFact]:
        """Return the refunds and disputes that were made since then, of all orders."""

    async def close(self) -> None: ...
