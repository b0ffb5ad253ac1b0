"""Push notifications through the HTTP v1 API of Firebase Cloud Messaging."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

import errors
import spans
import texts
from adapters.ports import Push
from adapters.push.google_account import AccountRefused, GoogleAccount
from instants import utc_now
from settings import Settings

log = logging.getLogger("parlance.push")

#: Timeout of FCM in seconds.
TIMEOUT_SECONDS = 5
#: Seconds to wait after a 429 without Retry-After, by FCM's documentation; and the longest accepted wait.
QUOTA_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 60, 60 * 60
#: FCM's limit of a message in bytes.
MAX_BYTES = 4096
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"

Message = dict[str, Any]


async def try_account(settings: Settings) -> None:
    """Get an access token, as pushes do; raise AccountRefused, ValueError for a bad key, or Unavailable."""
    async with httpx.AsyncClient() as http:
        await GoogleAccount(settings, http).access_token()


class FcmSender:
    """Sender of pushes; the job retries failures, not this class."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"{settings.firebase_api_url}/v1/projects/{settings.firebase_project_id}/messages:send"
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS)
        self._account = GoogleAccount(settings, self._http)

    async def send(self, token: str, push: Push) -> Literal["sent", "unregistered", "refused"]:
        message = _fitting_message(token, push)
        try:
            response = await self._post(message)
        except (AccountRefused, errors.Unavailable) as error:  # no access token
            raise errors.Unavailable(f"FCM does not answer: {error}") from None
        except httpx.HTTPError as error:
            raise errors.Unavailable(f"FCM does not answer: {type(error).__name__}") from None
        if response.is_success:
            return "sent"
        code = _error_code(response)
        if code in ("UNREGISTERED", "SENDER_ID_MISMATCH"):
            # A token of another project never becomes valid here: the app registers a new one.
            return "unregistered"
        if code == "INVALID_ARGUMENT":
            # Without FCM's message, which may quote the token.
            log.error("push_refused push_id=%s code=%s", push.id, code)
            return "refused"
        raise errors.Unavailable(f"FCM answers {response.status_code} {code}", retry_after=_retry_after(response))

    async def _post(self, message: Message) -> httpx.Response:
        access_token = await self._account.access_token()
        response = await self._post_with(access_token, message)
        if response.status_code == 401:  # revoked before it expired
            response = await self._post_with(await self._account.access_token(instead_of=access_token), message)
        return response

    async def _post_with(self, access_token: str, message: Message) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        with spans.vendor("fcm", "send") as span:
            response = await self._http.post(self._url, json={"message": message}, headers=headers)
            span.set("http.response.status_code", response.status_code)
        return response

    async def close(self) -> None:
        await self._http.aclose()


def _fitting_message(token: str, push: Push) -> Message:
    """Return a message within FCM's limit: its body is shortened first, then its title, never its data."""
    message = _message(token, push)
    for field in ("body", "title"):
        if _size(message) <= MAX_BYTES:
            break
        text: str = getattr(push, field)
        # By search: each text is in a message twice, with escapes that take more bytes than UTF-8.
        fits, too_long = 0, len(text.encode()) + 1
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            shorter = _with(push, field, texts.shorten(text, middle))
            fits, too_long = (middle, too_long) if _size(_message(token, shorter)) <= MAX_BYTES else (fits, middle)
        push = _with(push, field, texts.shorten(text, fits))
        message = _message(token, push)
    return message


def _with(push: Push, field: str, text: str) -> Push:
    changed: dict[str, Any] = {field: text}
    return dataclasses.replace(push, **changed)


def _size(message: Message) -> int:
    """Return the bytes of a message's JSON, at least as many as FCM counts."""
    return len(json.dumps(message, ensure_ascii=False).encode())


def _message(token: str, push: Push) -> Message:
    """Return the `Message` resource of FCM's HTTP v1 API."""
    seconds = int(push.lasts.total_seconds())
    expires_at = int((utc_now() + push.lasts).timestamp())
    shown = {"title": push.title, "body": push.body}
    return {
        "token": token,
        "notification": shown,
        "data": dict(push.data),
        # A repeat replaces the first.
        "android": {"priority": "high", "ttl": f"{seconds}s", "notification": {"tag": push.id}},
        "apns": {"headers": {"apns-priority": "10", "apns-expiration": str(expires_at), "apns-collapse-id": push.id}},
        "webpush": {
            "headers": {"TTL": str(seconds), "Urgency": "high"},
            "notification": {**shown, "tag": push.id},
        },
    }


def _error_code(response: httpx.Response) -> str | None:
    """Return FCM's error code, else Google's, such as UNREGISTERED or UNAVAILABLE; None without either."""
    try:
        error = response.json()["error"]
        details = [each["errorCode"] for each in error.get("details", ()) if each.get("@type") == _FCM_ERROR]
        return str(details[0] if details else error["status"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _retry_after(response: httpx.Response) -> int | None:
    """Return the seconds of FCM's Retry-After, if any."""
    value = response.headers.get("Retry-After")
    seconds: float | None = None
    if value is not None:
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(value) - utc_now()).total_seconds()
            except (ValueError, TypeError):
                seconds = None
    if seconds is None or not math.isfinite(seconds):
        return QUOTA_WAIT_SECONDS if response.status_code == 429 else None
    return max(1, min(LONGEST_WAIT_SECONDS, math.ceil(seconds)))
