"""Protocols of the outside world that services use; each is named by its role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from adapters.counting import Traffic

#: Takes the socket a message is for, then the message's arguments. One that answers None is done at once.
Handler = Callable[..., Awaitable[None] | None]


class Bus(Protocol):
    """Carries messages to the worker that holds a socket; those from one worker to another arrive once and in order."""

    worker_id: str

    def on(self, kind: str, handler: Handler) -> None:
        """Call `handler(socket, *arguments)` for each message of `kind` that is for a socket of this worker."""

    async def send(self, socket: str, kind: str, *arguments: object) -> None:
        """Hand a message on; raise Unavailable where it could not be. To an own socket: call the handler."""

    def post(self, socket: str, kind: str, *arguments: object) -> None:
        """Hand a message on at the end of this turn of the event loop.

        Raises Unavailable where it is known that it can't go: a dead worker, a full queue, Redis away.
        """

    def on_worker_lost(self, listener: Callable[[str], Awaitable[None]]) -> None:
        """Call `listener` with the id of a worker that died; in every worker, and perhaps more than once."""

    def on_data_lost(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Call `listener` when Redis has lost this worker's entries, or the others declared this worker dead."""

    def neighbours(self) -> list[str]:
        """The other workers of this host."""

    def traffic(self) -> Mapping[str, Traffic]:
        """What was sent to other workers, by the way it went."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in both its forms. `link` is the one thing the reader is asked to open."""

    to: str
    subject: str
    html: str
    text: str
    link: str


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Send an e-mail; the same key twice is one e-mail. Raises what keeps it from leaving."""


@dataclass(frozen=True, slots=True)
class Push:
    """What a device shows. The same `id` twice is shown once; after `lasts` it is not shown any more."""

    id: str
    title: str
    body: str
    #: For the app: texts by name.
    data: Mapping[str, str]
    lasts: timedelta


class PushSender(Protocol):
    """Wakes devices."""

    async def send(self, token: str, push: Push) -> Literal["sent", "unregistered", "refused"]:
        """Send a push; return whether FCM took it, the token is unregistered, or the push will never be taken.

        Raises Unavailable, with `retry_after` where FCM sent it.
        """

    async def close(self) -> None: ...


# --- Payments: requests to a provider, and the facts it reports ---------------------------------


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a learner is asked to pay. All of it comes from the order's row, so that a repeat is the same request."""

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
    """How a checkout went. `order_id` is what we had the provider note, where it says.

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
    #: Whether it is real money; None where the provider does not say.
    live: bool | None


@dataclass(frozen=True, slots=True)
class RefundFact:
    """Where a refund stands. `our_id` is the row's that asked for it; None for one made on the provider's pages."""

    refund_id: str
    payment_id: str
    our_id: str | None
    amount: int
    currency: str
    status: Literal["pending", "succeeded", "failed"]
    live: bool | None = None


@dataclass(frozen=True, slots=True)
class DisputeFact:
    """Where a dispute stands; `won` is any end without loss."""

    dispute_id: str
    payment_id: str
    amount: int
    currency: str
    status: Literal["open", "won", "lost"]
    reason: str | None
    live: bool | None = None
    #: Whether a bank merely asks about the payment, and has taken no money.
    inquiry: bool = False
    #: Whether the provider still gives the payment back on request.
    refundable: bool = False


Fact = CheckoutFact | RefundFact | DisputeFact


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """A webhook that the provider has signed. `fact` is None for a type that says nothing about an order.

    It is None too for what has another shape than the provider's events; `unreadable` says in which part.
    """

    id: str
    type: str
    fact: Fact | None
    unreadable: str | None = None


class PaymentProvider(Protocol):
    """Takes money and gives it back. Each call to it fails as Unavailable (try again) or PaymentRefused (do not)."""

    #: Whether it is real money.
    live: bool

    async def create_checkout(self, purchase: Purchase) -> Checkout:
        """Make the page of a purchase; the same purchase twice is one page."""

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        """Read what the provider sent, byte for byte.

        Raises SignatureInvalid where it did not send it, RequestInvalid where it is no event.
        """

    def read_event(self, body: bytes) -> ProviderEvent:
        """Read an event whose signature was checked; raise RequestInvalid where it is none."""

    async def refund(self, refund_id: str, payment_id: str, amount: int) -> RefundFact:
        """Give back part of a payment, or all; the same `refund_id` twice is one refund."""

    async def look_up(self, session_id: str) -> list[Fact]:
        """Return all that is known of a checkout and its payment, the checkout first."""

    async def list_changes(self, since: datetime) -> list[RefundFact | DisputeFact]:
        """Return the refunds and disputes that were made since then, of all orders."""

    async def close(self) -> None: ...
