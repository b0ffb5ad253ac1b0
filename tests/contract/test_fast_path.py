"""The fast path and the rest of Connexion's stack give the same answers; plain requests are answered by the first."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import inflection
import pytest

import errors
from container import Container
from contract import middleware, rest, schemas
from contract.fast_path import FastPath
from contract.operations import ContractError, definitions
from services.identity.logins import Identity
from settings import Settings
from testing.servers import PASSWORD, Learner, address

MakeLearner = Callable[..., Awaitable[Learner]]
Header = tuple[bytes, bytes]

# --- Operations of shapes that openapi.yaml does not have yet ---------------------------------------


async def search(
    services: Container, count: int, flag: bool, word: str = "none", limit: int = 0
) -> tuple[dict[str, Any], dict[str, str]]:
    return {"count": count, "flag": flag, "word": word, "limit": limit}, {"X-Seen": "ja, \xfc"}


async def nothing(services: Container, identity: Identity, name: str) -> None:
    return None


async def fail(services: Container, word: str) -> dict[str, Any]:
    raise {"named": errors.UsernameTaken(), "slow": errors.RateLimited(retry_after=7), "bug": KeyError("x")}[word]


async def wrong(services: Container) -> dict[str, Any]:
    return {"unexpected": True}


async def limited(services: Container) -> dict[str, Any]:
    return {"count": 1, "flag": True, "word": "", "limit": 0}


async def maybe(services: Container, body: dict[str, Any]) -> dict[str, Any]:
    return body


async def form(services: Container, body: dict[str, Any]) -> dict[str, Any]:
    return body


async def listed(services: Container, tags: list[str]) -> dict[str, Any]:
    return {"word": ",".join(tags)}


def _query(name: str, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _operation(function: str, *parameters: dict[str, Any], status: str = "200", **more: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "count": {"type": "integer"},
            "flag": {"type": "boolean"},
            "word": {"type": "string"},
            "limit": {"type": "integer"},
        },
    }
    content = {} if status == "204" else {"content": {"application/json": {"schema": schema}}}
    return {
        "operationId": inflection.camelize(function, uppercase_first_letter=False),
        "x-openapi-router-controller": __name__,
        "parameters": list(parameters),
        "x-codes": ["unauthenticated", "forbidden", "not_found", "rate_limited", "username_taken"],
        "responses": {status: {"description": "", **content}, "default": {"$ref": "#/components/responses/Problem"}},
        **more,
    }


def _path(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_WORD = {"type": "object", "additionalProperties": False, "properties": {"word": {"type": "string", "maxLength": 5}}}
PATHS = {
    "/test/search": {
        "get": _operation(
            "search",
            _query("count", required=True, type="integer", minimum=-5),
            _query("flag", required=True, type="boolean"),
            _query("word", type="string", minLength=1, maxLength=9),
            _query("limit", type="integer", default=20, maximum=50),
        )
    },
    "/test/{name}/nothing": {
        "parameters": [_path("name", type="string", maxLength=5)],
        "delete": _operation("nothing", status="204", security=[{"bearer": []}]),
        "put": _operation("nothing_for_admins", status="204", security=[{"admin": []}], **{"x-role": ["admin"]}),
    },
    "/test/fail/{word}": {"get": _operation("fail", _path("word", type="string"))},
    "/test/wrong": {"get": _operation("wrong")},
    "/test/limited": {"get": {**_operation("limited"), "x-rate-limit": [{"limit": 2, "window": "1h", "per": "ip"}]}},
    "/test/maybe": {"post": _operation("maybe", requestBody={"content": {"application/json": {"schema": _WORD}}})},
    "/test/form": {
        "post": _operation("form", requestBody={"content": {"application/x-www-form-urlencoded": {"schema": _WORD}}})
    },
    "/test/listed": {"get": _operation("listed", _query("tags", type="array", items={"type": "string"}))},
}
nothing_for_admins = nothing
limited_again = limited

#: Paths of openapi.yaml that answer the same twice.
UNCHANGING = ("/health", "/.well-known/jwks.json", "/auth/login", "/users/me", "/sessions", "/sessions/{sessionId}")

# --- Two apps, and requests as a server hands them on -------------------------------------------------


@dataclass
class Request:
    method: str
    #: As it stands in the request line, query included.
    target: str
    headers: list[Header] = field(default_factory=list)
    body: bytes | list[bytes] = b""
    #: Say how long the body is, as every client does that does not stream.
    declared: bool = True
    breaks_off: bool = False
    client: tuple[str, int] | None = ("192.0.2.1", 1234)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(app: Any, request: Request) -> Answer:
    path, _, query = request.target.partition("?")
    pieces = request.body if isinstance(request.body, list) else [request.body]
    headers = [(b"host", b"parlance.test"), *request.headers]
    if any(pieces):
        length = b"%d" % len(b"".join(pieces))
        headers.append((b"content-length", length) if request.declared else (b"transfer-encoding", b"chunked"))
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    if request.breaks_off:
        messages[-1] = {"type": "http.disconnect"}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "server": ("parlance.test", 80),
        "client": request.client,
    }
    await app(scope, receive, send)
    start, *rest_ = sent
    names = [name.decode() for name, _ in start["headers"]]
    assert len(set(names)) == len(names)
    body = b"".join(message.get("body", b"") for message in rest_)
    return Answer(start["status"], {name.decode(): value.decode("latin-1") for name, value in start["headers"]}, body)


def seen(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """What has to be equal: all but ids, instants and tokens."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    if "ratelimit" in headers:  # each of the two requests counts
        headers["ratelimit"] = re.sub(r";([rt])=\d+", r";\1=0", headers["ratelimit"])
    text = answer.body.decode()
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    text = re.sub(r'"(accessToken|refreshToken|deviceProof)":"[^"]+"', r'"\1":"<token>"', text)
    text = re.sub(r'"answerMilliseconds":[\d.]+', '"answerMilliseconds":0', text)
    if text != answer.body.decode():
        del headers["content-length"]
    return answer.status, headers, text


