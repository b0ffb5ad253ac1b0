"""The pages before the API: their routes, slashes at the end of their addresses, and a page for unknown addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.responses import Response
from starlette.routing import Match, Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

import errors
from contract import page_shell, problems
from contract.static_files import HTML, POLICY

_READING = ("GET", "HEAD")
_JSON = ("application/json", "application/problem+json")


class Pages:
    """Routes of pages, before the app.

    An address that no page and no operation has is answered with a page to a browser; other clients get the app's
    problem.
    """

    def __init__(self, routes: Sequence[Route], app: ASGIApp, operation_paths: Iterable[str]) -> None:
        """`operation_paths` are the paths of openapi.yaml."""
        self._routes = {route.path: route for route in routes}
        self._operations = [compile_path(path)[0] for path in operation_paths]
        self._app = app
        self._not_found = page_shell.render("Not found · Parlance", page_shell.fill("not_found.html")).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self._app
        if scope["type"] == "http":
            path: str = scope["path"]
            if path in self._routes:
                answer = self._page
            elif scope["method"] in _READING and path.endswith("/") and path != "//" and path[:-1] in self._routes:
                answer = _redirect(scope)
            elif scope["method"] in _READING and self._is_unknown(scope):
                headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Vary": "Accept"}
                answer = Response(self._not_found, 404, headers, HTML)
        await answer(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes[scope["path"]]
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            scope.update(child_scope)
            await route.handle(scope, receive, send)
            return
        body, headers = problems.problem_response(errors.MethodNotAllowed())
        headers["Allow"] = ", ".join(sorted(route.methods or _READING))
        await Response(body, errors.MethodNotAllowed.status, headers)(scope, receive, send)

    def _is_unknown(self, scope: Scope) -> bool:
        """Return whether a browser asks for an address that nothing has."""
        # On every GET of the API: most are decided here, without parsing.
        accept = next(
            (value for name, value in scope["headers"] if name == b"accept" and b"text/html" in value.lower()), None
        )
        if accept is None or not prefers_html(accept.decode("latin-1")):
            return False
        return not any(pattern.match(scope["path"]) for pattern in self._operations)


def _redirect(scope: Scope) -> Response:
    """Redirect to the address without the slash at its end; relative, so that a proxy's host and prefix stay."""
    query = scope["query_string"].decode("latin-1")
    name = scope["path"].rstrip("/").rpartition("/")[2]
    return Response(status_code=308, headers={"Location": f"../{name}{'?' + query if query else ''}"})


def prefers_html(accept: str) -> bool:
    """Return whether an Accept header names HTML, and JSON not at all or with a lower weight (RFC 9110, 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        media_type, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            weights[media_type] = float(weight)
        except ValueError:
            weights[media_type] = 0.0
    html = weights.get("text/html", 0.0)
    return html > max(0.0, *(weights.get(each, 0.0) for each in _JSON))
