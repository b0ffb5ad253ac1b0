"""HTTP endpoints of one stand-in issuer: documents, the authorization page, tokens and revocation."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, Router

from devtools.stand_ins.issuers.authorization import AuthorizationRefused, AuthorizationRequest, TokenRefused
from devtools.stand_ins.issuers.issuer import Issuer
from devtools.stand_ins.issuers.key_ring import Json

_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parents[1] / "templates"), autoescape=True)
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_SHOWN_PEOPLE = 5


def build_fault(status: int) -> Json:
    """An error in the words of OAuth 2.0."""
    return {"error": "temporarily_unavailable" if status == 503 else "server_error"}


class Endpoints:
    """The endpoints below the URL of an issuer."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def app(self) -> Router:
        issuer = self._issuer
        return Router(
            [
                Route("/.well-known/openid-configuration", self._discovery),
                Route(issuer.jwks_path, self._jwks),
                Route(issuer.authorization_path, self._ask, methods=["GET"]),
                Route(issuer.authorization_path, self._decide, methods=["POST"]),
                Route(issuer.token_path, self._token, methods=["POST"]),
                Route(issuer.revocation_path, self._revoke, methods=["POST"]),
            ]
        )

    # --- Documents ----------------------------------------------------------------

    async def _discovery(self, _request: Request) -> Response:
        self._issuer.calls["discovery"] += 1
        document = self._issuer.documents.get("discovery", self._issuer.discovery())
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=3600"})

    async def _jwks(self, _request: Request) -> Response:
        self._issuer.calls["jwks"] += 1
        document = self._issuer.documents.get("jwks", self._issuer.keys.jwks())
        return JSONResponse(document, headers={"Cache-Control": self._issuer.cache_control})

    # --- The page -----------------------------------------------------------------

    async def _ask(self, request: Request) -> Response:
        """Show the page, with the people of before."""
        self._issuer.calls["authorization"] += 1
        try:
            asked = self._issuer.accept(request.query_params)
        except AuthorizationRefused as refused:
            return self._show_error(refused)
        if asked.prompt == "none":
            return _return(asked, self._issuer.refuse(asked, "login_required"))
        return self._show_page(asked)

    async def _decide(self, request: Request) -> Response:
        """Do what the person chose, and send the browser back."""
        form = await _form(request)
        try:
            asked = self._issuer.accept(request.query_params)
        except AuthorizationRefused as refused:
            return self._show_error(refused)
        if form.get("action") == "cancel":
            return _return(asked, self._issuer.cancel(asked))
        chosen = form.get("chosen", "")
        email = (chosen or form.get("email", "")).strip()
        local, _, domain = email.rpartition("@")
        if not local or not domain:
            return self._show_page(asked, "Enter an e-mail address.", 400)
        person = self._issuer.find_person(email)
        if not chosen:
            person = replace(
                person,
                email=email,
                email_verified="unverified" not in form,
                is_private_email="private" in form,
                hd=domain if "organization" in form else None,
            )
        return _return(asked, self._issuer.grant(asked, person))

    def _show_page(self, asked: AuthorizationRequest, notice: str | None = None, status: int = 200) -> Response:
        return _page(
            "authorize.html",
            status,
            issuer=self._issuer,
            asked=asked,
            people=self._issuer.people()[: -_SHOWN_PEOPLE - 1 : -1],
            notice=notice,
        )

    def _show_error(self, refused: AuthorizationRefused) -> Response:
        return _page("authorize_error.html", 400, issuer=self._issuer, refused=refused)

    # --- Tokens -------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        self._issuer.calls["token"] += 1
        form = await _form(request)
        try:
            client_id = self._authenticate(request, form)
            if form.get("grant_type") == "authorization_code":
                return JSONResponse(self._issuer.exchange_code(client_id, form), headers=_NO_STORE)
            if form.get("grant_type") == "refresh_token":
                return JSONResponse(self._issuer.refresh(client_id, form), headers=_NO_STORE)
            raise TokenRefused("unsupported_grant_type")
        except TokenRefused as refused:
            return JSONResponse(refused.body, refused.status, _NO_STORE)

    async def _revoke(self, request: Request) -> Response:
        """Answer 200 for a token that is unknown too (RFC 7009)."""
        self._issuer.calls["revocation"] += 1
        form = await _form(request)
        try:
            client_id = self._authenticate(request, form) if self._issuer.revocation_needs_client else None
            if not form.get("token"):
                raise TokenRefused("invalid_request")
            self._issuer.revoke(client_id, form["token"])
        except TokenRefused as refused:
            return JSONResponse(refused.body, refused.status, _NO_STORE)
        return Response(status_code=200)

    def _authenticate(self, request: Request, form: Mapping[str, str]) -> str:
        """Return the client of a call, by its header (RFC 6749, 2.3.1) or the form; raise TokenRefused."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if scheme.lower() == "basic" and self._issuer.accepts_basic:
            try:
                user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise TokenRefused("invalid_request") from None
            client_id, secret = unquote_plus(user), unquote_plus(password)
        self._issuer.authenticate_client(client_id, secret)
        return client_id


def _return(asked: AuthorizationRequest, answer: Mapping[str, str]) -> Response:
    """Send the browser to the redirect URI, in the response mode that was asked for."""
    if asked.response_mode == "form_post":
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'"
        return _page("form_post.html", 200, policy, uri=asked.redirect_uri, answer=answer, nonce=nonce)
    mark = "#" if asked.response_mode == "fragment" else "&" if "?" in asked.redirect_uri else "?"
    return RedirectResponse(f"{asked.redirect_uri}{mark}{urlencode(answer)}", 303, _NO_STORE)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


def _page(template: str, status: int, policy: str | None = None, **values: Any) -> Response:
    policy = policy or "default-src 'none'; style-src 'unsafe-inline'"
    headers = {"Content-Security-Policy": policy, **_NO_STORE}
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), status, headers)
