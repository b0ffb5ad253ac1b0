"""Invalid input gets an error of the contract: never a 500, never no answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from settings import Settings
from testing.call_history import MakeLearner
from tests.contract.test_rest_contract import assert_problem

pytestmark = pytest.mark.rest_paths

JSON = {"Content-Type": "application/json"}
LOGIN = {"email": "ada@example.com", "password": "correct horse", "deviceId": "d", "platform": "ios"}


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b"{", JSON, 400, "request_invalid", id="broken JSON"),
        pytest.param(b'{"email": "\xff"}', JSON, 400, "request_invalid", id="not UTF-8"),
        pytest.param(b"[" * 5000, JSON, 400, "request_invalid", id="deep nesting"),
        pytest.param(b"", JSON, 400, "request_invalid", id="no body"),
        pytest.param(b"null", JSON, 400, "request_invalid", id="null"),
        pytest.param(b"[]", JSON, 400, "request_invalid", id="an array"),
        pytest.param(b'{"a": NaN}', JSON, 400, "request_invalid", id="NaN"),
        pytest.param(b'{"a": 1e999}', JSON, 400, "request_invalid", id="a number too large"),
        pytest.param(b"x" * 70_000, JSON, 413, "payload_too_large", id="70 kB"),
        pytest.param(json.dumps(LOGIN).encode(), {}, 415, "unsupported_media_type", id="no content type"),
        pytest.param(b"a=b", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", id="text"),
        pytest.param(
            b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", id="a form"
        ),
        pytest.param(b"x", {"Content-Type": "multipart/form-data"}, 415, "unsupported_media_type", id="no boundary"),
    ],
)
async def test_malformed_body_is_refused(
    content: bytes, headers: dict[str, str], status: int, code: str, api: httpx.AsyncClient
) -> None:
    answer = await api.post("/auth/login", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert_problem(answer, code)


@pytest.mark.parametrize(
    "written", ["1.0", "1e0", "-0.0", "0.0", "10E-1", "9e15", "2147483648", "9" * 30, "-1", "true"]
)
async def test_integer_in_other_notation_is_refused(written: str, make_learner: MakeLearner) -> None:
    """A body's integer has no fraction, exponent or sign of zero, and is not beyond what its column stores."""
    learner = await make_learner()
    path = f"/lessons/{uuid.uuid4()}/progress"
    answer = await learner.http.put(path, content=f'{{"watchSeconds": {written}}}', headers=JSON)
    assert answer.status_code == 400, answer.text
    assert_problem(answer, "request_invalid")
    assert "watchSeconds" in answer.json()["detail"]