@dataclass
class Pair:
    fast: FastPath
    compiled: Any
    stock: Any

    async def same(self, request: Request) -> tuple[Answer, bool]:
        """Answer what both answer, and whether connexion was not asked."""
        before = sum(self.fast.answered.values())
        ours = await exchange(self.compiled, replace(request))
        was_fast = sum(self.fast.answered.values()) > before
        theirs = await exchange(self.stock, replace(request))
        assert seen(ours) == seen(theirs), (request, "fast" if was_fast else "replayed")
        return ours, was_fast


def document() -> dict[str, Any]:
    openapi = schemas.load(schemas.OPENAPI)
    openapi["paths"].update(PATHS)
    return openapi


@pytest.fixture(scope="module")
async def pair(container: Container, settings: Settings) -> Any:
    without = Container(settings.model_copy(update={"rest_fast_path": False}))
    container_on = Container(settings.model_copy(update={"rest_fast_path": True}))
    compiled, stock = rest.build(container_on, document()), rest.build(without, document())
    async with without.lifespan(None), container_on.lifespan(None):
        count = container_on.metrics.count_request
        await exchange(compiled, Request("GET", "/health"))  # Connexion makes its stack now
        [fast] = [each for each in compiled.middleware.middleware_stack if isinstance(each, FastPath)]
        yield Pair(fast, middleware.wrap(compiled, settings, count), middleware.wrap(stock, settings, count))


@pytest.fixture
async def token(make_learner: MakeLearner) -> bytes:
    return (await make_learner()).access_token.encode()


JSON = (b"content-type", b"application/json")


def bearer(token: bytes) -> Header:
    return b"authorization", b"Bearer " + token


def credentials(**changes: Any) -> bytes:
    body = {"email": "ada@example.com", "password": PASSWORD, "deviceId": "phone", "platform": "ios", **changes}
    return json.dumps({name: value for name, value in body.items() if value is not ...}).encode()


# --- Tests --------------------------------------------------------------------------------------------


