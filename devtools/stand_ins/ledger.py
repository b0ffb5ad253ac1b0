"""Common parts of both payment providers: a checkout, its state, and its actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

CheckoutStatus = Literal["open", "processing", "paid", "failed", "expired", "cancelled"]


class Refused(Exception):
    """What was asked of a checkout cannot be done in its state."""


@dataclass(frozen=True)
class CheckoutState:
    """What the provider thinks of one checkout. Amounts are in the smallest unit of the currency."""

    provider: str
    id: str
    url: str
    description: str
    #: Stripe's `client_reference_id`, Razorpay's `reference_id`.
    reference: str | None
    amount: int
    currency: str
    status: CheckoutStatus
    payment: str | None = None
    paid: int = 0
    refunded: int = 0
    refunds_pending: int = 0
    dispute: Literal["inquiry", "open", "won", "lost"] | None = None
    #: Whether the last dispute never was more than an inquiry.
    inquiry_only: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """A payment provider as its customers, banks and clock act on it."""

    name: str

    def checkouts(self) -> list[str]: ...
    def get_state(self, checkout: str) -> CheckoutState: ...
    def pay(self, checkout: str) -> None: ...
    def decline(self, checkout: str) -> None: ...
    def pay_later(self, checkout: str) -> None: ...
    def settle(self, checkout: str, *, succeeded: bool = True) -> None: ...
    def expire(self, checkout: str) -> None: ...
    def refund(self, checkout: str, amount: int | None = None) -> str: ...
    def settle_refunds(self, checkout: str, *, succeeded: bool = True) -> None: ...
    def dispute(self, checkout: str) -> str: ...
    def inquire(self, checkout: str) -> str: ...
    def escalate(self, checkout: str) -> None: ...
    def resolve_dispute(self, checkout: str, *, won: bool) -> None: ...
    def alter(self, checkout: str, **fields: Any) -> None: ...
    def sweep(self) -> None: ...
    def return_url(self, checkout: str) -> str | None: ...
    def cancel_url(self, checkout: str) -> str | None: ...


#: What the pages' buttons and the control API may do, by name.
ACTIONS: dict[str, Callable[[Provider, str], object]] = {
    "pay": lambda provider, checkout: provider.pay(checkout),
    "decline": lambda provider, checkout: provider.decline(checkout),
    "later": lambda provider, checkout: provider.pay_later(checkout),
    "settle": lambda provider, checkout: provider.settle(checkout),
    "fail": lambda provider, checkout: provider.settle(checkout, succeeded=False),
    "expire": lambda provider, checkout: provider.expire(checkout),
    "refund": lambda provider, checkout: provider.refund(checkout),
    "settle-refunds": lambda provider, checkout: provider.settle_refunds(checkout),
    "fail-refunds": lambda provider, checkout: provider.settle_refunds(checkout, succeeded=False),
    "dispute": lambda provider, checkout: provider.dispute(checkout),
    "inquire": lambda provider, checkout: provider.inquire(checkout),
    "escalate": lambda provider, checkout: provider.escalate(checkout),
    "win": lambda provider, checkout: provider.resolve_dispute(checkout, won=True),
    "lose": lambda provider, checkout: provider.resolve_dispute(checkout, won=False),
}


@dataclass
class Pace:
    """How long what is not immediate takes, in seconds; None waits until it is asked for."""

    delayed_payment: float | None = None
    #: 0: a refund succeeds in the call that makes it.
    refund: float | None = 0


def money(amount: int, currency: str) -> str:
    """An amount as a person reads it: `1,499.00 INR`."""
    if currency.lower() in ("jpy", "krw", "vnd", "clp", "isk", "ugx", "xaf", "xof", "pyg", "rwf"):
        return f"{amount:,} {currency.upper()}"
    return f"{amount / 100:,.2f} {currency.upper()}"
