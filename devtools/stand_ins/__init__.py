"""Stand-ins of Stripe, Razorpay, Firebase, Google and Apple: HTTP APIs, pages and webhooks, for the real SDKs.

    with running() as stand_ins:
        environment |= stand_ins.environment          # what the product reads
        stand_ins.webhooks.url = "http://127.0.0.1:5503/payments/webhook"
        ...                                           # the product makes a checkout session
        stand_ins.stripe.pay(session_id)              # or drive the page at the session's url
        assert stand_ins.get_state(session_id).paid == 149_900

`stand_ins.issuers` are the identity providers (`devtools.stand_ins.issuers`, which run alone with `running_issuer`).
`python -m devtools.stand_ins` runs all of them apart; `parlance dev` does where no real keys are configured.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from devtools.stand_ins import fcm as fcm_module
from devtools.stand_ins import razorpay_objects, stripe_params
from devtools.stand_ins.control import Control
from devtools.stand_ins.faults import FaultInjector, Faults
from devtools.stand_ins.fcm import Fcm
from devtools.stand_ins.issuers import IssuerKeys, Issuers
from devtools.stand_ins.ledger import CheckoutState, Pace, Provider, Refused
from devtools.stand_ins.pages import Pages, find_provider
from devtools.stand_ins.razorpay import Razorpay
from devtools.stand_ins.razorpay_api import RazorpayApi
from devtools.stand_ins.serving import serving
from devtools.stand_ins.store import Store
from devtools.stand_ins.stripe import Stripe
from devtools.stand_ins.stripe_api import StripeApi
from devtools.stand_ins.webhooks import Delivery, WebhookSender

__all__ = ["CheckoutState", "Delivery", "Keys", "Pace", "Refused", "StandIns", "running"]

_SWEEP_SECONDS = 0.2


@dataclass(frozen=True)
class Keys:
    """The credentials of both accounts; random, so that nobody else can sign a webhook."""

    stripe_secret_key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(24)}")
    stripe_webhook_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(24)}")
    razorpay_key_id: str = field(default_factory=lambda: f"rzp_test_{secrets.token_hex(7)}")
    razorpay_key_secret: str = field(default_factory=lambda: secrets.token_hex(12))
    razorpay_webhook_secret: str = field(default_factory=lambda: secrets.token_hex(16))


class StandIns:
    """Both payment providers, their webhooks, Firebase, identity providers and all faults, served at `url`."""

    def __init__(
        self,
        url: str,
        *,
        webhook_url: str | None = None,
        path: Path | None = None,
        keys: Keys | None = None,
        issuer_keys: IssuerKeys | None = None,
        delivery: Delivery | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.url, self.keys, self.pace = url, keys or Keys(), pace or Pace()
        self.store = Store(path)
        self.webhooks = WebhookSender(self.store, webhook_url, delivery)
        self.faults = Faults()
        self.stripe = Stripe(
            self.store,
            self.webhooks,
            base=url,
            secret_key=self.keys.stripe_secret_key,
            webhook_secret=self.keys.stripe_webhook_secret,
            pace=self.pace,
        )
        self.razorpay = Razorpay(
            self.store,
            self.webhooks,
            base=url,
            key_id=self.keys.razorpay_key_id,
            key_secret=self.keys.razorpay_key_secret,
            webhook_secret=self.keys.razorpay_webhook_secret,
            pace=self.pace,
        )
        self.fcm = Fcm(url)
        self.issuers = Issuers(url, store=self.store, faults=self.faults, keys=issuer_keys)
        self._providers: dict[str, Provider] = {"stripe": self.stripe, "razorpay": self.razorpay}

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which the product finds the payment providers."""
        return {
            "STRIPE_SECRET_KEY": self.keys.stripe_secret_key,
            "STRIPE_WEBHOOK_SECRET": self.keys.stripe_webhook_secret,
            "STRIPE_API_URL": self.url,
            "RAZORPAY_KEY_ID": self.keys.razorpay_key_id,
            "RAZORPAY_KEY_SECRET": self.keys.razorpay_key_secret,
            "RAZORPAY_WEBHOOK_SECRET": self.keys.razorpay_webhook_secret,
            "RAZORPAY_API_URL": self.url,
        }

    def find_provider(self, checkout: str) -> Provider:
        """The provider that made a session or a link; raise Refused for neither."""
        found = find_provider(self._providers, checkout)
        if found is None:
            raise Refused(f"there is no checkout {checkout}")
        return found

    def get_state(self, checkout: str) -> CheckoutState:
        """What the provider thinks of one session or link."""
        return self.find_provider(checkout).get_state(checkout)

    def ledger(self) -> list[CheckoutState]:
        """What the providers think of every session and link, the oldest first."""
        return [each.get_state(checkout) for each in self._providers.values() for checkout in each.checkouts()]

    def advance(self, seconds: float) -> None:
        """Put the providers' clock forward; what became due happens now."""
        self.store.advance(seconds)
        self.sweep()

    def sweep(self) -> None:
        for each in self._providers.values():
            each.sweep()

    def app(self) -> Starlette:
        """The ASGI app: the APIs under /v1, the issuers, the pages, the control API."""
        stripe = FaultInjector(StripeApi(self.stripe).app(), self.faults, stripe_params.build_fault)
        razorpay = FaultInjector(RazorpayApi(self.razorpay).app(), self.faults, razorpay_objects.build_fault)
        pages, control = Pages(self._providers, self.webhooks, self.issuers), Control(self)
        fcm = FaultInjector(self.fcm.app(), self.faults, fcm_module.build_fault)
        apis = Mount("", _Apis(stripe, razorpay, fcm))
        routes = [*pages.routes(), *control.routes(), *self.issuers.routes(), apis]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.webhooks.run()), asyncio.create_task(self._sweep_for_ever())]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _sweep_for_ever(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(_SWEEP_SECONDS)


class _Apis:
    """The APIs at one address, which the settings want to be without a path.

    Where two have the path, Razorpay's SDK is the one that sends basic credentials.
    """

    def __init__(self, stripe: ASGIApp, razorpay: ASGIApp, fcm: ASGIApp) -> None:
        self._stripe, self._razorpay, self._fcm = stripe, razorpay, fcm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/token" or scope["path"].startswith("/v1/projects/"):
            await self._fcm(scope, receive, send)
            return
        noun = scope["path"].removeprefix("/v1/").partition("/")[0]
        basic = Headers(scope=scope).get("authorization", "").lower().startswith("basic ")
        of_razorpay = noun in ("payment_links", "payments") or (noun in ("refunds", "disputes") and basic)
        await (self._razorpay if of_razorpay else self._stripe)(scope, receive, send)


@contextmanager
def running(
    *,
    port: int = 0,
    webhook_url: str | None = None,
    path: Path | None = None,
    delivery: Delivery | None = None,
    pace: Pace | None = None,
) -> Iterator[StandIns]:
    """Serve the stand-ins on 127.0.0.1 from a thread of this process; any port where none is given."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stand_ins = StandIns(url, webhook_url=webhook_url, path=path, delivery=delivery, pace=pace)
        with serving(stand_ins.app(), listener):
            yield stand_ins