@pytest.mark.rest_paths
def test_app_uses_the_path_of_this_run(container: Container) -> None:
    """`make test-connexion` would show nothing if the fast path answered all the same."""
    wanted = os.environ.get("REST_FAST_PATH", "true") == "true"
    app = rest.build(container, schemas.load(schemas.OPENAPI))
    assert (FastPath in app.middleware.middlewares) is wanted


async def test_plain_requests_do_not_reach_connexion(pair: Pair, token: bytes) -> None:
    signed_in = [bearer(token)]
    for request, status in [
        (Request("GET", "/health"), 200),
        (Request("HEAD", "/health"), 200),
        (Request("GET", "/.well-known/jwks.json"), 200),
        (Request("GET", "/users/me", signed_in), 200),
        (Request("HEAD", "/users/me", signed_in), 200),
        (Request("PATCH", "/users/me", [*signed_in, JSON], b'{"bio": "Hello"}'), 200),
        (Request("PATCH", "/users/me", [*signed_in, JSON], '{"bio": "Olá, señor 👋"}'.encode()), 200),
        (Request("PATCH", "/users/me", [*signed_in, JSON], rb'{"bio": "Ol\u00e1"}'), 200),
        (Request("PATCH", "/users/me", [*signed_in, JSON], [b'{"bio":', b"", b' "Hello"}']), 200),
        (Request("PATCH", "/users/me", [*signed_in, JSON], b'{"timezone": "Not/There"}'), 400),
        (Request("GET", "/sessions", signed_in), 200),
        (Request("GET", "/sessions?limit=3", signed_in), 200),
        (Request("GET", "/sessions?limit=%33", signed_in), 200),
        (Request("GET", "/sessions?cursor=abc", signed_in), 400),
        (Request("GET", "/sessions/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", signed_in), 404),
        (Request("GET", "/sessions/%37f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", signed_in), 404),
        (Request("POST", "/auth/login", [JSON], credentials(email="nobody@example.com")), 401),
        (Request("GET", "/test/search?count=3&flag=true"), 200),
        (Request("GET", "/test/search?limit=5&word=a+b&flag=false&count=0"), 200),
        (Request("DELETE", "/test/ada/nothing", signed_in), 204),
        (Request("DELETE", "/test/ada/nothing", [*signed_in, JSON]), 204),
        (Request("GET", "/test/fail/named"), 409),
        (Request("GET", "/test/fail/slow"), 429),
        (Request("GET", "/test/fail/bug"), 500),
        (Request("POST", "/test/maybe", [JSON], b'{"word": "x"}'), 200),
        (Request("GET", "/health", client=None), 200),
    ]:
        answer, was_fast = await pair.same(request)
        assert (answer.status, was_fast) == (status, True), request


