"""Hosted payment page of a checkout, and a dashboard of all checkouts and identity providers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from devtools.stand_ins.issuers import Issuer, Issuers
from devtools.stand_ins.ledger import ACTIONS, CheckoutState, Provider, Refused, money
from devtools.stand_ins.webhooks import WebhookSender

_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}
_SHOWN_DELIVERIES = 50
_SHOWN_PEOPLE = 20


class Pages:
    """The pages over both payment providers and the issuers."""

    def __init__(self, providers: Mapping[str, Provider], webhooks: WebhookSender, issuers: Issuers) -> None:
        self._providers, self._webhooks, self._issuers = providers, webhooks, issuers

    def routes(self) -> list[Route]:
        return [
            Route("/", self._home),
            Route("/pay/{checkout}", self._pay_page, methods=["GET"]),
            Route("/pay/{checkout}", self._pay, methods=["POST"]),
            Route("/dashboard", self._dashboard, methods=["GET"]),
            Route("/dashboard/{checkout}", self._act, methods=["POST"]),
            Route("/dashboard/issuers/{issuer}", self._rotate, methods=["POST"]),
        ]

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/dashboard", 303)

    async def _pay_page(self, request: Request) -> Response:
        return self._show_pay(request.path_params["checkout"])

    async def _pay(self, request: Request) -> Response:
        """Do what the customer chose, and send the browser where the provider would."""
        checkout, action = request.path_params["checkout"], await _chosen(request)
        provider = find_provider(self._providers, checkout)
        if provider is None:
            return self._show_pay(checkout)
        if action == "abandon":
            url = provider.cancel_url(checkout)
            return _leave(url) if url else self._show_pay(checkout, "You can close this page.")
        if action not in ("pay", "decline", "later", "expire"):
            return self._show_pay(checkout, "Choose one of the buttons.", 400)
        try:
            ACTIONS[action](provider, checkout)
        except Refused as refused:
            return self._show_pay(checkout, f"{refused}.".capitalize(), 409)
        if action == "decline":
            return self._show_pay(checkout, "Your card was declined. Try another one.")
        url = provider.return_url(checkout) if action in ("pay", "later") else None
        return _leave(url) if url else _leave(f"/pay/{checkout}")

    async def _dashboard(self, _request: Request) -> Response:
        return self._show_dashboard()

    async def _act(self, request: Request) -> Response:
        checkout, action = request.path_params["checkout"], await _chosen(request)
        provider = find_provider(self._providers, checkout)
        if provider is None or action not in ACTIONS:
            return self._show_dashboard("There is no such checkout or action.", 404)
        try:
            ACTIONS[action](provider, checkout)
        except Refused as refused:
            return self._show_dashboard(f"{refused}.", 409)
        return _leave("/dashboard")

    async def _rotate(self, request: Request) -> Response:
        """Sign with new keys."""
        issuer = self._issuers.by_id.get(request.path_params["issuer"])
        if issuer is None:
            return self._show_dashboard("There is no such identity provider.", 404)
        issuer.rotate_keys()
        return _leave("/dashboard")

    def _show_pay(self, checkout: str, notice: str | None = None, status: int = 200) -> Response:
        provider = find_provider(self._providers, checkout)
        if provider is None:
            return HTMLResponse("<!doctype html><title>Not found</title><p>There is no such page.</p>", 404, _HEADERS)
        state = provider.get_state(checkout)
        return _page(
            "pay.html",
            status,
            provider=provider.name.title(),
            state=state,
            amount=money(state.amount, state.currency),
            notice=notice,
        )

    def _show_dashboard(self, notice: str | None = None, status: int = 200) -> Response:
        states = [each.get_state(checkout) for each in self._providers.values() for checkout in each.checkouts()]
        rows = [
            {
                "state": state,
                "amount": money(state.amount, state.currency),
                "refunded": money(state.refunded, state.currency),
                "pending": money(state.refunds_pending, state.currency),
                "actions": _possible(state),
            }
            for state in reversed(states)
        ]
        deliveries = self._webhooks.deliveries()[: -_SHOWN_DELIVERIES - 1 : -1]
        return _page(
            "dashboard.html",
            status,
            rows=rows,
            deliveries=deliveries,
            issuers=[_describe(issuer) for issuer in self._issuers.by_id.values()],
            notice=notice,
            action_base="/dashboard",
        )


def _describe(issuer: Issuer) -> dict[str, Any]:
    """What the dashboard shows of an issuer: its people, and whether their tokens were revoked."""
    revoked = {each.subject for each in issuer.revoked}
    people = [(each, each.subject in revoked) for each in issuer.people()[: -_SHOWN_PEOPLE - 1 : -1]]
    return {"issuer": issuer, "people": people}


def find_provider(providers: Mapping[str, Provider], checkout: str) -> Provider | None:
    return next((each for each in providers.values() if checkout in each.checkouts()), None)


def _possible(state: CheckoutState) -> list[tuple[str, str]]:
    """The buttons that make sense for a checkout."""
    actions: list[tuple[str, str]] = []
    if state.status == "processing":
        actions += [("settle", "Payment succeeds"), ("fail", "Payment fails")]
    if state.refunds_pending:
        actions += [("settle-refunds", "Refund succeeds"), ("fail-refunds", "Refund fails")]
    if state.dispute == "open":
        actions += [("win", "Dispute won"), ("lose", "Dispute lost")]
    if state.dispute == "inquiry":
        actions += [("win", "Inquiry closed"), ("escalate", "Inquiry escalates")]
    if state.status == "paid" and state.dispute in (None, "inquiry", "won"):
        if state.refunded + state.refunds_pending < state.paid:
            actions.append(("refund", "Refund"))
        if state.dispute is None:
            actions += [("inquire", "Inquiry"), ("dispute", "Dispute")]
    return actions


async def _chosen(request: Request) -> str:
    return parse_qs((await request.body()).decode(errors="replace")).get("action", [""])[0]


def _leave(url: str) -> Response:
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})


def _page(template: str, status: int, **values: Any) -> Response:
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), status, _HEADERS)
