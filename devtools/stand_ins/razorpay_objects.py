"""Entities of Razorpay's API, as a payment link makes them, and the errors that it answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from devtools.stand_ins.store import Json, new_id

UNKNOWN_ID = "The id provided does not exist"


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


def build_fault(status: int) -> Json:
    """The body of an error that is Razorpay's own fault, or of a limit."""
    if status == 429:
        return RazorpayError("Request failed. Please try after sometime.").body()
    if status < 500:
        return RazorpayError("The request could not be processed.").body()
    sorry = "We are facing some trouble completing your request at the moment. Please try again shortly."
    return RazorpayError(sorry, code="SERVER_ERROR").body()


def build_link(body: Json, links: Iterable[Json], *, base: str, now: int) -> Json:
    """Build a payment link beside the existing `links`; raise RazorpayError where Razorpay would refuse it."""
    amount = read_amount(body.get("amount"), required=True)
    currency = body.get("currency", "INR")
    if not (isinstance(currency, str) and len(currency) == 3 and currency.isupper()):
        raise RazorpayError("The currency should be a 3 letter ISO code in upper case.", field="currency")
    expire_by = _read_expiry(body, now)
    reference = _read_reference(body, links)
    callback = _read_callback(body)
    key = new_id("plink_", 14)
    return {
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
        "notes": read_notes(body),
        "notify": {"email": False, "sms": False, "whatsapp": False} | (body.get("notify") or {}),
        "order_id": None,
        "payments": None,
        "reference_id": reference,
        "reminder_enable": bool(body.get("reminder_enable", False)),
        "reminders": [],
        "short_url": f"{base}/pay/{key}",
        "status": "created",
        "updated_at": now,
        "upi_link": False,
        "user_id": "",
    }


def _read_expiry(body: Json, now: int) -> int:
    expire_by: int = body.get("expire_by") or 0
    if expire_by and not now + 15 * 60 - 60 <= expire_by <= now + 183 * 86400:
        earliest = "expire_by should be at least 15 minutes and at most 6 months after current time."
        raise RazorpayError(earliest, field="expire_by")
    return expire_by


def _read_reference(body: Json, links: Iterable[Json]) -> str:
    reference: str = body.get("reference_id") or ""
    if len(reference) > 40:
        raise RazorpayError("The reference id may not be greater than 40 characters.", field="reference_id")
    if reference and any(link["reference_id"] == reference and link["status"] == "created" for link in links):
        taken = f"payment link with given reference_id ({reference}) already exists"
        raise RazorpayError(taken, field="reference_id")
    return reference


def _read_callback(body: Json) -> str:
    callback: str = body.get("callback_url") or ""
    if callback and (urlsplit(callback).scheme not in ("http", "https") or body.get("callback_method") != "get"):
        raise RazorpayError("callback_method should be get and callback_url a valid URL.", field="callback_url")
    return callback


def build_order(link: Json, *, now: int) -> Json:
    return {
        "id": new_id("order_", 14),
        "entity": "order",
        "amount": link["amount"],
        "amount_due": link["amount"],
        "amount_paid": 0,
        "attempts": 0,
        "created_at": now,
        "currency": link["currency"],
        "notes": link["notes"],
        "offer_id": None,
        "receipt": link["reference_id"],
        "status": "created",
        "_link": link["id"],
    }


def build_payment(link: Json, method: str, *, now: int) -> Json:
    return {
        "id": new_id("pay_", 14),
        "entity": "payment",
        "amount": link["amount"],
        "currency": link["currency"],
        "status": "created",
        "order_id": link["order_id"],
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
        "created_at": now,
        "_settles": None,
    }


def build_refund(payment: Json, body: Json, amount: int, *, seconds: float | None, now: int) -> Json:
    """Build a refund that succeeds after `seconds`, or is pending until it is settled."""
    return {
        "id": new_id("rfnd_", 14),
        "entity": "refund",
        "amount": amount,
        "currency": payment["currency"],
        "payment_id": payment["id"],
        "notes": read_notes(body),
        "receipt": body.get("receipt"),
        "acquirer_data": {"arn": None},
        "created_at": now,
        "batch_id": None,
        "status": "pending" if seconds != 0 else "processed",
        "speed_processed": "normal",
        "speed_requested": body.get("speed", "normal"),
        "_settles": now + seconds if seconds else None,
    }


def build_dispute(payment: Json, phase: str, *, now: int) -> Json:
    return {
        "id": new_id("disp_", 14),
        "entity": "dispute",
        "payment_id": payment["id"],
        "amount": payment["amount"],
        "currency": payment["currency"],
        "amount_deducted": 0,
        "reason_code": "chargeback_authorization",
        "respond_by": now + 7 * 86400,
        "status": "open",
        "phase": phase,
        "created_at": now,
        "evidence": {"amount": payment["amount"], "summary": None, "submitted_at": None},
    }


def shown(stored: Json) -> Json:
    """A copy of an entity as the API shows it: names with a leading underscore are the stand-in's own."""
    public: Json = json.loads(json.dumps({name: value for name, value in stored.items() if name[0] != "_"}))
    if public.get("notes") == {}:
        public["notes"] = []  # as PHP writes an empty array: what reads notes has to expect it
    return public


def read_amount(value: Any, *, required: bool = False) -> int:
    if value is None and required:
        raise RazorpayError("The amount field is required.", field="amount")
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RazorpayError("The amount must be an integer.", field="amount")
    if value < 100:
        raise RazorpayError("The amount must be atleast INR 1.00", field="amount")
    return value


def read_notes(body: Json) -> dict[str, str]:
    notes = body.get("notes") or {}
    if not isinstance(notes, dict) or len(notes) > 15:
        raise RazorpayError("The notes may not have more than 15 items.", field="notes")
    if any(len(str(value)) > 256 for value in notes.values()):
        raise RazorpayError("A note may not be greater than 256 characters.", field="notes")
    return {name: str(value) for name, value in notes.items()}
