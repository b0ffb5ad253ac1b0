"""Owns what Stripe does with a one-off payment: sessions, intents, charges, refunds, disputes, and their events."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any, Literal
from urllib.parse import urlsplit

from devtools.stand_ins.ledger import CheckoutStatus, Pace, Refused, Standing, money
from devtools.stand_ins.store import Json, Store, new_id
from devtools.stand_ins.webhooks import Courier

_API_VERSION = "2026-10-28.endive"
_SESSION_PARAMS = {
    "mode", "line_items", "success_url", "cancel_url", "client_reference_id", "customer_email", "metadata",
    "payment_intent_data", "payment_method_types", "expires_at", "locale", "submit_type", "customer_creation",
}  # fmt: skip
_REFUND_PARAMS = {"charge", "payment_intent", "amount", "reason", "metadata"}
_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


_DISPUTES: dict[str, Literal["inquiry", "won", "lost"]] = {
    "warning_needs_response": "inquiry",
    "warning_closed": "won",
    "won": "won",
    "lost": "lost",
}


class StripeError(Exception):
    """An error as the API answers it. One of `validation` is not kept for a repeated idempotency key."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        validation: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.validation = validation

    def body(self, request_id: str) -> Json:
        error = {"message": self.message, "type": self.kind, "code": self.code, "param": self.param}
        told = {name: value for name, value in error.items() if value is not None}
        return {"error": {**told, "request_log_url": f"https://dashboard.stripe.com/test/logs/{request_id}"}}


def fault(status: int) -> Json:
    """The body of an error that is Stripe's own fault, or of a limit."""
    if status == 429:
        limited = "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits."
        return StripeError(429, limited, code="rate_limit").body("req_limited")
    if status == 409:
        busy = "There is currently another in-progress request using this Idempotent Key."
        return StripeError(409, busy, kind="idempotency_error", code="idempotency_key_in_use").body("req_busy")
    sorry = "An unknown error occurred. Please try again."
    return StripeError(status, sorry, kind="api_error").body("req_failed")