async def test_refusals_are_answered_by_connexion(pair: Pair, token: bytes) -> None:
    signed_in = [bearer(token)]
    for request, status in [
        (Request("GET", "/nowhere"), 404),
        (Request("GET", "/health/"), 404),
        (Request("GET", "//health"), 404),
        (Request("POST", "/health"), 405),
        (Request("OPTIONS", "/health"), 405),
        (Request("GET", "/health?x=1"), 400),
        (Request("GET", "/users/me"), 401),
        (Request("GET", "/users/me", [bearer(b"forged")]), 401),
        (Request("GET", "/users/me", [bearer(token[:-2])]), 401),
        (Request("GET", "/users/me", [(b"authorization", b"Basic " + token)]), 401),
        (Request("GET", "/users/me", [bearer(b"forged"), *signed_in]), 401),
        (Request("PUT", "/test/ada/nothing", signed_in), 403),
        (Request("GET", "/sessions?limit=0", signed_in), 400),
        (Request("GET", "/sessions?limit=", signed_in), 400),
        (Request("GET", "/sessions?cursor=%00", signed_in), 400),
        (Request("GET", "/sessions?limit=3&limit=4", signed_in), 400),
        (Request("GET", "/sessions?limit=%2B3", signed_in), 400),
        (Request("GET", "/sessions?limit=1_0", signed_in), 400),
        (Request("GET", "/sessions?limit=%D9%A3", signed_in), 400),
        (Request("GET", "/sessions/not-an-id", signed_in), 400),
        (Request("GET", "/sessions/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0%0A", signed_in), 404),
        (Request("GET", "/test/search?flag=true"), 400),
        (Request("DELETE", "/test/longer/nothing", signed_in), 400),
        (Request("POST", "/auth/login", [JSON]), 400),
        (Request("POST", "/auth/login", [], credentials()), 415),
        (Request("POST", "/auth/login", [(b"content-type", b"text/plain")], credentials()), 415),
        (Request("POST", "/auth/login", [JSON], credentials()[:-1]), 400),
        (Request("POST", "/auth/login", [JSON], credentials(platform="dos")), 400),
        (Request("POST", "/auth/login", [JSON], credentials(extra=1)), 400),
        (Request("POST", "/auth/login", [JSON], credentials(email=...)), 400),
        (Request("POST", "/auth/login", [JSON], credentials(), breaks_off=True), 400),
        (Request("POST", "/auth/login", [JSON], [credentials(), b""], breaks_off=True), 400),
        (Request("POST", "/auth/login", [JSON], credentials(password="x" * 70_000)), 413),
        (Request("POST", "/auth/login", [JSON], credentials(password="x" * 70_000), declared=False), 413),
        (Request("PATCH", "/users/me", [*signed_in, JSON], rb'{"bio": "\u0000"}'), 400),
        (Request("PATCH", "/users/me", [*signed_in, JSON], rb'{"bio": "\ud800"}'), 400),
        (Request("PATCH", "/users/me", [*signed_in, JSON], b'{"bio": "\xff"}'), 400),
        (Request("PATCH", "/users/me", [*signed_in, JSON], b"null"), 400),
        (Request("PATCH", "/users/me", [*signed_in, JSON], b"[" * 2000), 400),
    ]:
        answer, was_fast = await pair.same(request)
        assert (answer.status, was_fast) == (status, False), request


async def test_unusual_requests_are_answered_alike(pair: Pair, token: bytes) -> None:
    signed_in = [bearer(token)]
    for request, status in [
        (Request("GET", "/users/me", [(b"authorization", b"Bearer  " + token)]), 200),
        (Request("PATCH", "/users/me", [*signed_in, (b"content-type", b"Application/JSON ;")], b'{"bio": "Hi"}'), 200),
        (Request("GET", "/test/search?count=-3&flag=TRUE"), 200),
        (Request("GET", "/test/listed?tags=a,b"), 200),
        (Request("DELETE", "/test/%C3%A9/nothing", signed_in), 204),
        (Request("PATCH", "/users/me", [*signed_in, JSON], b'{"bio": "Hello"}', declared=False), 200),
        (Request("POST", "/test/maybe"), 200),
        (Request("POST", "/test/form", [(b"content-type", b"application/x-www-form-urlencoded")], b"word=a"), 200),
    ]:
        answer, was_fast = await pair.same(request)
        assert (answer.status, was_fast) == (status, False), request
    for headers in ([(b"authorization", b"bearer " + token)], [*signed_in, bearer(b"forged")]):
        assert (await pair.same(Request("GET", "/users/me", headers)))[0].status == 200


