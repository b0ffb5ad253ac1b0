"""Stripe's HTTP API: keys, forms, idempotency, errors, expansion, pages.

Answers follow the public API reference; the fields are those of objects that a one-off card payment makes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from devtools.stand_ins.store import Json, new_id
from devtools.stand_ins.stripe import Stripe
from devtools.stand_ins.stripe_forms import decode
from devtools.stand_ins.stripe_params import StripeError

_IDEMPOTENT_SECONDS = 24 * 3600
_TABLES = {
    "cs": "stripe.sessions",
    "pi": "stripe.intents",
    "ch": "stripe.charges",
    "re": "stripe.refunds",
    "du": "stripe.disputes",
    "evt": "stripe.events",
}
#: Which query parameters of a list select by equality.
_FILTERS = {
    "cs": ("payment_intent", "status", "customer"),
    "pi": ("customer",),
    "ch": ("payment_intent", "customer"),
    "re": ("payment_intent", "charge"),
    "du": ("payment_intent", "charge"),
    "evt": ("type",),
}

Operation = Callable[[Json, dict[str, str]], Json]


class StripeApi:
    """The API over one `Stripe`."""

    def __init__(self, stripe: Stripe) -> None:
        self._stripe = stripe
        self._store = stripe.store

    def app(self) -> Router:
        routes: list[Route] = []
        for prefix, path, title in (
            ("cs", "/v1/checkout/sessions", "checkout.session"),
            ("pi", "/v1/payment_intents", "payment_intent"),
            ("ch", "/v1/charges", "charge"),
            ("re", "/v1/refunds", "refund"),
            ("du", "/v1/disputes", "dispute"),
            ("evt", "/v1/events", "event"),
        ):
            routes.append(self._route("GET", path, self._list(prefix, path)))
            routes.append(self._route("GET", path + "/{id}", self._retrieve(prefix, title)))
        stripe = self._stripe
        routes += [
            self._route("POST", "/v1/checkout/sessions", lambda params, _: stripe.create_session(params)),
            self._route("POST", "/v1/checkout/sessions/{id}/expire", self._expire),
            self._route("GET", "/v1/checkout/sessions/{id}/line_items", self._line_items),
            self._route("POST", "/v1/refunds", lambda params, _: stripe.create_refund(params)),
            self._route("POST", "/v1/disputes/{id}/close", self._close),
        ]
        return Router(routes, default=_as_asgi(self._unknown))

    # Operations

    def _retrieve(self, prefix: str, title: str) -> Operation:
        return lambda _params, path: self._find(prefix, path["id"], title)

    def _find(self, prefix: str, key: str, title: str) -> Json:
        found = self._store.table(_TABLES[prefix]).get(key)
        if found is None:
            raise StripeError(404, f"No such {title}: '{key}'", code="resource_missing", param="id")
        return found

    def _list(self, prefix: str, path: str) -> Operation:
        def operation(params: Json, _path: dict[str, str]) -> Json:
            rows = [row for row in reversed(self._store.table(_TABLES[prefix]).values()) if _selected(row, params)]
            for name in _FILTERS[prefix]:
                if name in params:
                    rows = [row for row in rows if row.get(name) == params[name]]
            return _page(rows, params, path)

        return operation

    def _line_items(self, params: Json, path: dict[str, str]) -> Json:
        session = self._find("cs", path["id"], "checkout.session")
        return _page(session["_line_items"], params, f"/v1/checkout/sessions/{session['id']}/line_items")

    def _expire(self, _params: Json, path: dict[str, str]) -> Json:
        session = self._find("cs", path["id"], "checkout.session")
        if session["status"] != "open":
            raise StripeError(
                400,
                'Only Checkout Sessions with a status in ["open"] can be expired. '
                f"This Checkout Session has a status of `{session['status']}`.",
            )
        self._stripe.expire(session["id"])
        return session

    def _close(self, _params: Json, path: dict[str, str]) -> Json:
        dispute = self._find("du", path["id"], "dispute")
        if dispute["status"] in ("won", "lost"):
            raise StripeError(400, "This dispute is already closed.")
        self._stripe.close_dispute(dispute, won=False)
        return dispute

    # The call

    def _route(self, method: str, path: str, operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            body = (await request.body()).decode()
            return self._call(request, body, operation)

        return Route(path, endpoint, methods=[method])

    async def _unknown(self, request: Request) -> Response:
        message = f"Unrecognized request URL ({request.method}: {request.url.path})."
        error = StripeError(404, message + " Please see https://docs.stripe.com/api or contact us.")
        return JSONResponse(error.body("req_unknown"), 404)

    def _call(self, request: Request, body: str, operation: Operation) -> Response:
        request_id = new_id("req_", 14)
        headers = {"Request-Id": request_id, "Stripe-Version": request.headers.get("stripe-version", "")}
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key:
            headers["Idempotency-Key"] = key
        with self._store.change():
            self._stripe.sweep()
            try:
                self._authenticate(request.headers.get("authorization"))
                params = decode(body if request.method == "POST" else request.url.query)
                asked = json.dumps([request.method, request.url.path, params], sort_keys=True)
                kept = self._kept(key, asked)
                if kept:
                    headers |= {"Idempotent-Replayed": "true", "Original-Request": kept["request"]}
                    return Response(kept["body"], kept["status"], headers, "application/json")
                status, answer = self._run(operation, params, request, request_id)
            except StripeError as error:
                return JSONResponse(error.body(request_id), error.status, headers)
            text = json.dumps(answer)
            if key:
                self._store.table("stripe.idempotency")[key] = {
                    "asked": asked,
                    "status": status,
                    "body": text,
                    "request": request_id,
                    "at": self._store.now(),
                }
        return Response(text, status, headers, "application/json")

    def _run(self, operation: Operation, params: Json, request: Request, request_id: str) -> tuple[int, Json]:
        """The answer to keep for a repeated key; an error of validation, which Stripe doesn't keep, is raised."""
        expand = params.pop("expand", [])
        self._stripe.request_id = request_id
        try:
            return 200, self._expanded(operation(params, request.path_params), expand)
        except StripeError as error:
            if error.validation:
                raise
            return error.status, error.body(request_id)
        finally:
            self._stripe.request_id = None

    def _authenticate(self, authorization: str | None) -> None:
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not credentials:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, "
                "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            )
        if credentials != self._stripe.secret_key:
            raise StripeError(401, f"Invalid API Key provided: {credentials[:8]}****{credentials[-4:]}")

    def _kept(self, key: str | None, asked: str) -> Json | None:
        kept = self._store.table("stripe.idempotency").get(key) if key else None
        if kept is None or kept["at"] + _IDEMPOTENT_SECONDS < self._store.now():
            return None
        if kept["asked"] != asked:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        return kept

    # Expansion

    def _expanded(self, answer: Json, paths: list[str]) -> Json:
        shown = public(answer)
        for path in paths:
            self._expand(shown, path.split("."), path)
        return shown

    def _expand(self, node: Any, path: list[str], whole: str) -> None:
        if isinstance(node, list):
            for each in node:
                self._expand(each, path, whole)
            return
        name, rest = path[0], path[1:]
        if node.get("object") == "checkout.session" and name == "line_items":
            items = self._store.table("stripe.sessions")[node["id"]]["_line_items"]
            node[name] = _page(items, {}, f"/v1/checkout/sessions/{node['id']}/line_items")
        if name not in node:
            raise StripeError(400, f"This property cannot be expanded ({whole}).", validation=True)
        if isinstance(node[name], str):
            node[name] = public(self._store.table(_TABLES[node[name].split("_")[0]])[node[name]])
        if rest and node[name] is not None:
            self._expand(node[name], rest, whole)


