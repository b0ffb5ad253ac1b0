"""Razorpay's HTTP API: basic auth, JSON, collections, errors, idempotent refunds."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from devtools.stand_ins.razorpay import Razorpay
from devtools.stand_ins.razorpay_objects import UNKNOWN_ID, RazorpayError, shown
from devtools.stand_ins.store import Json

Operation = Callable[[Json, dict[str, str]], Json]


class RazorpayApi:
    """The API over one `Razorpay`."""

    def __init__(self, razorpay: Razorpay) -> None:
        self._razorpay = razorpay
        self._store = razorpay.store

    def app(self) -> Router:
        shop = self._razorpay
        links, payments = self._store.table("razorpay.links"), self._store.table("razorpay.payments")
        refunds, disputes = self._store.table("razorpay.refunds"), self._store.table("razorpay.disputes")
        operations: list[tuple[str, str, Operation]] = [
            ("POST", "/v1/payment_links", lambda body, _: shop.create_link(body)),
            ("GET", "/v1/payment_links", self._links),
            ("GET", "/v1/payment_links/{id}", self._fetch(links)),
            ("POST", "/v1/payment_links/{id}/cancel", lambda _, path: shop.cancel_link(path["id"])),
            ("GET", "/v1/payments", self._list(payments, ())),
            ("GET", "/v1/payments/{id}", self._fetch(payments)),
            ("POST", "/v1/payments/{id}/refund", lambda body, path: shop.create_refund(path["id"], body)),
            ("GET", "/v1/payments/{id}/refunds", self._refunds_of_payment),
            ("GET", "/v1/payments/{payment}/refunds/{id}", self._fetch(refunds)),
            ("POST", "/v1/refunds", lambda body, _: shop.create_refund(str(body.get("payment_id")), body)),
            ("GET", "/v1/refunds", self._list(refunds, ("payment_id",))),
            ("GET", "/v1/refunds/{id}", self._fetch(refunds)),
            ("GET", "/v1/disputes", self._list(disputes, ("payment_id",))),
            ("GET", "/v1/disputes/{id}", self._fetch(disputes)),
            ("POST", "/v1/disputes/{id}/accept", lambda _, path: shop.accept_dispute(path["id"])),
            ("PATCH", "/v1/disputes/{id}/contest", lambda body, path: shop.contest_dispute(path["id"], body)),
        ]
        return Router([self._route(*each) for each in operations], default=_unknown)

    def _fetch(self, table: dict[str, Json]) -> Operation:
        def operation(_body: Json, path: dict[str, str]) -> Json:
            if path["id"] not in table:
                raise RazorpayError(UNKNOWN_ID)
            return table[path["id"]]

        return operation

    def _list(self, table: dict[str, Json], filters: tuple[str, ...]) -> Operation:
        return lambda query, _path: _collection(list(table.values()), query, filters)

    def _links(self, query: Json, _path: dict[str, str]) -> Json:
        rows = list(self._store.table("razorpay.links").values())
        if "payment_id" in query:
            payment = self._store.table("razorpay.payments").get(query["payment_id"], {})
            rows = [row for row in rows if row["order_id"] and row["order_id"] == payment.get("order_id")]
        return {"payment_links": _collection(rows, query, ("reference_id",))["items"]}

    def _refunds_of_payment(self, query: Json, path: dict[str, str]) -> Json:
        rows = list(self._store.table("razorpay.refunds").values())
        return _collection(rows, {**query, "payment_id": path["id"]}, ("payment_id",))

    # The call

    def _route(self, method: str, path: str, operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            return self._call(request, await request.body(), operation)

        return Route(path, endpoint, methods=[method])

    def _call(self, request: Request, raw: bytes, operation: Operation) -> Response:
        with self._store.change():
            self._razorpay.sweep()
            try:
                self._authenticate(request.headers.get("authorization"))
                body = dict(request.query_params) if request.method == "GET" else _json(raw)
                answer = self._once(request, raw, lambda: shown(operation(body, request.path_params)))
            except RazorpayError as error:
                return JSONResponse(error.body(), error.status)
        return JSONResponse(answer)

    def _once(self, request: Request, raw: bytes, run: Callable[[], Json]) -> Json:
        """Run it, or replay the refund that the same key made: only refunds are idempotent at Razorpay."""
        key = request.headers.get("x-refund-idempotency")
        if key is None or request.method != "POST" or "refund" not in request.url.path:
            return run()
        if len(key) < 10 or not all(part.isalnum() for part in key.replace("_", "-").split("-") if part):
            raise RazorpayError("The idempotency key is invalid.")
        asked = f"{request.url.path} {raw.decode()}"
        kept = self._store.table("razorpay.idempotency").get(key)
        if kept and kept["asked"] != asked:
            raise RazorpayError("Different request with the same idempotency key has already been processed.")
        if kept is None:
            kept = self._store.table("razorpay.idempotency")[key] = {"asked": asked, "answer": run()}
        answer: Json = kept["answer"]
        return answer

    def _authenticate(self, authorization: str | None) -> None:
        scheme, _, credentials = (authorization or "").partition(" ")
        try:
            given = base64.b64decode(credentials).decode()
        except (binascii.Error, UnicodeDecodeError):
            given = ""
        if scheme.lower() != "basic" or given != f"{self._razorpay.key_id}:{self._razorpay.key_secret}":
            raise RazorpayError("Authentication failed", status=401)


def _json(raw: bytes) -> Json:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RazorpayError("The request body is not valid JSON.")
    return body


def _collection(rows: list[Json], query: Json, filters: tuple[str, ...]) -> Json:
    """One page of entities, the newest first: `count` (10, at most 100), `skip`, `from`, `to`."""
    try:
        count, skip = int(query.get("count", 10)), int(query.get("skip", 0))
        since, until = int(query.get("from", 0)), int(query.get("to", 2**40))
    except ValueError:
        raise RazorpayError("The count must be an integer.") from None
    if not 1 <= count <= 100:
        raise RazorpayError("The count must be between 1 and 100.", field="count")
    found = [
        row
        for row in reversed(rows)
        if since <= row["created_at"] <= until and all(row[name] == query[name] for name in filters if name in query)
    ]
    items = [shown(row) for row in found[skip : skip + count]]
    return {"entity": "collection", "count": len(items), "items": items}


async def _unknown(scope: Any, receive: Any, send: Any) -> None:
    error = RazorpayError("The requested URL was not found on the server.")
    await JSONResponse(error.body(), 404)(scope, receive, send)
