"""State of a Razorpay account: links, orders, payments, refunds, disputes, and the events about them."""

from __future__ import annotations

import hashlib
import hmac
import json

from devtools.stand_ins.ledger import Pace, Refused
from devtools.stand_ins.razorpay_objects import (
    UNKNOWN_ID,
    RazorpayError,
    build_order,
    build_payment,
    shown,
)
from devtools.stand_ins.store import Json, Store, new_id
from devtools.stand_ins.webhooks import WebhookSender


class RazorpayAccount:
    """One Razorpay account in test mode. Checkouts are Payment Links."""

    name = "razorpay"

    def __init__(
        self,
        store: Store,
        webhooks: WebhookSender,
        *,
        base: str,
        key_id: str,
        key_secret: str,
        webhook_secret: str,
        pace: Pace,
    ) -> None:
        self.store, self._webhooks, self.base = store, webhooks, base
        self.key_id, self.key_secret, self.webhook_secret, self.pace = key_id, key_secret, webhook_secret, pace
        self._links = store.table("razorpay.links")
        self._orders = store.table("razorpay.orders")
        self._payments = store.table("razorpay.payments")
        self._refunds = store.table("razorpay.refunds")
        self._disputes = store.table("razorpay.disputes")
        webhooks.register(self.name, self.sign)

    def sign(self, body: str, event: str) -> dict[str, str]:
        """The headers of a webhook."""
        digest = hmac.new(self.webhook_secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        return {"X-Razorpay-Signature": digest, "x-razorpay-event-id": event, "User-Agent": "Razorpay-Webhook/v1"}

    def _event(self, kind: str, **subjects: Json) -> None:
        event = {
            "entity": "event",
            "account_id": "acc_StandInAccount",
            "event": kind,
            "contains": list(subjects),
            "payload": {name: {"entity": shown(subject)} for name, subject in subjects.items()},
            "created_at": self.store.now(),
        }
        self._webhooks.post(self.name, new_id("", 14), kind, json.dumps(event, separators=(",", ":")))

    def _has_due_changes(self, now: int) -> bool:
        with self.store.lock:
            return (
                any(row["status"] == "created" and 0 < row["expire_by"] <= now for row in self._links.values())
                or any((row["_settles"] or now + 1) <= now for row in self._payments.values())
                or any((row["_settles"] or now + 1) <= now for row in self._refunds.values())
            )

    def _find(self, table: dict[str, Json], key: str) -> Json:
        if key not in table:
            raise RazorpayError(UNKNOWN_ID)
        return table[key]

    def _link(self, checkout: str) -> Json:
        if checkout not in self._links:
            raise Refused(f"there is no link {checkout}")
        return self._links[checkout]

    def _latest(self, checkout: str, *statuses: str) -> Json | None:
        with self.store.lock:
            order = self._link(checkout)["order_id"]
            found = [row for row in self._payments.values() if row["order_id"] == order and row["status"] in statuses]
        return found[-1] if found and order else None

    def _list_refunds(self, checkout: str) -> list[Json]:
        paid = self._latest(checkout, "captured", "refunded")
        return [row for row in self._refunds.values() if paid and row["payment_id"] == paid["id"]]

    def _list_disputes(self, checkout: str) -> list[Json]:
        paid = self._latest(checkout, "captured", "refunded")
        return [row for row in self._disputes.values() if paid and row["payment_id"] == paid["id"]]

    def _payment(self, link: Json, method: str) -> Json:
        """A new attempt to pay a link, through the order that the first attempt makes."""
        if link["order_id"] is None:
            order = build_order(link, now=self.store.now())
            self._orders[order["id"]] = order
            link["order_id"] = order["id"]
        order = self._orders[link["order_id"]]
        order.update(attempts=order["attempts"] + 1, status="attempted")
        payment = build_payment(link, method, now=self.store.now())
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
