"""Push notifications through the HTTP v1 API of Firebase Cloud Messaging."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import logging
import math
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import google.auth.exceptions
import google.auth.transport.requests
import httpx
from google.oauth2 import service_account

import errors
import texts
from adapters.ports import Push
from instants import utc_now
from settings import Settings

log = logging.getLogger("parlance.push")

#: Seconds that FCM has to answer, and Google's token endpoint before it.
TIMEOUT = 5
#: Seconds to wait after a 429 that does not say how long, by FCM's documentation; and the longest that is believed.
QUOTA_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 60, 60 * 60
#: Bytes that FCM takes of a message.
MAX_BYTES = 4096
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"

Message = dict[str, Any]


class AccountRefused(errors.Refused):
    """Google does not take the account's key; the message says why."""


class _Account:
    """Service account of a Firebase project, and the access token that it was given last."""

    def __init__(self, settings: Settings) -> None:
        """Raise ValueError for a private key that cannot be read."""
        assert settings.firebase_private_key is not None
        account = {
            "type": "service_account",
            "project_id": settings.firebase_project_id,
            "client_email": settings.firebase_client_email,
            "private_key": settings.firebase_private_key.get_secret_value(),
            "token_uri": settings.firebase_token_url,
        }
        self._credentials: Any = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            account, scopes=[_SCOPE]
        )
        self._refreshing: asyncio.Task[None] | None = None

    async def access_token(self, *, instead_of: str | None = None) -> str:
        """Return a token that FCM takes, which is not `instead_of`; raise AccountRefused or Unavailable."""
        if not self._credentials.valid or self._credentials.token == instead_of:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh())
            await asyncio.shield(self._refreshing)  # one for all who wait, who also fail together
        return str(self._credentials.token)

    async def _refresh(self) -> None:
        request = functools.partial(google.auth.transport.requests.Request(), timeout=TIMEOUT)
        try:
            await asyncio.to_thread(self._credentials.refresh, request)  # once an hour
        except google.auth.exceptions.GoogleAuthError as error:
            if isinstance(error, google.auth.exceptions.RefreshError) and not error.retryable:
                raise AccountRefused(f"Google refuses the account: {error.args[0]}") from None
            raise errors.Unavailable(type(error).__name__) from None


async def try_account(settings: Settings) -> None:
    """Get an access token, as pushes do; raise AccountRefused, ValueError for a bad key, or Unavailable."""
    await _Account(settings).access_token()


class FcmSender:
    """Sender of pushes; what goes wrong is tried again by the job that asked for it, never here."""

    def __init__(self, settings: Settings) -> None:
        self._account = _Account(settings)
        self._url = f"{settings.firebase_api_url}/v1/projects/{settings.firebase_project_id}/messages:send"
        self._http = httpx.AsyncClient(timeout=TIMEOUT)

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
            # A token of another project will never be ours: the app registers the one that is.
            return "unregistered"
        if code == "INVALID_ARGUMENT":
            # Without FCM's words, which may quote the token.
            log.error("push_refused push_id=%s code=%s", push.id, code)
            return "refused"
        raise errors.Unavailable(f"FCM answers {response.status_code} {code}", retry_after=_retry_after(response))

    async def _post(self, message: Message) -> httpx.Response:
        access_token = await self._account.access_token()
        response = await self._post_with(access_token, message)
        if response.status_code == 401:  # revoked before its time
            response = await self._post_with(await self._account.access_token(instead_of=access_token), message)
        return response

    async def _post_with(self, access_token: str, message: Message) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return await self._http.post(self._url, json={"message": message}, headers=headers)

    async def close(self) -> None:
        await self._http.aclose()


def _fitting_message(token: str, push: Push) -> Message:
    """Return a message that FCM takes; first its body is shortened, then its title, never its data."""
    message = _message(token, push)
    for field in ("body", "title"):
        if _size(message) <= MAX_BYTES:
            break
        text: str = getattr(push, field)
        # Searched for: each text stands twice in a message, where some characters take more bytes than in UTF-8.
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
    """Bytes of UTF-8 of a message's JSON, which is no less than what FCM counts."""
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
        # A repeat takes the place of the first.
        "android": {"priority": "high", "ttl": f"{seconds}s", "notification": {"tag": push.id}},
        "apns": {"headers": {"apns-priority": "10", "apns-expiration": str(expires_at), "apns-collapse-id": push.id}},
        "webpush": {
            "headers": {"TTL": str(seconds), "Urgency": "high"},
            "notification": {**shown, "tag": push.id},
        },
    }


def _error_code(response: httpx.Response) -> str | None:
    """FCM's code of an error, else Google's, such as UNREGISTERED or UNAVAILABLE; None where the body has neither."""
    try:
        error = response.json()["error"]
        details = [each["errorCode"] for each in error.get("details", ()) if each.get("@type") == _FCM_ERROR]
        return str(details[0] if details else error["status"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _retry_after(response: httpx.Response) -> int | None:
    """Seconds until FCM wants to be asked again, where it says."""
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
