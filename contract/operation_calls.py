"""Calls of handlers, and what is put around them: repeats, rate limits and normal forms of texts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.types import Receive, Scope

from adapters.json_text import encode_json
from contract import client_addresses, rate_limits, text_fields
from contract.entity_tags import NOT_MODIFIED, is_unchanged

if TYPE_CHECKING:
    from container import Container
    from services.identity.logins import Identity

JSON_HEADERS = {"Content-Type": "application/json"}
#: The client of a request without one, as ASGI's (host, port).
UNKNOWN_CLIENT = (client_addresses.UNKNOWN, 0)

#: Caching of answers that differ for requests with a token: a shared cache keeps the anonymous one for a minute.
_ANONYMOUS = {"Cache-Control": "public, max-age=60", "Vary": "Authorization"}
_PERSONAL = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}

#: The header that makes a repeat of an operation with `x-idempotent` harmless, as ASGI has it.
_IDEMPOTENCY_KEY = b"idempotency-key"


class Answer(NamedTuple):
    """Answer of an operation, before ASGI or Connexion."""

    status: int
    headers: dict[str, str]
    body: bytes | None


Call: TypeAlias = "Callable[[Scope, Receive, Identity | None, dict[str, Any]], Awaitable[Answer]]"


def call_handler(
    function: Callable[..., Any], services: Container, names: list[str], status: int, *, is_public: bool
) -> Call:
    """Call the handler with its parameters, and encode its result."""
    takes_identity, takes_request = "identity" in names, "request" in names

    async def answer(scope: Scope, receive: Receive, identity: Identity | None, arguments: dict[str, Any]) -> Answer:
        if identity is not None:
            # The login may have ended while the body arrived, which takes minutes at the slowest, and files hours.
            services.logins.require_open(identity)
        # Copied: a repeat is compared by the arguments without those of the request.
        given = dict(arguments)
        if takes_identity:
            given["identity"] = identity
        if takes_request:
            given["request"] = Request(scope, receive)
        result = await function(services, **given)
        content, headers = result if isinstance(result, tuple) else (result, {})
        if is_public:
            headers = {**(_ANONYMOUS if identity is None else _PERSONAL), **headers}
        if content is None:
            return Answer(status, headers, None)
        if "ETag" in headers and is_unchanged(scope, headers["ETag"]):
            return Answer(NOT_MODIFIED, headers, None)
        if isinstance(content, bytes):  # with the Content-Type of its headers
            return Answer(status, headers, content)
        return Answer(status, {**headers, **JSON_HEADERS} if headers else JSON_HEADERS, encode_json(content))

    return answer


def repeat_answers(call: Call, services: Container, operation_id: str, status: int) -> Call:
    """Handle a request with an `Idempotency-Key` once, and repeat its answer."""

    async def answer(scope: Scope, receive: Receive, identity: Identity | None, arguments: dict[str, Any]) -> Answer:
        key = dict(scope["headers"]).get(_IDEMPOTENCY_KEY)
        if key is None:
            return await call(scope, receive, identity, arguments)
        assert identity is not None, "bind refuses a repeatable operation without an identity"
        attempt = await services.idempotency.begin(identity.user_id, operation_id, key.decode("latin-1"), arguments)
        if attempt.answer is not None:
            return Answer(status, {**JSON_HEADERS, "Idempotent-Replayed": "true"}, attempt.answer.encode())
        try:
            answered = await call(scope, receive, identity, arguments)
        except BaseException:
            await services.idempotency.abandon(attempt)
            raise
        await services.idempotency.finish(attempt, (answered.body or b"").decode())
        return answered

    return answer


def limit_calls(call: Call, services: Container, operation_id: str, limits: list[rate_limits.Limit]) -> Call:
    policy = rate_limits.describe_policy(limits, services.rate_limiter.factor)

    async def answer(scope: Scope, receive: Receive, identity: Identity | None, arguments: dict[str, Any]) -> Answer:
        client, usage = (scope.get("client") or UNKNOWN_CLIENT)[0], rate_limits.Usage(policy)
        body = arguments.get("body")
        async with rate_limits.counted(services, operation_id, limits, usage, client, identity, body):
            answered = await call(scope, receive, identity, arguments)
        return answered._replace(headers={**answered.headers, **usage.headers})

    return answer


def normalize_body(call: Call, normalize: text_fields.Normalizer) -> Call:
    async def answer(scope: Scope, receive: Receive, identity: Identity | None, arguments: dict[str, Any]) -> Answer:
        if "body" in arguments:
            arguments["body"] = normalize(arguments["body"])
        return await call(scope, receive, identity, arguments)

    return answer
