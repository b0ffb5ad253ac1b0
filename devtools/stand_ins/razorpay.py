"""Owns what Razorpay does with a payment link: orders, payments, refunds, disputes, and their events."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from devtools.stand_ins.ledger import CheckoutStatus, Pace, Refused, Standing
from devtools.stand_ins.store import Json, Store, new_id
from devtools.stand_ins.webhooks import Courier

_MISSING = "The id provided does not exist"
_STATUSES: dict[str, CheckoutStatus] = {
    "created": "open",
    "paid": "paid",
    "expired": "expired",
    "cancelled": "cancelled",
}


class RazorpayError(Exception):
    """An error as the API answers it."""

    def __init__(
        self, description: str, *, field: str | None = None, status: int = 400, code: str = "BAD_REQUEST_ERROR"
    ) -> None:
        super().__init__(description)
        self.description, self.field, self.status, self.code = description, field, status, code

    def body(self) -> Json:
        error: Json = {"code": self.code, "description": self.description, "source": "business"}
        error |= {"step": "payment_initiation", "reason": "input_validation_failed", "metadata": {}}
        if self.field:
            error["field"] = self.field
        return {"error": error}


def fault(status: int) -> Json:
    """The body of an error that is Razorpay's own fault, or of a limit."""
    if status == 429:
        return RazorpayError("Request failed. Please try after sometime.").body()
    if status < 500:
        return RazorpayError("The request could not be processed.").body()
    sorry = "We are facing some trouble completing your request at the moment. Please try again shortly."
    return RazorpayError(sorry, code="SERVER_ERROR").body()