async def test_minus_zero_is_the_integer_zero(make_learner: MakeLearner) -> None:
    """`-0` is written as an integer, and is the integer 0."""
    learner = await make_learner()
    path = f"/lessons/{uuid.uuid4()}/progress"
    answer = await learner.http.put(path, content='{"watchSeconds": -0}', headers=JSON)
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    "written",
    [
        "1.0",
        "%2B1",
        "%201",
        "1%20",
        "1_0",
        "\uff11",
        "\u0663",
        "1e1",
        "0x1",
        "",
        "-0",
        "01e",
        "9" * 19,
        "9" * 20,
        "9" * 5000,
    ],
)
async def test_integer_parameter_in_other_notation_is_refused(written: str, make_learner: MakeLearner) -> None:
    """A query's integer is ASCII digits alone; Python's `int` takes more."""
    learner = await make_learner()
    answer = await learner.http.get(f"/sessions?limit={written}")
    assert answer.status_code == 400, answer.text
    assert_problem(answer, "request_invalid")


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"email": "not an address"},
        {"email": "a\u0000@example.com"},
        {"email": None},
        {"password": "short"},
        {"password": "x" * 73},
        {"password": 12345678},
        {"deviceId": ""},
        {"deviceId": "with space"},
        {"platform": "windows"},
        {"deviceId": "\ud800"},
    ],
)
async def test_field_against_the_spec_is_refused(change: dict[str, Any], api: httpx.AsyncClient) -> None:
    content = json.dumps({**LOGIN, **change}).encode()
    answer = await api.post("/auth/login", content=content, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert_problem(answer, "request_invalid")


@pytest.mark.parametrize("field", sorted(LOGIN))
async def test_missing_fields_are_named(field: str, api: httpx.AsyncClient) -> None:
    answer = await api.post("/auth/login", json={name: value for name, value in LOGIN.items() if name != field})
    assert_problem(answer, "request_invalid")
    assert f"'{field}'" in answer.json()["detail"]


@pytest.mark.parametrize("rest", [{"token": "a-token"}, {"newPassword": "correct horse"}])
async def test_password_reset_needs_a_token_and_a_password(rest: dict[str, str], api: httpx.AsyncClient) -> None:
    assert_problem(await api.post("/auth/reset-password", json=rest), "request_invalid")


async def test_refusal_does_not_repeat_the_value(api: httpx.AsyncClient) -> None:
    answer = await api.post("/auth/login", json={**LOGIN, "password": "s3cret"})
    assert "password" in answer.text and "s3cret" not in answer.text


async def test_body_without_a_length_is_limited(api: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    answer = await api.post("/auth/login", content=endless(), headers=JSON)
    assert_problem(answer, "payload_too_large")


async def test_body_in_chunks_is_read(api: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(LOGIN).encode():
            yield bytes([byte])

    answer = await api.post("/auth/login", content=pieces(), headers=JSON)
    assert_problem(answer, "invalid_credentials")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=", "limit=1.5", "cursor=", "cursor=%00", "cursor=abc", "foo=1"]
)
async def test_parameter_against_the_spec_is_refused(query: str, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    assert_problem(await ada.http.get(f"/sessions?{query}"), "request_invalid")


@pytest.mark.parametrize(
    "cursor", ["2020-01-01|x", "2020-01-01T00:00:00|7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", "|", ""]
)
async def test_unknown_cursor_is_refused(cursor: str, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    encoded = base64.urlsafe_b64encode(cursor.encode()).rstrip(b"=").decode()
    assert_problem(await ada.http.get("/sessions", params={"cursor": encoded}), "request_invalid")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/sessions/nope", "request_invalid"),
        ("/sessions/%00", "not_found"),
        ("/sessions/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0%0A", "not_found"),
        ("/sessions/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", "not_found"),
        ("/nothing", "not_found"),
        ("/health/", "not_found"),
        ("/health//", "not_found"),
        ("/" + "a" * 4000, "not_found"),
    ],
)
async def test_unknown_path_is_not_found(path: str, code: str, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    assert_problem(await ada.http.get(path), code)


async def test_wrong_method_is_answered_with_allow(api: httpx.AsyncClient) -> None:
    answer = await api.post("/users/me")
    assert_problem(answer, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, PATCH"


async def test_head_is_get_without_a_body(api: httpx.AsyncClient) -> None:
    assert (await api.head("/health")).status_code == 200


@pytest.mark.parametrize("given", ["with space", "x" * 65, "<script>", "\t"])
async def test_request_id_with_unsafe_characters_is_replaced(given: str, api: httpx.AsyncClient) -> None:
    answer = await api.get("/health", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] != given


async def test_request_id_is_kept(api: httpx.AsyncClient) -> None:
    answer = await api.get("/health", headers={"X-Request-Id": "call-17"})
    assert answer.headers["X-Request-Id"] == "call-17"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer a.b.c",
        "Basic YTpi",
        "bearer",
        "Bearer a b",
        "Bearer " + "x" * 9000,
        "\xff",
        "Bearer ü",
    ],
)
async def test_authorization_header_without_a_token_is_refused(header: str, api: httpx.AsyncClient) -> None:
    answer = await api.get("/users/me", headers=[(b"Authorization", header.encode("latin-1"))])
    assert answer.status_code == 401
    assert_problem(answer, "unauthenticated")


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_forged_access_token_is_refused(
    settings: Settings, make_learner: MakeLearner, api: httpx.AsyncClient
) -> None:
    ada = await make_learner(ready=False)
    header_part, claims_part, signature = ada.access_token.split(".")
    header = json.loads(base64.urlsafe_b64decode(header_part + "=="))
    claims = json.loads(base64.urlsafe_b64decode(claims_part + "=="))
    assert set(claims) == {"sub", "email", "role", "sid", "iat", "exp", "iss", "aud"}
    key = RSAKey.import_key(settings.jwt_private_key_path.read_bytes())
    other = RSAKey.generate_key(2048)
    public_pem = Path(settings.jwt_public_key_path).read_bytes()

    def signed(header: dict[str, Any], claims: dict[str, Any], by: RSAKey = key) -> str:
        return jwt.encode(header, claims, by, algorithms=["RS256"])

    def hs256(header: dict[str, Any]) -> str:
        message = f"{_part({**header, 'alg': 'HS256'})}.{claims_part}"
        digest = hmac.new(public_pem, message.encode(), hashlib.sha256).digest()
        return f"{message}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    now = int(time.time())
    forged = {
        "alg none": f"{_part({**header, 'alg': 'none'})}.{claims_part}.",
        "HS256 with the public key": hs256(header),
        "another's signature": signed(header, claims, other),
        "unknown kid": signed({**header, "kid": "key-v99"}, claims),
        "no kid": signed({name: value for name, value in header.items() if name != "kid"}, claims),
        "another typ": signed({**header, "typ": "at+jwt"}, claims),
        "another issuer": signed(header, {**claims, "iss": "https://elsewhere.example"}),
        "another audience": signed(header, {**claims, "aud": "another"}),
        "expired": signed(header, {**claims, "exp": now - 31}),
        "no expiry": signed(header, {name: value for name, value in claims.items() if name != "exp"}),
        "no sid": signed(header, {name: value for name, value in claims.items() if name != "sid"}),
        "a changed claim": f"{header_part}.{_part({**claims, 'role': 'admin'})}.{signature}",
    }
    for name, token in forged.items():
        answer = await api.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, name
    for name, token in {"its own": ada.access_token, "29 s late": signed(header, {**claims, "exp": now - 25})}.items():
        answer = await api.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, name
