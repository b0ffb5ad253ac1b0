"""The form at `/delete-account`: a link by e-mail, by which a learner downloads their data or deletes the account.

A GET changes nothing, because mail scanners open links. The address of the form is answered in the same way whether it
has an account or not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

import errors
from adapters.json_text import encode_json
from contract import page_shell, problems
from contract.forms import read_form
from contract.operation_calls import UNKNOWN_CLIENT
from contract.rate_limits import Limit
from contract.static_files import FORM_POLICY, HTML
from handlers import shapes

if TYPE_CHECKING:
    from container import Container

ADDRESS = "/delete-account"
_TITLE = "Delete your account · Parlance"
#: A form has one short field.
MAX_FORM_BYTES = 4096
_HOUR = 3600
#: Links requested from one network and for one address, as new passwords are, and links opened or confirmed.
_REQUEST_LIMITS = (Limit(3, _HOUR, "ip"), Limit(3, _HOUR, "account"))
_LINK_LIMITS = (Limit(30, _HOUR, "ip"),)
#: Copies of the data, as `exportMe` has them.
_EXPORT_LIMITS = (Limit(10, _HOUR, "ip"),)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
_HEADERS = {
    "Content-Security-Policy": FORM_POLICY,
    "Cache-Control": "no-store",
    # Without a referrer browsers send `Origin: null` with forms; this one is sent to this server alone.
    "Referrer-Policy": "same-origin",
}
_USED = "This link is wrong, has expired or was used. If you have just confirmed the deletion, the account is deleted."
_UNAVAILABLE = (
    "The deletion is not possible at the moment, because the database does not answer. Try again in a few minutes."
)


class DeletionForm:
    """The page of the form and of its links; `text` is the HTML that says what is deleted."""

    def __init__(self, services: Container, text: str) -> None:
        self._services = services
        self._text = text

    async def respond(self, request: Request) -> Response:
        try:
            if request.method == "POST":
                return await self._handle_form(request)
            token = request.query_params.get("token")
            return self._page("form") if token is None else await self._show_link(request, token)
        except Exception as exception:
            return self._refuse(problems.as_product_error(exception))

    async def _show_link(self, request: Request, token: str) -> Response:
        await self._take("openDeletionLink", _LINK_LIMITS, request)
        if not _TOKEN.fullmatch(token) or not await self._services.deletion_links.is_usable(token):
            raise errors.TokenInvalid()
        return self._page("confirm", token=token)

    async def _handle_form(self, request: Request) -> Response:
        self._require_own_page(request)
        fields = await read_form(request, MAX_FORM_BYTES)
        if (token := fields.get("token")) is not None:
            await self._take("confirmDeletion", _LINK_LIMITS, request)
            if not _TOKEN.fullmatch(token):
                raise errors.TokenInvalid()
            if (action := fields.get("action")) == "export":
                return await self._export(request, token)
            if action is not None:  # not what was asked for, and a deletion cannot be undone
                raise errors.RequestInvalid("'action' is 'export' or absent")
            await self._services.deletion_links.delete(token)
            return self._page("deleted")
        email = fields.get("email", "").strip()
        if not 3 <= len(email) <= 254 or "@" not in email or not email.isprintable():
            return self._page("form", 400, email=email[:254], message="Enter the e-mail address of your account.")
        await self._take("requestDeletionLink", _REQUEST_LIMITS, request, {"email": email})
        try:
            await self._services.deletion_links.request(email)
        except errors.RequestInvalid:
            return self._page(
                "form", 400, email=email, message="Mail cannot be sent to this address; check its spelling."
            )
        return self._page("sent")

    async def _export(self, request: Request, token: str) -> Response:
        """Answer with the file that `exportMe` answers with. The link stays usable, for the deletion after it."""
        await self._take("exportByLink", _EXPORT_LIMITS, request)
        user_id = await self._services.deletion_links.read_account(token)
        document = shapes.data_export(await self._services.data_export.export(user_id))
        headers = {**_HEADERS, "Content-Disposition": shapes.EXPORT_DISPOSITION}
        return Response(encode_json(document), headers=headers, media_type="application/json")

    def _require_own_page(self, request: Request) -> None:
        """Raise Forbidden for a form of another site, as browsers name it."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is not None:
            is_own = site in ("same-origin", "none")
        else:
            own_host = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
            is_own = origin is None or own_host or self._services.settings.is_own_origin(origin)
        if not is_own:
            raise errors.Forbidden("this form was sent by another site")

    async def _take(self, name: str, limits: tuple[Limit, ...], request: Request, body: Any = None) -> None:
        client = (request.scope.get("client") or UNKNOWN_CLIENT)[0]
        for limit in limits:
            await limit.take(self._services, name, client, None, body)

    def _refuse(self, error: errors.ProductError) -> Response:
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        title, message = "Not deleted", error.detail
        if isinstance(error, errors.Unavailable):
            message = _UNAVAILABLE
        elif isinstance(error, errors.TokenInvalid):
            title, message = "This link does not work", _USED
        return self._page("refused", error.status, headers=headers, title=title, message=message)

    def _page(self, state: str, status: int = 200, *, headers: dict[str, str] | None = None, **values: str) -> Response:
        content = page_shell.fill(
            "delete_account.html",
            **{"text": self._text, "token": "", "email": "", "message": "", "title": "", **values, "state": state},
        )
        html = page_shell.render(_TITLE, content, current=ADDRESS, links=page_shell.DOCUMENTS, label="Documents")
        return Response(html, status, {**_HEADERS, **(headers or {})}, HTML)