class Razorpay:
    """One Razorpay account in test mode. Checkouts are Payment Links."""

    name = "razorpay"

    def __init__(
        self,
        store: Store,
        courier: Courier,
        *,
        base: str,
        key_id: str,
        key_secret: str,
        webhook_secret: str,
        pace: Pace,
    ) -> None:
        self.store, self._courier, self.base = store, courier, base
        self.key_id, self.key_secret, self.webhook_secret, self.pace = key_id, key_secret, webhook_secret, pace
        self._links = store.table("razorpay.links")
        self._orders = store.table("razorpay.orders")
        self._payments = store.table("razorpay.payments")
        self._refunds = store.table("razorpay.refunds")
        self._disputes = store.table("razorpay.disputes")
        courier.register(self.name, self.sign)

    def sign(self, body: str, event: str) -> dict[str, str]:
        """The headers of a webhook."""
        digest = hmac.new(self.webhook_secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        return {"X-Razorpay-Signature": digest, "x-razorpay-event-id": event, "User-Agent": "Razorpay-Webhook/v1"}

    # What the API does

    def create_link(self, body: Json) -> Json:
        """Make a link; raise RazorpayError where Razorpay would refuse it."""
        amount = _amount(body.get("amount"), required=True)
        currency = body.get("currency", "INR")
        if not (isinstance(currency, str) and len(currency) == 3 and currency.isupper()):
            raise RazorpayError("The currency should be a 3 letter ISO code in upper case.", field="currency")
        now = self.store.now()
        expire_by = body.get("expire_by") or 0
        if expire_by and not now + 15 * 60 - 60 <= expire_by <= now + 183 * 86400:
            earliest = "expire_by should be at least 15 minutes and at most 6 months after current time."
            raise RazorpayError(earliest, field="expire_by")
        reference = body.get("reference_id") or ""
        if len(reference) > 40:
            raise RazorpayError("The reference id may not be greater than 40 characters.", field="reference_id")
        if reference and any(
            link["reference_id"] == reference and link["status"] == "created" for link in self._links.values()
        ):
            taken = f"payment link with given reference_id ({reference}) already exists"
            raise RazorpayError(taken, field="reference_id")
        callback = body.get("callback_url") or ""
        if callback and (urlsplit(callback).scheme not in ("http", "https") or body.get("callback_method") != "get"):
            raise RazorpayError("callback_method should be get and callback_url a valid URL.", field="callback_url")
        key = new_id("plink_", 14)
        link: Json = {
            "accept_partial": False,
            "amount": amount,
            "amount_paid": 0,
            "callback_method": body.get("callback_method") or "",
            "callback_url": callback,
            "cancelled_at": 0,
            "created_at": now,
            "currency": currency,
            "customer": body.get("customer") or {},
            "description": body.get("description") or "",
            "expire_by": expire_by,
            "expired_at": 0,
            "first_min_partial_amount": 0,
            "id": key,
            "notes": _notes(body),
            "notify": {"email": False, "sms": False, "whatsapp": False} | (body.get("notify") or {}),
            "order_id": None,
            "payments": None,
            "reference_id": reference,
            "reminder_enable": bool(body.get("reminder_enable", False)),
            "reminders": [],
            "short_url": f"{self.base}/pay/{key}",
            "status": "created",
            "updated_at": now,
            "upi_link": False,
            "user_id": "",
        }
        with self.store.change():
            self._links[key] = link
        return link

    def cancel_link(self, key: str) -> Json:
        link = self._find(self._links, key)
        if link["status"] != "created":
            raise RazorpayError(f"Payment Link cannot be cancelled as it is already {link['status']}.")
        with self.store.change():
            link.update(status="cancelled", cancelled_at=self.store.now(), updated_at=self.store.now())
            self._event("payment_link.cancelled", payment_link=link)
        return link

    def create_refund(self, payment_id: str, body: Json) -> Json:
        """Give money back at normal speed; raise RazorpayError where there is none, or not so much."""
        payment = self._find(self._payments, payment_id)
        if payment["status"] == "refunded":
            raise RazorpayError("The payment has been fully refunded already")
        if not payment["captured"]:
            raise RazorpayError("The payment status should be captured for action to be taken")
        disputes = [row for row in self._disputes.values() if row["payment_id"] == payment_id]
        if any(row["status"] in ("open", "under_review", "lost") for row in disputes):
            raise RazorpayError("Refund is not allowed as a dispute is raised on the payment")
        left = payment["amount"] - payment["amount_refunded"]
        amount = _amount(body.get("amount")) if body.get("amount") is not None else left
        if amount > left:
            raise RazorpayError("The total refund amount is greater than the refund payment amount", field="amount")
        pending = self.pace.refund != 0
        refund = {
            "id": new_id("rfnd_", 14),
            "entity": "refund",
            "amount": amount,
            "currency": payment["currency"],
            "payment_id": payment_id,
            "notes": _notes(body),
            "receipt": body.get("receipt"),
            "acquirer_data": {"arn": None},
            "created_at": self.store.now(),
            "batch_id": None,
            "status": "pending" if pending else "processed",
            "speed_processed": "normal",
            "speed_requested": body.get("speed", "normal"),
            "_settles": self.store.now() + self.pace.refund if pending and self.pace.refund is not None else None,
        }
        with self.store.change():
            self._refunds[refund["id"]] = refund
            self._count_refund(payment, amount)
            self._event("refund.created", refund=refund, payment=payment)
            if not pending:
                self._event("refund.processed", refund=refund, payment=payment)
        return refund

    def accept_dispute(self, key: str) -> Json:
        dispute = self._find(self._disputes, key)
        if dispute["status"] != "open":
            raise RazorpayError("Action not allowed: the dispute is not open")
        self._close(dispute, "lost")
        return dispute

    def contest_dispute(self, key: str, body: Json) -> Json:
        dispute = self._find(self._disputes, key)
        if dispute["status"] != "open":
            raise RazorpayError("Action not allowed: the dispute is not open")
        with self.store.change():
            dispute["evidence"] |= {name: value for name, value in body.items() if name != "action"}
            if body.get("action") == "submit":
                dispute["status"] = "under_review"
                payment = self._payments[dispute["payment_id"]]
                self._event("payment.dispute.under_review", payment=payment, dispute=dispute)
        return dispute

    # What customers, banks and the clock do

    def checkouts(self) -> list[str]:
        with self.store.lock:
            return list(self._links)

    def pay(self, checkout: str) -> None:
        """Pay by a card that is good."""
        with self.store.change():
            self._capture(self._payment(self._payable(checkout), "card"))

    def decline(self, checkout: str) -> None:
        """Try a card that is declined: the link stays open."""
        with self.store.change():
            self._decline(self._payment(self._payable(checkout), "card"))

    def pay_later(self, checkout: str) -> None:
        """Pay by a bank whose word comes, or doesn't, later: the link stays open meanwhile."""
        with self.store.change():
            payment = self._payment(self._payable(checkout), "netbanking")
            seconds = self.pace.delayed_payment
            payment["_settles"] = None if seconds is None else self.store.now() + seconds

    def settle(self, checkout: str, *, succeeded: bool = True) -> None:
        """Decide a delayed payment."""
        with self.store.change():
            payment = self._latest(checkout, "created")
            if payment is None:
                raise Refused(f"nothing is being processed for {checkout}")
            if succeeded:
                self._capture(payment)
            else:
                self._decline(payment)

    def expire(self, checkout: str) -> None:
        with self.store.change():
            link = self._link(checkout)
            if link["status"] != "created":
                raise Refused(f"{checkout} is not open")
            link.update(status="expired", expired_at=self.store.now(), updated_at=self.store.now())
            self._event("payment_link.expired", payment_link=link)

    def refund(self, checkout: str, amount: int | None = None) -> str:
        """Refund from the dashboard; answer the refund's id."""
        payment = self._latest(checkout, "captured", "refunded")
        if payment is None:
            raise Refused(f"{checkout} is not paid")
        try:
            return str(self.create_refund(payment["id"], {} if amount is None else {"amount": amount})["id"])
        except RazorpayError as error:
            raise Refused(error.description) from None

    def settle_refunds(self, checkout: str, *, succeeded: bool = True) -> None:
        """Decide the pending refunds of a link."""
        with self.store.change():
            for refund in self._refunds_of(checkout):
                if refund["status"] == "pending":
                    self.settle_refund(refund["id"], succeeded=succeeded)

    def settle_refund(self, refund_id: str, *, succeeded: bool = True) -> None:
        with self.store.change():
            refund = self._refunds[refund_id]
            payment = self._payments[refund["payment_id"]]
            refund.update(status="processed" if succeeded else "failed", _settles=None)
            if succeeded:
                refund["acquirer_data"] = {"arn": new_id("", 14)}
            else:
                self._count_refund(payment, -refund["amount"])
            self._event("refund.processed" if succeeded else "refund.failed", refund=refund, payment=payment)

    def dispute(self, checkout: str) -> str:
        """Charge the whole payment back; answer the dispute's id."""
        return self._dispute(checkout, "chargeback")

    def inquire(self, checkout: str) -> str:
        """Have the bank ask about the payment, and take no money; answer the dispute's id."""
        return self._dispute(checkout, "retrieval")

    def escalate(self, checkout: str) -> None:
        """Make a dispute of an inquiry."""
        for dispute in self._disputes_of(checkout):
            if dispute["status"] == "open" and dispute["phase"] == "retrieval":
                with self.store.change():
                    dispute["phase"] = "chargeback"
                    payment = self._payments[dispute["payment_id"]]
                    self._event("payment.dispute.action_required", payment=payment, dispute=dispute)
                return
        raise Refused(f"{checkout} has no open inquiry")

    def _dispute(self, checkout: str, phase: str) -> str:
        payment = self._latest(checkout, "captured", "refunded")
        if payment is None:
            raise Refused(f"{checkout} is not paid")
        with self.store.change():
            dispute = {
                "id": new_id("disp_", 14),
                "entity": "dispute",
                "payment_id": payment["id"],
                "amount": payment["amount"],
                "currency": payment["currency"],
                "amount_deducted": 0,
                "reason_code": "chargeback_authorization",
                "respond_by": self.store.now() + 7 * 86400,
                "status": "open",
                "phase": phase,
                "created_at": self.store.now(),
                "evidence": {"amount": payment["amount"], "summary": None, "submitted_at": None},
            }
            self._disputes[dispute["id"]] = dispute
            self._event("payment.dispute.created", payment=payment, dispute=dispute)
        return str(dispute["id"])

    def resolve_dispute(self, checkout: str, *, won: bool) -> None:
        for dispute in self._disputes_of(checkout):
            if dispute["status"] in ("open", "under_review"):
                if dispute["phase"] == "retrieval" and not won:
                    raise Refused("an inquiry cannot be lost")
                self._close(dispute, "won" if won else "lost")
                return
        raise Refused(f"{checkout} has no open dispute")

    def alter(self, checkout: str, **fields: Any) -> None:
        """Change what the link says, as if Razorpay were wrong: `amount=100`."""
        with self.store.change():
            self._link(checkout).update(fields)

    def sweep(self) -> None:
        """Do what has become due by the clock."""
        now = self.store.now()
        with self.store.change() if self._due(now) else self.store.lock:
            for link in list(self._links.values()):
                if link["status"] == "created" and 0 < link["expire_by"] <= now:
                    self.expire(link["id"])
            for payment in list(self._payments.values()):
                if payment["status"] == "created" and (payment["_settles"] or now + 1) <= now:
                    self._capture(payment)
            for refund in list(self._refunds.values()):
                if (refund["_settles"] or now + 1) <= now:
                    self.settle_refund(refund["id"])

    def return_url(self, checkout: str) -> str | None:
        """The callback with its signed parameters, once paid."""
        link = self._link(checkout)
        payment = self._latest(checkout, "captured")
        if not link["callback_url"] or payment is None:
            return None
        signed = "|".join([checkout, link["reference_id"], link["status"], payment["id"]])
        query = {
            "razorpay_payment_id": payment["id"],
            "razorpay_payment_link_id": checkout,
            "razorpay_payment_link_reference_id": link["reference_id"],
            "razorpay_payment_link_status": link["status"],
            "razorpay_signature": hmac.new(self.key_secret.encode(), signed.encode(), hashlib.sha256).hexdigest(),
        }
        return f"{link['callback_url']}{'&' if '?' in link['callback_url'] else '?'}{urlencode(query)}"

    def cancel_url(self, checkout: str) -> str | None:
        """None: a link that is left leads nowhere."""
        self._link(checkout)
        return None

    def standing(self, checkout: str) -> Standing:
        with self.store.lock:
            link = self._link(checkout)
            waiting = self._latest(checkout, "created")
            paid = self._latest(checkout, "captured", "refunded")
            refunds, disputes = self._refunds_of(checkout), self._disputes_of(checkout)
            outcome = disputes[-1]["status"] if disputes else None
            retrieval = bool(disputes) and disputes[-1]["phase"] == "retrieval"
            return Standing(
                provider=self.name,
                id=checkout,
                url=link["short_url"],
                description=link["description"],
                reference=link["reference_id"] or None,
                amount=link["amount"],
                currency=link["currency"].lower(),
                status="processing" if waiting and link["status"] == "created" else _STATUSES[link["status"]],
                payment=paid["id"] if paid else None,
                paid=link["amount_paid"],
                refunded=sum(row["amount"] for row in refunds if row["status"] == "processed"),
                refunds_pending=sum(row["amount"] for row in refunds if row["status"] == "pending"),
                dispute=outcome if outcome in ("won", "lost", None) else "inquiry" if retrieval else "open",
                inquiry_only=retrieval,
                metadata=dict(link["notes"]),
            )

    # Parts

    def _event(self, kind: str, **subjects: Json) -> None:
        event = {
            "entity": "event",
            "account_id": "acc_StandInAccount",
            "event": kind,
            "contains": list(subjects),
            "payload": {name: {"entity": shown(subject)} for name, subject in subjects.items()},
            "created_at": self.store.now(),
        }
        self._courier.post(self.name, new_id("", 14), kind, json.dumps(event, separators=(",", ":")))

    def _due(self, now: int) -> bool:
        with self.store.lock:
            return (
                any(row["status"] == "created" and 0 < row["expire_by"] <= now for row in self._links.values())
                or any((row["_settles"] or now + 1) <= now for row in self._payments.values())
                or any((row["_settles"] or now + 1) <= now for row in self._refunds.values())
            )

    def _find(self, table: dict[str, Json], key: str) -> Json:
        if key not in table:
            raise RazorpayError(_MISSING)
        return table[key]

    def _link(self, checkout: str) -> Json:
        if checkout not in self._links:
            raise Refused(f"there is no link {checkout}")
        return self._links[checkout]

    def _payable(self, checkout: str) -> Json:
        link = self._link(checkout)
        if link["status"] == "created" and 0 < link["expire_by"] <= self.store.now():
            self.expire(checkout)
        if link["status"] != "created" or self._latest(checkout, "created"):
            raise Refused(f"this link is {link['status'] if link['status'] != 'created' else 'being paid'}")
        return link

    def _latest(self, checkout: str, *statuses: str) -> Json | None:
        with self.store.lock:
            order = self._link(checkout)["order_id"]
            found = [row for row in self._payments.values() if row["order_id"] == order and row["status"] in statuses]
        return found[-1] if found and order else None

    def _refunds_of(self, checkout: str) -> list[Json]:
        paid = self._latest(checkout, "captured", "refunded")
        return [row for row in self._refunds.values() if paid and row["payment_id"] == paid["id"]]

    def _disputes_of(self, checkout: str) -> list[Json]:
        paid = self._latest(checkout, "captured", "refunded")
        return [row for row in self._disputes.values() if paid and row["payment_id"] == paid["id"]]

    def _payment(self, link: Json, method: str) -> Json:
        """A new attempt to pay a link, through the order that the first attempt makes."""
        if link["order_id"] is None:
            order = {
                "id": new_id("order_", 14),
                "entity": "order",
                "amount": link["amount"],
                "amount_due": link["amount"],
                "amount_paid": 0,
                "attempts": 0,
                "created_at": self.store.now(),
                "currency": link["currency"],
                "notes": link["notes"],
                "offer_id": None,
                "receipt": link["reference_id"],
                "status": "created",
                "_link": link["id"],
            }
            self._orders[order["id"]] = order
            link["order_id"] = order["id"]
        order = self._orders[link["order_id"]]
        order.update(attempts=order["attempts"] + 1, status="attempted")
        payment = {
            "id": new_id("pay_", 14),
            "entity": "payment",
            "amount": link["amount"],
            "currency": link["currency"],
            "status": "created",
            "order_id": order["id"],
            "invoice_id": None,
            "international": False,
            "method": method,
            "amount_refunded": 0,
            "refund_status": None,
            "captured": False,
            "description": f"#{link['id'].removeprefix('plink_')}",
            "card_id": None,
            "bank": "HDFC" if method == "netbanking" else None,
            "wallet": None,
            "vpa": None,
            "email": link["customer"].get("email", "learner@example.com"),
            "contact": link["customer"].get("contact", "+919000000000"),
            "notes": dict(link["notes"]),
            "fee": None,
            "tax": None,
            "error_code": None,
            "error_description": None,
            "error_source": None,
            "error_step": None,
            "error_reason": None,
            "acquirer_data": {},
            "created_at": self.store.now(),
            "_settles": None,
        }
        self._payments[payment["id"]] = payment
        return payment

    def _capture(self, payment: Json) -> None:
        order = self._orders[payment["order_id"]]
        link = self._links[order["_link"]]
        payment.update(status="authorized", _settles=None)
        self._event("payment.authorized", payment=payment)
        fee = payment["amount"] * 236 // 10000
        payment.update(status="captured", captured=True, fee=fee, tax=fee * 18 // 118)
        order.update(status="paid", amount_paid=order["amount"], amount_due=0)
        paid = {"amount": payment["amount"], "created_at": payment["created_at"], "method": payment["method"]}
        link.update(status="paid", amount_paid=payment["amount"], updated_at=self.store.now())
        link["payments"] = [{**paid, "payment_id": payment["id"], "plink_id": link["id"], "status": "captured"}]
        self._event("payment.captured", payment=payment)
        self._event("order.paid", payment=payment, order=order)
        self._event("payment_link.paid", payment_link=link, payment=payment, order=order)

    def _decline(self, payment: Json) -> None:
        payment.update(
            status="failed",
            _settles=None,
            error_code="BAD_REQUEST_ERROR",
            error_description="Your payment has been declined as the transaction was not authorised by the bank.",
            error_source="issuer",
            error_step="payment_authorization",
            error_reason="payment_failed",
        )
        self._event("payment.failed", payment=payment)

    def _count_refund(self, payment: Json, amount: int) -> None:
        total = payment["amount_refunded"] + amount
        whole = total == payment["amount"]
        payment.update(amount_refunded=total, status="refunded" if whole else "captured")
        payment["refund_status"] = "full" if whole else "partial" if total else None

    def _close(self, dispute: Json, outcome: str) -> None:
        with self.store.change():
            dispute["status"] = outcome
            dispute["amount_deducted"] = dispute["amount"] if outcome == "lost" else 0
            payment = self._payments[dispute["payment_id"]]
            self._event(f"payment.dispute.{outcome}", payment=payment, dispute=dispute)
            self._event("payment.dispute.closed", payment=payment, dispute=dispute)


def shown(stored: Json) -> Json:
    """A copy of an entity as the API shows it: names with a leading underscore are the stand-in's own."""
    public: Json = json.loads(json.dumps({name: value for name, value in stored.items() if name[0] != "_"}))
    if public.get("notes") == {}:
        public["notes"] = []  # as PHP writes an empty array: what reads notes has to expect it
    return public


def _amount(value: Any, *, required: bool = False) -> int:
    if value is None and required:
        raise RazorpayError("The amount field is required.", field="amount")
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RazorpayError("The amount must be an integer.", field="amount")
    if value < 100:
        raise RazorpayError("The amount must be atleast INR 1.00", field="amount")
    return value


def _notes(body: Json) -> dict[str, str]:
    notes = body.get("notes") or {}
    if not isinstance(notes, dict) or len(notes) > 15:
        raise RazorpayError("The notes may not have more than 15 items.", field="notes")
    if any(len(str(value)) > 256 for value in notes.values()):
        raise RazorpayError("A note may not be greater than 256 characters.", field="notes")
    return {name: str(value) for name, value in notes.items()}
