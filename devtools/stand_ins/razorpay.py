"""Razorpay stand-in: Payment Links with their payments, refunds and disputes."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

from devtools.stand_ins.ledger import CheckoutState, CheckoutStatus, Refused
from devtools.stand_ins.razorpay_account import RazorpayAccount
from devtools.stand_ins.razorpay_objects import (
    RazorpayError,
    build_dispute,
    build_link,
    build_refund,
    read_amount,
)
from devtools.stand_ins.store import Json, new_id

_STATUSES: dict[str, CheckoutStatus] = {
    "created": "open",
    "paid": "paid",
    "expired": "expired",
    "cancelled": "cancelled",
}


class Razorpay(RazorpayAccount):
    """What the API, customers, banks and the clock do to the account."""

    # What the API does

    def create_link(self, body: Json) -> Json:
        """Make a link; raise RazorpayError where Razorpay would refuse it."""
        link = build_link(body, self._links.values(), base=self.base, now=self.store.now())
        with self.store.change():
            self._links[link["id"]] = link
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
        amount = read_amount(body.get("amount")) if body.get("amount") is not None else left
        if amount > left:
            raise RazorpayError("The total refund amount is greater than the refund payment amount", field="amount")
        refund = build_refund(payment, body, amount, seconds=self.pace.refund, now=self.store.now())
        with self.store.change():
            self._refunds[refund["id"]] = refund
            self._count_refund(payment, amount)
            self._event("refund.created", refund=refund, payment=payment)
            if refund["status"] == "processed":
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

    def _payable(self, checkout: str) -> Json:
        link = self._link(checkout)
        if link["status"] == "created" and 0 < link["expire_by"] <= self.store.now():
            self.expire(checkout)
        if link["status"] != "created" or self._latest(checkout, "created"):
            raise Refused(f"this link is {link['status'] if link['status'] != 'created' else 'being paid'}")
        return link

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
            for refund in self._list_refunds(checkout):
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
        for dispute in self._list_disputes(checkout):
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
            dispute = build_dispute(payment, phase, now=self.store.now())
            self._disputes[dispute["id"]] = dispute
            self._event("payment.dispute.created", payment=payment, dispute=dispute)
        return str(dispute["id"])

    def resolve_dispute(self, checkout: str, *, won: bool) -> None:
        for dispute in self._list_disputes(checkout):
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
        with self.store.change() if self._has_due_changes(now) else self.store.lock:
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

    def get_state(self, checkout: str) -> CheckoutState:
        with self.store.lock:
            link = self._link(checkout)
            waiting = self._latest(checkout, "created")
            paid = self._latest(checkout, "captured", "refunded")
            refunds, disputes = self._list_refunds(checkout), self._list_disputes(checkout)
            outcome = disputes[-1]["status"] if disputes else None
            retrieval = bool(disputes) and disputes[-1]["phase"] == "retrieval"
            return CheckoutState(
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