async def test_random_requests_are_answered_alike(pair: Pair, token: bytes) -> None:
    dice = random.Random(20260314)
    paths = {*PATHS, *UNCHANGING} - {"/test/limited"}
    operations = [each for each in definitions(document()).values() if each["path"] in paths]
    segments = ["7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", "ada", "named", "a%2Fb", "%0A", "%00", "", "%", "é", "{name}"]
    queries = [
        *("limit=1", "limit=x", "limit=2&limit=3", "cursor=abc", "cursor=", "count=1&flag=true", "flag=maybe"),
        *("word=%C3%BC", "a%00=1", "=", "&&", "limit[x]=1", "tags=a&tags=b", "limit", ";", "count=9223372036854775808"),
    ]
    tokens = [*[[bearer(token)]] * 4, [], [bearer(b"x.y.z")], [(b"authorization", b"Bearer")]]
    types = [
        *(b"application/json", b"application/json", b"application/json; charset=utf-8", b"APPLICATION/JSON"),
        *(
            b"application/json; charset=latin-1",
            b"text/plain",
            b"multipart/form-data",
            b"",
            b"/",
            b"application/x+json",
        ),
    ]
    bodies = [
        *(b"", b"{}", b"null", b"[]", b"{", b"\xff", b'{"word": "x"}', b'{"word": 1}', b'{"word": "x", "word": 2}'),
        *(b'{"bio": "x"}', b'{"bio": null}', b'{"bio": 1e999}', credentials(), credentials(extra=None)),
    ]
    fast = 0
    for _ in range(1500):
        operation = dice.choice(operations)
        target = re.sub("{.*?}", lambda _: dice.choice(segments), operation["path"])
        if dice.random() < 0.4:
            target += "?" + "&".join(dice.sample(queries, dice.randint(1, 2)))
        whole = dice.choice(bodies)
        cut = dice.randrange(len(whole) + 1) if dice.random() < 0.3 else 0
        headers = list(dice.choice(tokens))
        if dice.random() < 0.7:
            headers.append((b"content-type", dice.choice(types)))
        request = Request(
            dice.choice([*[operation["method"].upper()] * 12, "HEAD", "GET", "POST", "DELETE", "TRACE"]),
            target,
            headers,
            [whole[:cut], whole[cut:]] if cut else whole,
            declared=dice.random() < 0.8,
            breaks_off=dice.random() < 0.05,
            client=(address(), 1),
        )
        fast += (await pair.same(request))[1]
    assert 100 < fast < 1400


async def test_limit_counts_each_request_once(pair: Pair) -> None:
    statuses = []
    for _ in range(3):
        request = Request("GET", "/test/limited", client=("198.51.100.7", 1))
        # A request that is not plain is counted by the one who answers it.
        statuses.append((await exchange(pair.compiled, request)).status)
    assert statuses == [200, 200, 429]
    replayed = Request("GET", "/test/limited", [(b"content-type", b"text/plain")], client=("198.51.100.8", 1))
    assert [(await exchange(pair.compiled, replayed)).status for _ in range(3)] == [200, 200, 429]


async def test_invalid_response_is_an_internal_error_in_tests(pair: Pair) -> None:
    answer, was_fast = await pair.same(Request("GET", "/test/wrong"))
    assert (answer.status, was_fast) == (500, True)


async def test_registration_is_answered_alike(pair: Pair) -> None:
    for platform in ("ios", "web"):
        answers = []
        for app in (pair.compiled, pair.stock):
            name = f"{random.randrange(16**12):x}@example.com"
            request = Request("POST", "/auth/register", [JSON], credentials(email=name, platform=platform))
            request.client = (address(), 1)
            answer = await exchange(app, request)
            answer.body = answer.body.replace(name.encode(), b"<email>")
            answer.headers["set-cookie"] = re.sub("=[^;]+", "=<token>", answer.headers.get("set-cookie", ""), count=1)
            answers.append(seen(answer))
        assert answers[0] == answers[1]
        assert answers[0][0] == 201


async def test_plain_operations_alone_are_compiled(pair: Pair) -> None:
    operations = definitions(document())
    left = operations.keys() - pair.fast.answered.keys()
    # They take a header, `Idempotency-Key`, whose length has a rule.
    idempotent = {name for name, operation in operations.items() if operation.get("x-idempotent")}
    paying = {"createCheckoutSession", "enroll", "refundOrder"}
    assert idempotent == {*paying, "createReport", "createSanction", "proposeAppointment"}
    forms = {"uploadAvatar", "uploadThumbnail", "uploadAttachment"}
    # They take other bytes than JSON, or tus's headers.
    uploads = {"uploadVideo", "createUpload", "getUpload", "continueUpload", "deleteUpload"}
    assert left == {*forms, *uploads, "form", "listed", *idempotent}


def test_path_that_hides_another_stops_the_start(settings: Settings) -> None:
    openapi = document()
    openapi["paths"]["/test/fail/often"] = {"get": _operation("limited_again")}
    with pytest.raises(ContractError, match="/test/fail/often"):
        rest.build(Container(settings.model_copy(update={"rest_fast_path": True})), openapi)
