"""State of a Stripe account: sessions, intents, charges, refunds, disputes, and the events about them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

from devtools.stand_ins.ledger import Pace, Refused
from devtools.stand_ins.store import Json, Store, new_id
from devtools.stand_ins.stripe_objects import build_charge, build_intent
from devtools.stand_ins.stripe_params import StripeError, invalid
from devtools.stand_ins.webhooks import WebhookSender

_API_VERSION = "2026-10-28.endive"


class StripeAccount:
    """One Stripe account in test mode. Checkouts are Checkout Sessions."""

    name = "stripe"

    def __init__(
        self, store: Store, webhooks: WebhookSender, *, base: str, secret_key: str, webhook_secret: str, pace: Pace
    ) -> None:
        self.store, self._webhooks, self.base = store, webhooks, base
        self.secret_key, self.webhook_secret, self.pace = secret_key, webhook_secret, pace
        #: What objects say; a test sets it to see what a wrong mode does.
        self.livemode = False
        #: The API call that events name as their origin.
        self.request_id: str | None = None
        self._sessions = store.table("stripe.sessions")
        self._intents = store.table("stripe.intents")
        self._charges = store.table("stripe.charges")
        self._refunds = store.table("stripe.refunds")
        self._disputes = store.table("stripe.disputes")
        webhooks.register(self.name, self.sign)

    def sign(self, body: str, _event: str) -> dict[str, str]:
        """The headers of a webhook, signed now."""
        stamp = int(time.time())
        digest = hmac.new(self.webhook_secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={digest}", "User-Agent": "Stripe/1.0"}

    def _event(self, kind: str, subject: Json) -> None:
        shown = {name: value for name, value in subject.items() if name[0] != "_"}
        event: Json = {
            "id": new_id("evt_1"),
            "object": "event",
            "api_version": _API_VERSION,
            "created": self.store.now(),
            # A copy: the event holds the state of then.
            "data": {"object": json.loads(json.dumps(shown))},
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": self.request_id, "idempotency_key": None},
            "type": kind,
        }
        self.store.table("stripe.events")[event["id"]] = event
        self._webhooks.post(self.name, event["id"], kind, json.dumps(event, indent=2))

    def _session(self, checkout: str) -> Json:
        if checkout not in self._sessions:
            raise Refused(f"there is no session {checkout}")
        return self._sessions[checkout]

    def _complete(self, session: Json) -> None:
        email = session["customer_email"] or "learner@example.com"
        details = {"address": None, "email": email, "name": "A Learner", "phone": None, "tax_exempt": "none"}
        session.update(status="complete", url=None, customer_details={**details, "tax_ids": []})

    def _intent(self, session: Json) -> Json:
        if session["payment_intent"]:
            return self._intents[session["payment_intent"]]
        intent = build_intent(session, livemode=self.livemode, now=self.store.now())
        self._intents[intent["id"]] = intent
        session["payment_intent"] = intent["id"]
        self._event("payment_intent.created", intent)
        return intent

    def _charge(self, intent: Json, method: str) -> Json:
        charge = build_charge(intent, method, livemode=self.livemode, now=self.store.now())
        self._charges[charge["id"]] = charge
        intent.update(latest_charge=charge["id"], payment_method=charge["payment_method"])
        return charge

    def _succeed(self, intent: Json, charge: Json) -> None:
        charge.update(status="succeeded", paid=True, captured=True, amount_captured=charge["amount"])
        charge["balance_transaction"] = new_id("txn_3")
        intent.update(status="succeeded", amount_received=intent["amount"], last_payment_error=None)
        self._event("charge.succeeded", charge)
        self._event("payment_intent.succeeded", intent)

    def _fail(self, intent: Json, charge: Json) -> None:
        message = "Your card was declined."
        charge.update(status="failed", failure_code="card_declined", failure_message=message)
        error = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline", "message": message}
        intent.update(
            status="requires_payment_method",
            payment_method=None,
            last_payment_error={**error, "charge": charge["id"]},
        )
        self._event("charge.failed", charge)
        self._event("payment_intent.payment_failed", intent)

    def _paid_charge(self, checkout: str) -> Json:
        intent = self._intents.get(self._session(checkout)["payment_intent"] or "")
        if intent is None or intent["status"] != "succeeded":
            raise Refused(f"{checkout} is not paid")
        return self._charges[intent["latest_charge"]]

    def _charge_to_refund(self, params: Json) -> Json:
        if ("charge" in params) == ("payment_intent" in params):
            raise invalid("One of the following params should be provided: payment_intent or charge.", None)
        if "charge" in params:
            charge = self._charges.get(params["charge"])
            if charge is None:
                message = f"No such charge: '{params['charge']}'"
                raise StripeError(404, message, code="resource_missing", param="charge")
        else:
            intent = self._intents.get(params["payment_intent"])
            if intent is None:
                message = f"No such payment_intent: '{params['payment_intent']}'"
                raise StripeError(404, message, code="resource_missing", param="payment_intent")
            charge = self._charges.get(intent["latest_charge"] or "")
        if charge is None or charge["status"] != "succeeded":
            name = params.get("payment_intent") or params.get("charge")
            raise StripeError(400, f"This PaymentIntent ({name}) does not have a successful charge to refund.")
        return charge
