"""Pushes to a stand-in of FCM's HTTP v1 API; each kind of failure has its own outcome."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest

import errors
from adapters.ports import Push
from adapters.push.fcm import FcmSender
from adapters.push.google_account import AccountRefused, GoogleAccount
from devtools.stand_ins import StandIns, running
from settings import Settings, SettingsError
from testing.containers import load_settings
from testing.ports import free_port
from testing.time_limits import limit

SEND = "POST */messages:send"


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[StandIns]:
    with running() as found:
        yield found


@pytest.fixture
def account(environment: dict[str, str], stand_ins: StandIns) -> Settings:
    return load_settings({**environment, **stand_ins.fcm.environment})


@pytest.fixture
async def sender(account: Settings, stand_ins: StandIns) -> AsyncIterator[FcmSender]:
    made = FcmSender(account)
    yield made
    await made.close()
    stand_ins.faults.clear()


def a_token() -> str:
    return f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_urlsafe(90)}"


def a_push(**changed: object) -> Push:
    values = {"id": secrets.token_hex(8), "title": "Hello", "body": "There.", "data": {"orderId": "1"}}
    return Push(**{**values, "lasts": timedelta(seconds=90), **changed})  # type: ignore[arg-type]


async def test_push_carries_a_key_that_collapses_repeats(sender: FcmSender, stand_ins: StandIns) -> None:
    token, push = a_token(), a_push()
    assert await sender.send(token, push) == "sent"
    (shown,) = stand_ins.fcm.shown(token)
    assert shown["notification"] == {"title": "Hello", "body": "There."} and shown["data"] == {"orderId": "1"}
    assert shown["android"] == {"priority": "high", "ttl": "90s", "notification": {"tag": push.id}}
    headers = shown["apns"]["headers"]
    assert headers["apns-collapse-id"] == push.id
    assert abs(int(headers["apns-expiration"]) - time.time() - 90) < 60
    assert shown["webpush"]["headers"]["TTL"] == "90" and shown["webpush"]["notification"]["tag"] == push.id


@pytest.mark.parametrize("letter", ["a", "é", "中", '"', "👨\u200d👩\u200d👧\u200d👦"])
async def test_long_push_is_shortened_to_4_kb(letter: str, sender: FcmSender, stand_ins: StandIns) -> None:
    """FCM takes 4096 bytes; the body gives way, between two characters as people see them, ids never."""
    token, data = a_token(), {"orderId": "7f8de2c4", "type": "system", "notificationId": "6c0b4b58"}
    title = letter * (200 // len(letter))
    assert await sender.send(token, a_push(title=title, body=letter * 4000, data=data)) == "sent"
    (shown,) = stand_ins.fcm.shown(token)
    size = len(json.dumps(shown, ensure_ascii=False).encode())
    assert 4096 - 4 * len(letter.encode()) - 8 < size <= 4096
    assert shown["data"] == data and shown["notification"]["title"] == title
    body = shown["notification"]["body"]
    assert body.endswith("…") and set(body.removesuffix("…").split(letter)) == {""}
    assert shown["webpush"]["notification"]["body"] == body


async def test_short_push_is_sent_whole(sender: FcmSender, stand_ins: StandIns) -> None:
    token, body = a_token(), "🙂" * 300
    assert await sender.send(token, a_push(body=body)) == "sent"
    assert stand_ins.fcm.shown(token)[0]["notification"]["body"] == body


async def test_token_of_another_project_is_unregistered(sender: FcmSender, stand_ins: StandIns) -> None:
    token = a_token()
    stand_ins.fcm.mismatch(token)
    assert await sender.send(token, a_push()) == "unregistered"


async def test_one_access_token_serves_many_pushes(sender: FcmSender, stand_ins: StandIns) -> None:
    assert await sender.send(a_token(), a_push()) == "sent"
    before = stand_ins.fcm.tokens_given
    assert await asyncio.gather(*(sender.send(a_token(), a_push()) for _ in range(30))) == ["sent"] * 30
    assert stand_ins.fcm.tokens_given == before


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (httpx.Response(400, json={"error": "invalid_grant", "error_description": "gone"}), "invalid_grant: gone"),
        (httpx.Response(403, text="<h1>Forbidden</h1>"), "403"),
        (httpx.Response(429, json={"error": "rate_limit"}), None),
        (httpx.Response(503, text="busy"), None),
        (httpx.Response(200, json=["no token"]), None),
        (httpx.Response(200, text="<h1>Sign in to this network</h1>"), None),
    ],
)
async def test_token_answers_are_refusals_or_outages(
    account: Settings, answer: httpx.Response, refusal: str | None
) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as http:
        with pytest.raises(AccountRefused if refusal else errors.Unavailable, match=refusal):
            await GoogleAccount(account, http).access_token()


async def test_expired_access_token_is_replaced(account: Settings, stand_ins: StandIns) -> None:
    """Google's tokens last an hour; one is replaced a minute before its end."""
    now = [1000.0]
    async with httpx.AsyncClient(timeout=limit(5)) as http:
        google = GoogleAccount(account, http, clock=lambda: now[0])
        first = await google.access_token()
        now[0] += 3600 - 61
        assert await google.access_token() == first
        now[0] += 1
        assert await google.access_token() != first