class Stripe:
    """One Stripe account in test mode. Checkouts are Checkout Sessions."""

    name = "stripe"

    def __init__(
        self, store: Store, courier: Courier, *, base: str, secret_key: str, webhook_secret: str, pace: Pace
    ) -> None:
        self.store, self._courier, self.base = store, courier, base
        self.secret_key, self.webhook_secret, self.pace = secret_key, webhook_secret, pace
        #: What objects say; a test sets it to see what a wrong mode does.
        self.livemode = False
        #: The API call that events are told to come from.
        self.request_id: str | None = None
        self._sessions = store.table("stripe.sessions")
        self._intents = store.table("stripe.intents")
        self._charges = store.table("stripe.charges")
        self._refunds = store.table("stripe.refunds")
        self._disputes = store.table("stripe.disputes")
        courier.register(self.name, self.sign)

    def sign(self, body: str, _event: str) -> dict[str, str]:
        """The headers of a webhook, signed now."""
        stamp = int(time.time())
        digest = hmac.new(self.webhook_secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={digest}", "User-Agent": "Stripe/1.0"}

    # What the API does

    def create_session(self, params: Json) -> Json:
        """Make an open session; raise StripeError where Stripe would refuse it."""
        _known(params, _SESSION_PARAMS)
        if _required(params, "mode") != "payment":
            raise _invalid("Invalid mode: must be one of payment", "mode")
        items = [self._line_item(item, index) for index, item in enumerate(_required(params, "line_items"))]
        currencies = {item["currency"] for item in items}
        if len(currencies) != 1:
            raise _invalid("All line items must have the same currency.", "line_items")
        currency, total = currencies.pop(), sum(item["amount_total"] for item in items)
        if total < 50:
            least = "The Checkout Session's total amount must convert to at least 50 cents."
            raise StripeError(400, least, code="amount_too_small", validation=True)
        for name in ("success_url", "cancel_url"):
            if (name in params or name == "success_url") and not urlsplit(_required(params, name)).scheme:
                raise StripeError(400, "Not a valid URL", code="url_invalid", param=name, validation=True)
        reference = params.get("client_reference_id")
        if reference is not None and not 1 <= len(reference) <= 200:
            raise _invalid("Invalid string: must be 1 to 200 characters", "client_reference_id")
        now = self.store.now()
        expires = _integer(params, "expires_at") if "expires_at" in params else now + 24 * 3600
        # A minute's grace: the caller's clock and this one are not the same.
        if not now + 30 * 60 - 60 <= expires <= now + 24 * 3600 + 60:
            bounds = (
                "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
            )
            raise _invalid(bounds, "expires_at")
        intent_data = params.get("payment_intent_data", {})
        key = new_id("cs_live_" if self.livemode else "cs_test_", 58)
        session = {
            "id": key,
            "object": "checkout.session",
            "amount_subtotal": total,
            "amount_total": total,
            "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
            "billing_address_collection": None,
            "cancel_url": params.get("cancel_url"),
            "client_reference_id": reference,
            "client_secret": None,
            "created": now,
            "currency": currency,
            "custom_fields": [],
            "customer": None,
            "customer_creation": "if_required",
            "customer_details": None,
            "customer_email": params.get("customer_email"),
            "expires_at": expires,
            "invoice": None,
            "livemode": self.livemode,
            "locale": params.get("locale"),
            "metadata": _metadata(params, "metadata"),
            "mode": "payment",
            "payment_intent": None,
            "payment_link": None,
            "payment_method_types": params.get("payment_method_types", ["card"]),
            "payment_status": "unpaid",
            "recovered_from": None,
            "setup_intent": None,
            "shipping_options": [],
            "status": "open",
            "submit_type": params.get("submit_type"),
            "subscription": None,
            "success_url": params["success_url"],
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted_page",
            "url": f"{self.base}/pay/{key}",
            "_line_items": items,
            "_intent": {
                "metadata": _metadata(intent_data, "metadata"),
                "description": intent_data.get("description"),
                "receipt_email": intent_data.get("receipt_email"),
            },
        }
        with self.store.change():
            self._sessions[key] = session
        return session

    def create_refund(self, params: Json) -> Json:
        """Give money back; raise StripeError where there is none, or not so much."""
        _known(params, _REFUND_PARAMS)
        charge = self._charge_to_refund(params)
        reason = params.get("reason")
        if reason is not None and reason not in _REASONS:
            raise _invalid(f"Invalid reason: must be one of {', '.join(_REASONS)}", "reason")
        left = charge["amount"] - charge["amount_refunded"]
        if any(
            dispute["charge"] == charge["id"] and dispute["status"] in ("needs_response", "under_review", "lost")
            for dispute in self._disputes.values()
        ):
            raise StripeError(
                400, f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
            )
        if left == 0:
            raise StripeError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
        amount = _integer(params, "amount") if "amount" in params else left
        if amount < 1:
            raise StripeError(
                400, "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount",
                validation=True,
            )  # fmt: skip
        if amount > left:
            currency = charge["currency"]
            raise StripeError(
                400,
                f"Refund amount ({money(amount, currency)}) is greater than unrefunded amount on charge "
                f"({money(left, currency)})",
                param="amount",
            )
        pending = self.pace.refund != 0
        refund = {
            "id": new_id("re_3"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": new_id("txn_3"),
            "charge": charge["id"],
            "created": self.store.now(),
            "currency": charge["currency"],
            "metadata": _metadata(params, "metadata"),
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "receipt_number": None,
            "status": "pending" if pending else "succeeded",
            "_settles": self.store.now() + self.pace.refund if pending and self.pace.refund is not None else None,
        }
        with self.store.change():
            self._refunds[refund["id"]] = refund
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            self._event("refund.created", refund)
            self._event("charge.refunded", charge)
            if not pending:
                # Stripe tells of a card refund's reference in an update soon after.
                self._event("refund.updated", refund)
        return refund

    # What customers, banks and the clock do

    def checkouts(self) -> list[str]:
        with self.store.lock:
            return list(self._sessions)

    def pay(self, checkout: str) -> None:
        """Pay by a card that is good."""
        with self.store.change():
            session = self._payable(checkout)
            intent = self._intent(session)
            self._complete(session)
            self._succeed(intent, self._charge(intent, "card"))
            session["payment_status"] = "paid"
            self._event("checkout.session.completed", session)

    def decline(self, checkout: str) -> None:
        """Try a card that is declined: the session stays open."""
        with self.store.change():
            session = self._payable(checkout)
            intent = self._intent(session)
            self._fail(intent, self._charge(intent, "card"))

    def pay_later(self, checkout: str) -> None:
        """Pay by a method whose money comes, or doesn't, later."""
        with self.store.change():
            session = self._payable(checkout)
            intent = self._intent(session)
            charge = self._charge(intent, "sepa_debit")
            self._complete(session)
            intent["status"] = "processing"
            session["_settles"] = _later(self.store, self.pace.delayed_payment)
            self._event("charge.pending", charge)
            self._event("payment_intent.processing", intent)
            self._event("checkout.session.completed", session)

    def settle(self, checkout: str, *, succeeded: bool = True) -> None:
        """Decide a delayed payment."""
        with self.store.change():
            session = self._session(checkout)
            intent = self._intents.get(session["payment_intent"] or "")
            if intent is None or intent["status"] != "processing":
                raise Refused(f"nothing is being processed for {checkout}")
            charge = self._charges[intent["latest_charge"]]
            session["_settles"] = None
            if succeeded:
                self._succeed(intent, charge)
                session["payment_status"] = "paid"
                self._event("checkout.session.async_payment_succeeded", session)
            else:
                self._fail(intent, charge)
                self._event("checkout.session.async_payment_failed", session)

    def expire(self, checkout: str) -> None:
        with self.store.change():
            session = self._session(checkout)
            if session["status"] != "open":
                raise Refused(f"{checkout} is not open")
            session.update(status="expired", url=None)
            self._event("checkout.session.expired", session)

    def refund(self, checkout: str, amount: int | None = None) -> str:
        """Refund from the dashboard; answer the refund's id."""
        with self.store.change():
            intent = self._session(checkout)["payment_intent"]
            if intent is None:
                raise Refused(f"{checkout} is not paid")
            try:
                params = {"payment_intent": intent} | ({} if amount is None else {"amount": str(amount)})
                return str(self.create_refund(params)["id"])
            except StripeError as error:
                raise Refused(error.message) from None

    def settle_refunds(self, checkout: str, *, succeeded: bool = True) -> None:
        """Decide the pending refunds of a session."""
        with self.store.change():
            intent = self._session(checkout)["payment_intent"]
            pending = [row for row in self._refunds.values() if row["payment_intent"] == intent]
            for refund in [row for row in pending if row["status"] == "pending"]:
                self.settle_refund(refund["id"], succeeded=succeeded)

    def settle_refund(self, refund_id: str, *, succeeded: bool = True) -> None:
        """Decide one refund. One that had succeeded can still fail, as a closed bank account makes it."""
        with self.store.change():
            refund = self._refunds[refund_id]
            charge = self._charges[refund["charge"]]
            refund.update(status="succeeded" if succeeded else "failed", _settles=None)
            if not succeeded:
                refund.update(failure_reason="expired_or_canceled_card", failure_balance_transaction=new_id("txn_3"))
                charge["amount_refunded"] -= refund["amount"]
                charge["refunded"] = False
            self._event("refund.updated", refund)
            self._event("charge.refund.updated", refund)
            if not succeeded:
                self._event("refund.failed", refund)

    def dispute(self, checkout: str) -> str:
        """Charge the whole payment back; answer the dispute's id."""
        return self._dispute(checkout, inquiry=False)

    def inquire(self, checkout: str) -> str:
        """Have the bank ask about the payment, and take no money; answer the dispute's id."""
        return self._dispute(checkout, inquiry=True)

    def escalate(self, checkout: str) -> None:
        """Make a dispute of an inquiry."""
        with self.store.change():
            dispute = self._undecided(checkout)
            if dispute["status"] != "warning_needs_response":
                raise Refused(f"{checkout} has no open inquiry")
            dispute.update(status="needs_response", is_charge_refundable=False)
            self._event("charge.dispute.updated", dispute)
            self._event("charge.dispute.funds_withdrawn", dispute)

    def _dispute(self, checkout: str, *, inquiry: bool) -> str:
        with self.store.change():
            charge = self._paid_charge(checkout)
            if charge["disputed"]:
                raise Refused(f"{charge['id']} is disputed already")
            now = self.store.now()
            dispute = {
                "id": new_id("du_1"),
                "object": "dispute",
                "amount": charge["amount"],
                "balance_transactions": [],
                "charge": charge["id"],
                "created": now,
                "currency": charge["currency"],
                "enhanced_eligibility_types": [],
                "evidence": {},
                "evidence_details": {
                    "due_by": now + 7 * 86400,
                    "has_evidence": False,
                    "past_due": False,
                    "submission_count": 0,
                },
                "is_charge_refundable": inquiry,
                "livemode": self.livemode,
                "metadata": {},
                "payment_intent": charge["payment_intent"],
                "reason": "fraudulent",
                "status": "warning_needs_response" if inquiry else "needs_response",
            }
            self._disputes[dispute["id"]] = dispute
            charge["disputed"] = True
            self._event("charge.dispute.created", dispute)
            if not inquiry:
                self._event("charge.dispute.funds_withdrawn", dispute)
            return str(dispute["id"])

    def resolve_dispute(self, checkout: str, *, won: bool) -> None:
        """Close a dispute. An inquiry is closed without an outcome; only what it becomes can be lost."""
        with self.store.change():
            self.close_dispute(self._undecided(checkout), won=won)

    def _undecided(self, checkout: str) -> Json:
        intent = self._session(checkout)["payment_intent"]
        for dispute in self._disputes.values():
            if dispute["payment_intent"] == intent and dispute["status"] not in ("won", "lost", "warning_closed"):
                return dispute
        raise Refused(f"{checkout} has no open dispute")

    def close_dispute(self, dispute: Json, *, won: bool) -> None:
        with self.store.change():
            inquiry = dispute["status"] == "warning_needs_response"
            if inquiry and not won:
                raise Refused("an inquiry cannot be lost")
            dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
            self._event("charge.dispute.closed", dispute)
            if won and not inquiry:
                self._event("charge.dispute.funds_reinstated", dispute)

    def alter(self, checkout: str, **fields: Any) -> None:
        """Change what the session says, as if Stripe were wrong: `amount_total=1`."""
        with self.store.change():
            self._session(checkout).update(fields)

    def sweep(self) -> None:
        """Do what has become due by the clock."""
        now = self.store.now()
        with self.store.lock:
            sessions, refunds = list(self._sessions.values()), list(self._refunds.values())
        for session in sessions:
            if session["status"] == "open" and session["expires_at"] <= now:
                self.expire(session["id"])
            elif (session.get("_settles") or now + 1) <= now:
                self.settle(session["id"])
        for refund in refunds:
            if (refund["_settles"] or now + 1) <= now:
                self.settle_refund(refund["id"])

    def return_url(self, checkout: str) -> str:
        return str(self._session(checkout)["success_url"]).replace("{CHECKOUT_SESSION_ID}", checkout)

    def cancel_url(self, checkout: str) -> str | None:
        url = self._session(checkout)["cancel_url"]
        return None if url is None else str(url).replace("{CHECKOUT_SESSION_ID}", checkout)

    def standing(self, checkout: str) -> Standing:
        with self.store.lock:
            session = self._session(checkout)
            intent = self._intents.get(session["payment_intent"] or "", {})
            refunds = [row for row in self._refunds.values() if row["payment_intent"] == intent.get("id")]
            disputes = [row for row in self._disputes.values() if row["payment_intent"] == intent.get("id")]
            outcome = disputes[-1]["status"] if disputes else None
            return Standing(
                provider=self.name,
                id=checkout,
                url=f"{self.base}/pay/{checkout}",
                description=", ".join(item["description"] for item in session["_line_items"]),
                reference=session["client_reference_id"],
                amount=session["amount_total"],
                currency=session["currency"],
                status=_status(session, intent),
                payment=intent.get("id"),
                paid=intent.get("amount_received", 0),
                refunded=sum(row["amount"] for row in refunds if row["status"] == "succeeded"),
                refunds_pending=sum(row["amount"] for row in refunds if row["status"] == "pending"),
                dispute=_DISPUTES.get(outcome, "open") if outcome else None,
                inquiry_only=outcome in ("warning_needs_response", "warning_closed"),
                metadata=dict(session["metadata"]),
            )

    # Parts

    def _event(self, kind: str, subject: Json) -> None:
        shown = {name: value for name, value in subject.items() if name[0] != "_"}
        event: Json = {
            "id": new_id("evt_1"),
            "object": "event",
            "api_version": _API_VERSION,
            "created": self.store.now(),
            # A copy: the event tells how it was then.
            "data": {"object": json.loads(json.dumps(shown))},
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": self.request_id, "idempotency_key": None},
            "type": kind,
        }
        self.store.table("stripe.events")[event["id"]] = event
        self._courier.post(self.name, event["id"], kind, json.dumps(event, indent=2))

    def _session(self, checkout: str) -> Json:
        if checkout not in self._sessions:
            raise Refused(f"there is no session {checkout}")
        return self._sessions[checkout]

    def _payable(self, checkout: str) -> Json:
        session = self._session(checkout)
        if session["status"] == "open" and session["expires_at"] <= self.store.now():
            self.expire(checkout)
        if session["status"] != "open":
            raise Refused(f"this session is {session['status']}")
        return session

    def _complete(self, session: Json) -> None:
        email = session["customer_email"] or "learner@example.com"
        details = {"address": None, "email": email, "name": "A Learner", "phone": None, "tax_exempt": "none"}
        session.update(status="complete", url=None, customer_details={**details, "tax_ids": []})

    def _intent(self, session: Json) -> Json:
        if session["payment_intent"]:
            return self._intents[session["payment_intent"]]
        intent = {
            "id": new_id("pi_3"),
            "object": "payment_intent",
            "amount": session["amount_total"],
            "amount_capturable": 0,
            "amount_received": 0,
            "canceled_at": None,
            "capture_method": "automatic_async",
            "confirmation_method": "automatic",
            "created": self.store.now(),
            "currency": session["currency"],
            "customer": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": self.livemode,
            "next_action": None,
            "payment_method": None,
            "payment_method_types": session["payment_method_types"],
            "status": "requires_payment_method",
            **session["_intent"],
        }
        self._intents[intent["id"]] = intent
        session["payment_intent"] = intent["id"]
        self._event("payment_intent.created", intent)
        return intent

    def _charge(self, intent: Json, method: str) -> Json:
        charge = {
            "id": new_id("ch_3"),
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0,
            "amount_refunded": 0,
            "balance_transaction": None,
            "captured": False,
            "created": self.store.now(),
            "currency": intent["currency"],
            "customer": None,
            "description": intent["description"],
            "disputed": False,
            "failure_code": None,
            "failure_message": None,
            "livemode": self.livemode,
            "metadata": dict(intent["metadata"]),
            "paid": False,
            "payment_intent": intent["id"],
            "payment_method": new_id("pm_1"),
            "payment_method_details": {"type": method, method: {"last4": "4242"}},
            "receipt_email": intent["receipt_email"],
            "refunded": False,
            "status": "pending",
        }
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
            raise _invalid("One of the following params should be provided: payment_intent or charge.", None)
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

    def _line_item(self, item: Json, index: int) -> Json:
        where = f"line_items[{index}]"
        price = _required(item, "price_data", where)
        amount, quantity = _integer(price, "unit_amount", where + "[price_data]"), _integer(item, "quantity", where)
        if amount < 0 or quantity < 1:
            raise _invalid("This value must be greater than or equal to 1.", where)
        product = _required(price, "product_data", where + "[price_data]")
        name = _required(product, "name", where + "[price_data][product_data]")
        currency = str(_required(price, "currency", where + "[price_data]")).lower()
        if len(currency) != 3 or not currency.isalpha():
            raise _invalid(f"Invalid currency: {currency}.", where + "[price_data][currency]")
        return {
            "id": new_id("li_1"),
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": amount * quantity,
            "amount_tax": 0,
            "amount_total": amount * quantity,
            "currency": currency,
            "description": name,
            "price": {"id": new_id("price_1"), "object": "price", "currency": currency, "unit_amount": amount},
            "quantity": quantity,
        }


def _status(session: Json, intent: Json) -> CheckoutStatus:
    if session["status"] in ("open", "expired"):
        return "open" if session["status"] == "open" else "expired"
    if session["payment_status"] == "paid":
        return "paid"
    return "processing" if intent.get("status") == "processing" else "failed"


def _later(store: Store, seconds: float | None) -> float | None:
    return None if seconds is None else store.now() + seconds


def _invalid(message: str, param: str | None) -> StripeError:
    return StripeError(400, message, param=param, validation=True)


def _known(params: Json, names: set[str]) -> None:
    for name in params:
        if name not in names:
            raise StripeError(
                400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name, validation=True
            )


def _required(params: Json, name: str, where: str = "") -> Any:
    param = f"{where}[{name}]" if where else name
    if not params.get(name):
        message = f"Missing required param: {param}."
        raise StripeError(400, message, code="parameter_missing", param=param, validation=True)
    return params[name]


def _integer(params: Json, name: str, where: str = "") -> int:
    value = _required(params, name, where)
    try:
        return int(value)
    except (TypeError, ValueError):
        param = f"{where}[{name}]" if where else name
        raise StripeError(
            400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=param, validation=True
        ) from None


def _metadata(params: Json, name: str) -> dict[str, str]:
    found = params.get(name) or {}
    if not isinstance(found, dict) or len(found) > 50:
        raise _invalid("Metadata can have up to 50 keys.", name)
    for key, value in found.items():
        if len(key) > 40 or len(value) > 500:
            raise _invalid("Metadata keys have up to 40 characters and values up to 500.", f"{name}[{key}]")
    return dict(found)
