"""Payments: checkout, webhooks, settlement, refunds, disputes and reconciliation."""

from models import Dispute, Order, PaymentAlert, Refund, WebhookEvent

TAGS = ("payments",)
EVENTS: tuple[str, ...] = ()
MODELS = (Dispute, Order, PaymentAlert, Refund, WebhookEvent)
JOBS = ("payments.handle_event", "payments.handle_overdue", "payments.reconcile", "payments.send_refund")