async def test_uninstalled_app_is_reported_as_unregistered(sender: FcmSender, stand_ins: StandIns) -> None:
    token = a_token()
    stand_ins.fcm.unregister(token)
    assert await sender.send(token, a_push()) == "unregistered"


@pytest.mark.parametrize(
    ("status", "seconds", "wait"), [(429, 7, 7), (503, 30, 30), (429, 1e9, 3600), (503, 0.2, 1), (500, 1, None)]
)
async def test_busy_fcm_is_retried_after_its_retry_after(
    sender: FcmSender, stand_ins: StandIns, status: int, seconds: float, wait: int | None
) -> None:
    token = a_token()
    assert await sender.send(a_token(), a_push()) == "sent"
    stand_ins.faults.add("refuse", SEND, status=status, seconds=seconds)
    began = time.monotonic()
    with pytest.raises(errors.Unavailable) as refused:
        await sender.send(token, a_push())
    # Neither slept through nor tried again here.
    assert time.monotonic() - began < limit(1) and stand_ins.fcm.shown(token) == []
    assert refused.value.retry_after == wait
    assert token not in str(refused.value)
    assert await sender.send(token, a_push()) == "sent"


async def test_invalid_fcm_request_is_not_retried(
    sender: FcmSender, stand_ins: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    stand_ins.faults.add("refuse", SEND, status=400)
    assert await sender.send(a_token(), a_push()) == "refused"
    assert "code=INVALID_ARGUMENT" in caplog.text


@pytest.mark.parametrize("where", [SEND, "POST /token"])
@pytest.mark.parametrize("kind", ["hang", "cut"])
async def test_fcm_timeout_does_not_block_other_pushes(
    account: Settings, stand_ins: StandIns, kind: str, where: str
) -> None:
    sender = FcmSender(account)
    stand_ins.faults.add(kind, where, times=5)  # type: ignore[arg-type]
    lags: list[float] = [0]

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            lags.append(time.monotonic() - began - 0.01)

    watching = asyncio.create_task(watch())
    began = time.monotonic()
    try:
        sending = (sender.send(a_token(), a_push()) for _ in range(3))
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(each) for each in outcomes] == [errors.Unavailable] * 3
        assert time.monotonic() - began < 10 + limit(2)
        assert max(lags) < limit(0.5)
    finally:
        watching.cancel()
        stand_ins.faults.clear()
        await sender.close()


async def test_unavailable_fcm_is_retried(account: Settings) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for changed in ({"firebase_api_url": nobody}, {"firebase_token_url": f"{nobody}/token"}):
        sender = FcmSender(account.model_copy(update=changed))
        with pytest.raises(errors.Unavailable):
            await sender.send(a_token(), a_push())
        await sender.close()


async def test_tokens_and_keys_are_not_logged(
    account: Settings, stand_ins: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sender = FcmSender(account)
    gone, busy, odd, sent = (a_token() for _ in range(4))
    stand_ins.fcm.unregister(gone)
    await sender.send(gone, a_push())
    for token, status in ((busy, 503), (odd, 400)):
        stand_ins.faults.add("refuse", SEND, status=status)
        try:
            await sender.send(token, a_push())
        except errors.Unavailable as error:
            logging.getLogger("parlance.test").warning("failed", exc_info=error)
    assert await sender.send(sent, a_push()) == "sent"
    await sender.close()
    assert account.firebase_private_key is not None
    secrets_ = [gone, busy, odd, sent, *account.firebase_private_key.get_secret_value().splitlines()[1:-1], "ya29."]
    assert "messages:send" in caplog.text, "the HTTP client's own lines should be here"
    assert [each for each in secrets_ if each in caplog.text] == []


def test_incomplete_fcm_account_stops_the_start(environment: dict[str, str]) -> None:
    half = load_settings({**environment, "FIREBASE_PROJECT_ID": "parlance"})
    with pytest.raises(SettingsError, match="FIREBASE_CLIENT_EMAIL is not set") as lacking:
        half.require_services()
    assert "FIREBASE_PRIVATE_KEY is not set" in str(lacking.value)
    with pytest.raises(SettingsError, match="FIREBASE_PRIVATE_KEY") as wrong:
        load_settings({**environment, "FIREBASE_PRIVATE_KEY": "no key, but a secret"})
    assert "no key, but" not in str(wrong.value)
