"""The address that identity providers redirect to: the practice page, which exchanges the code.

Apple has the browser post a form instead. Such a request of another site comes without our cookies, so it is answered
with a redirect, after which the page's own requests have them.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import errors
from contract import problems
from contract.forms import read_form
from contract.static_files import File
from services.identity.authorizations import CALLBACK_PATH

#: Apple sends an ID token and the user's name beside the code.
MAX_FORM_BYTES = 16 * 1024
#: What the page reads, and the longest that the contract takes, in characters.
_FIELDS = {"code": 2048, "state": 255, "error": 64}


def route(page: File) -> Route:
    """Build the route; `page` is the practice page."""

    async def respond(request: Request) -> Response:
        if request.method != "POST":
            return await run_in_threadpool(page.respond, request)
        try:
            fields = await read_form(request, MAX_FORM_BYTES)
        except errors.ProductError as error:
            body, headers = problems.problem_response(error)
            return Response(body, error.status, headers)
        read = {name: fields[name] for name, longest in _FIELDS.items() if 0 < len(fields.get(name, "")) <= longest}
        query = urlencode(read or {"error": "invalid_request"})
        # 303: the browser goes on with a GET. Relative, so that a proxy's host and prefix stay.
        headers = {"Location": f"callback?{query}", "Cache-Control": "no-store"}
        return Response(status_code=303, headers=headers)

    return Route(CALLBACK_PATH, respond, methods=["GET", "POST"])
