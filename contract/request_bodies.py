"""Bodies of REST requests: Connexion's validators of JSON and of uploads, and a middleware before them."""

from __future__ import annotations

from collections.abc import Set
from typing import ClassVar

import orjson
from connexion.middleware.abstract import ROUTING_CONTEXT
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import errors
from contract import schemas

MAX_JSON_BYTES = 64 * 1024
#: Maximum bytes of multipart around the file of an upload.
_MULTIPART_OVERHEAD_BYTES = 4096


def replay(messages: list[Message], receive: Receive) -> Receive:
    """Return a `receive` that yields `messages` first."""
    pending = iter(messages)

    async def replayed() -> Message:
        for message in pending:
            return message
        return await receive()

    return replayed


class JsonBody:
    """Validator of a JSON body instead of Connexion's, which answers 500 to invalid UTF-8. Raw bodies pass unread."""

    #: By operationId, in a subclass: Connexion makes a JsonBody for each request.
    validators: ClassVar[dict[str, schemas.Validator]]

    def __init__(self, *, required: bool = False, **_: object) -> None:
        self._required = required

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        validator = self.validators.get(scope["extensions"][ROUTING_CONTEXT]["operation_id"])
        if validator is None:
            return receive, scope
        headers = Headers(scope=scope)
        raw = await _read(receive, headers)
        if not raw and not self._required:
            return replay([{"type": "http.request", "body": raw}], receive), scope
        if not raw:
            raise errors.RequestInvalid("a JSON body is needed")
        if "content-type" not in headers:
            raise errors.UnsupportedMediaType("Content-Type should be application/json")
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise errors.RequestInvalid(f"the body is not JSON: {error}") from None
        if problem := schemas.unstorable(body) or validator(body):
            raise errors.RequestInvalid(problem)
        return replay([{"type": "http.request", "body": raw}], receive), scope


async def _read(receive: Receive, headers: Headers) -> bytes:
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_JSON_BYTES:
        raise errors.PayloadTooLarge(f"a JSON body may have {MAX_JSON_BYTES} bytes at most")
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.RequestInvalid("the body is incomplete; send the request again")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_JSON_BYTES:
            raise errors.PayloadTooLarge(f"a JSON body may have {MAX_JSON_BYTES} bytes at most")
        more = message.get("more_body", False)
    return b"".join(chunks)


class Upload:
    """Validator of a multipart body: one part of limited size, checked while it streams.

    Connexion's form parser accepts any size, and drops unknown parts.
    """

    #: Bytes by operationId (`x-max-bytes`), in a subclass.
    limits: ClassVar[dict[str, int]]

    def __init__(self, **_: object) -> None:
        pass

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        headers = Headers(scope=scope)
        _, options = parse_options_header(headers.get("content-type", ""))
        if not options.get(b"boundary"):
            raise errors.RequestInvalid("the multipart body has no boundary")
        delimiter = b"\r\n--" + options[b"boundary"]
        # The body begins with a delimiter, without the line break that belongs to the others.
        tail, delimiters = b"\r\n", 0
        limit = self.limits[scope["extensions"][ROUTING_CONTEXT]["operation_id"]]
        left = limit + _MULTIPART_OVERHEAD_BYTES
        too_large = errors.PayloadTooLarge(f"the file may have {limit} bytes at most")
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > left:
            raise too_large

        async def counted() -> Message:
            nonlocal left, tail, delimiters
            message = await receive()
            body = message.get("body", b"")
            left -= len(body)
            if left < 0:
                raise too_large
            seen = tail + body
            delimiters += seen.count(delimiter)
            tail = seen[-len(delimiter) + 1 :]
            if delimiters > 2:  # the one before the part, and the one that closes
                raise errors.RequestInvalid("the form should have one part")
            return message

        return counted, scope


class ContentType:
    """Middleware that normalizes Content-Type for Connexion, and drops it for operations without a body.

    Connexion does not recognize `Application/JSON ; charset=utf-8`, and reads a form, with files of any size, for every
    operation.
    """

    def __init__(self, app: ASGIApp, with_body: Set[str]) -> None:
        self._app = app
        self._with_body = with_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            wanted = scope["extensions"][ROUTING_CONTEXT]["operation_id"] in self._with_body
            scope["headers"] = [
                (name, _usual(value) if name == b"content-type" else value)
                for name, value in scope["headers"]
                if wanted or name != b"content-type"
            ]
        await self._app(scope, receive, send)


def _usual(content_type: bytes) -> bytes:
    media_type, *parameters = content_type.split(b";", 1)
    return b";".join([media_type.strip().lower(), *parameters])
