"""Objects of Stripe's API, as a one-off payment makes them."""

from __future__ import annotations

from urllib.parse import urlsplit

from devtools.stand_ins.store import Json, new_id
from devtools.stand_ins.stripe_params import (
    StripeError,
    check_known,
    invalid,
    read_integer,
    read_metadata,
    read_required,
)

_SESSION_PARAMS = {
    "mode", "line_items", "success_url", "cancel_url", "client_reference_id", "customer_email", "metadata",
    "payment_intent_data", "payment_method_types", "expires_at", "locale", "submit_type", "customer_creation",
}  # fmt: skip


def build_session(params: Json, *, base: str, livemode: bool, now: int) -> Json:
    """Build an open Checkout Session; raise StripeError where Stripe would refuse it."""
    check_known(params, _SESSION_PARAMS)
    if read_required(params, "mode") != "payment":
        raise invalid("Invalid mode: must be one of payment", "mode")
    items, currency, total = _read_items(params)
    _check_urls(params)
    reference = _read_reference(params)
    expires = _read_expiry(params, now)
    intent_data = params.get("payment_intent_data", {})
    key = new_id("cs_live_" if livemode else "cs_test_", 58)
    return {
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
        "livemode": livemode,
        "locale": params.get("locale"),
        "metadata": read_metadata(params, "metadata"),
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
        "url": f"{base}/pay/{key}",
        "_line_items": items,
        "_intent": {
            "metadata": read_metadata(intent_data, "metadata"),
            "description": intent_data.get("description"),
            "receipt_email": intent_data.get("receipt_email"),
        },
    }


def _read_items(params: Json) -> tuple[list[Json], str, int]:
    """Read the line items, their currency and their total."""
    items = [build_line_item(item, index) for index, item in enumerate(read_required(params, "line_items"))]
    currencies = {item["currency"] for item in items}
    if len(currencies) != 1:
        raise invalid("All line items must have the same currency.", "line_items")
    total = sum(item["amount_total"] for item in items)
    if total < 50:
        least = "The Checkout Session's total amount must convert to at least 50 cents."
        raise StripeError(400, least, code="amount_too_small", validation=True)
    return items, currencies.pop(), total


def _check_urls(params: Json) -> None:
    for name in ("success_url", "cancel_url"):
        if (name in params or name == "success_url") and not urlsplit(read_required(params, name)).scheme:
            raise StripeError(400, "Not a valid URL", code="url_invalid", param=name, validation=True)


def _read_reference(params: Json) -> str | None:
    reference: str | None = params.get("client_reference_id")
    if reference is not None and not 1 <= len(reference) <= 200:
        raise invalid("Invalid string: must be 1 to 200 characters", "client_reference_id")
    return reference


def _read_expiry(params: Json, now: int) -> int:
    expires = read_integer(params, "expires_at") if "expires_at" in params else now + 24 * 3600
    # A minute's grace: the caller's clock and this one are not the same.
    if not now + 30 * 60 - 60 <= expires <= now + 24 * 3600 + 60:
        bounds = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise invalid(bounds, "expires_at")
    return expires


def build_line_item(item: Json, index: int) -> Json:
    where = f"line_items[{index}]"
    price = read_required(item, "price_data", where)
    amount, quantity = read_integer(price, "unit_amount", where + "[price_data]"), read_integer(item, "quantity", where)
    if amount < 0 or quantity < 1:
        raise invalid("This value must be greater than or equal to 1.", where)
    product = read_required(price, "product_data", where + "[price_data]")
    name = read_required(product, "name", where + "[price_data][product_data]")
    currency = str(read_required(price, "currency", where + "[price_data]")).lower()
    if len(currency) != 3 or not currency.isalpha():
        raise invalid(f"Invalid currency: {currency}.", where + "[price_data][currency]")
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


def build_intent(session: Json, *, livemode: bool, now: int) -> Json:
    return {
        "id": new_id("pi_3"),
        "object": "payment_intent",
        "amount": session["amount_total"],
        "amount_capturable": 0,
        "amount_received": 0,
        "canceled_at": None,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "created": now,
        "currency": session["currency"],
        "customer": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": livemode,
        "next_action": None,
        "payment_method": None,
        "payment_method_types": session["payment_method_types"],
        "status": "requires_payment_method",
        **session["_intent"],
    }


def build_charge(intent: Json, method: str, *, livemode: bool, now: int) -> Json:
    return {
        "id": new_id("ch_3"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "captured": False,
        "created": now,
        "currency": intent["currency"],
        "customer": None,
        "description": intent["description"],
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "livemode": livemode,
        "metadata": dict(intent["metadata"]),
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": new_id("pm_1"),
        "payment_method_details": {"type": method, method: {"last4": "4242"}},
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "status": "pending",
    }


def build_refund(charge: Json, params: Json, amount: int, *, seconds: float | None, now: int) -> Json:
    """Build a refund that succeeds after `seconds`, or is pending until it is settled."""
    return {
        "id": new_id("re_3"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn_3"),
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "metadata": read_metadata(params, "metadata"),
        "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "status": "pending" if seconds != 0 else "succeeded",
        "_settles": now + seconds if seconds else None,
    }


def build_dispute(charge: Json, *, inquiry: bool, livemode: bool, now: int) -> Json:
    return {
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
        "livemode": livemode,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "fraudulent",
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