def public(stored: Json) -> Json:
    """A copy of an object as the API shows it: names with a leading underscore are the stand-in's own."""
    shown: Json = json.loads(json.dumps({name: value for name, value in stored.items() if name[0] != "_"}))
    if shown.get("object") == "list":
        shown["data"] = [public(each) for each in shown["data"]]
    return shown


def _selected(row: Json, params: Json) -> bool:
    if "types" in params and row["type"] not in params["types"]:
        return False
    created = params.get("created")
    if isinstance(created, str):
        return bool(row["created"] == int(created))
    compare: dict[str, Callable[[int, int], bool]] = {
        "gt": int.__gt__,
        "gte": int.__ge__,
        "lt": int.__lt__,
        "lte": int.__le__,
    }
    return all(compare[name](row["created"], int(value)) for name, value in (created or {}).items())


def _page(rows: list[Json], params: Json, path: str) -> Json:
    try:
        limit = int(params.get("limit", 10))
    except ValueError:
        limit = 0
    if not 1 <= limit <= 100:
        raise StripeError(400, "Invalid limit: must be between 1 and 100", param="limit", validation=True)
    ids = [row["id"] for row in rows]
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in ids:
            raise StripeError(400, f"No such object: '{params[name]}'", code="resource_missing", param=name)
    if "starting_after" in params:
        rows = rows[ids.index(params["starting_after"]) + 1 :]
    if "ending_before" in params:
        before = rows[: ids.index(params["ending_before"])]
        return {"object": "list", "url": path, "has_more": len(before) > limit, "data": before[-limit:]}
    return {"object": "list", "url": path, "has_more": len(rows) > limit, "data": rows[:limit]}


def _as_asgi(endpoint: Callable[[Request], Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)

    return app
