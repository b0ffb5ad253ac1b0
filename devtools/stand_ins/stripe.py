"""Stripe stand-in: Checkout Sessions with their payments, refunds and disputes."""

from __future__ import annotations

from typing import Any, Literal

from devtools.stand_ins.ledger import CheckoutState, CheckoutStatus, Refused, money
from devtools.stand_ins.store import Json, Store, new_id
from devtools.stand_ins.stripe_account import StripeAccount
from devtools.stand_ins.stripe_objects import build_dispute, build_refund, build_session
from devtools.stand_ins.stripe_params import StripeError, check_known, invalid, read_integer

_REFUND_PARAMS = {"charge", "payment_intent", "amount", "reason", "metadata"}
_REFUND_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


_DISPUTE_STATES: dict[str, Literal["inquiry", "won", "lost"]] = {
    "warning_needs_response": "inquiry",
    "warning_closed": "won",
    "won": "won",
    "lost": "lost",
}


class Stripe(StripeAccount):
    """What the API, customers, banks and the clock do to the account."""

    # What the API does

    def create_session(self, params: Json) -> Json:
        """Make an open session; raise StripeError where Stripe would refuse it."""
        session = build_session(params, base=self.base, livemode=self.livemode, now=self.store.now())
        with self.store.change():
            self._sessions[session["id"]] = session
        return session

    def create_refund(self, params: Json) -> Json:
        """Give money back; raise StripeError where there is none, or not so much."""
        check_known(params, _REFUND_PARAMS)
        charge = self._charge_to_refund(params)
        reason = params.get("reason")
        if reason is not None and reason not in _REFUND_REASONS:
            raise invalid(f"Invalid reason: must be one of {', '.join(_REFUND_REASONS)}", "reason")
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
        amount = read_integer(params, "amount") if "amount" in params else left
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
        refund = build_refund(charge, params, amount, seconds=self.pace.refund, now=self.store.now())
        with self.store.change():
            self._refunds[refund["id"]] = refund
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            self._event("refund.created", refund)
            self._event("charge.refunded", charge)
            if refund["status"] == "succeeded":
                # Stripe reports a card refund's reference in an update soon after.
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

    def _payable(self, checkout: str) -> Json:
        session = self._session(checkout)
        if session["status"] == "open" and session["expires_at"] <= self.store.now():
            self.expire(checkout)
        if session["status"] != "open":
            raise Refused(f"this session is {session['status']}")
        return session

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
            dispute = build_dispute(charge, inquiry=inquiry, livemode=self.livemode, now=self.store.now())
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

    def get_state(self, checkout: str) -> CheckoutState:
        with self.store.lock:
            session = self._session(checkout)
            intent = self._intents.get(session["payment_intent"] or "", {})
            refunds = [row for row in self._refunds.values() if row["payment_intent"] == intent.get("id")]
            disputes = [row for row in self._disputes.values() if row["payment_intent"] == intent.get("id")]
            outcome = disputes[-1]["status"] if disputes else None
            return CheckoutState(
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
                dispute=_DISPUTE_STATES.get(outcome, "open") if outcome else None,
                inquiry_only=outcome in ("warning_needs_response", "warning_closed"),
                metadata=dict(session["metadata"]),
            )


def _status(session: Json, intent: Json) -> CheckoutStatus:
    if session["status"] in ("open", "expired"):
        return "open" if session["status"] == "open" else "expired"
    if session["payment_status"] == "paid":
        return "paid"
    return "processing" if intent.get("status") == "processing" else "failed"


def _later(store: Store, seconds: float | None) -> float | None:
    return None if seconds is None else store.now() + seconds
