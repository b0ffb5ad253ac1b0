"""Owns pushing through Firebase Cloud Messaging, with its SDK, in threads."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import logging
import math
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import firebase_admin
import google.auth.exceptions
import google.auth.transport.requests
from firebase_admin import exceptions, messaging
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter

import errors
import texts
from adapters.ports import Push
from settings import Settings

log = logging.getLogger("parlance.push")

#: Seconds that FCM has to answer, and Google's token endpoint before it.
TIMEOUT = 5
#: Seconds to wait after a 429 that does not say how long, by FCM's documentation; and the longest that is believed.
_QUOTA, _LONGEST = 60, 60 * 60
#: Bytes that FCM takes of a message.
MAX_BYTES = 4096
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class _Account(service_account.Credentials):
    def _is_regional_access_boundary_lookup_required(self) -> bool:
        # Else a thread of the library's own asks a third address where the account may be used from, for no one.
        return False


class AccountRefused(errors.Refused):
    """Google does not take the account's key; the message says why."""


def _account(settings: Settings) -> _Account:
    assert settings.firebase_private_key is not None
    account = {
        "type": "service_account",
        "project_id": settings.firebase_project_id,
        "client_email": settings.firebase_client_email,
        "private_key": settings.firebase_private_key.get_secret_value(),
        "token_uri": settings.firebase_token_url,
    }
    return _Account.from_service_account_info(account, scopes=[_SCOPE])  # type: ignore[no-any-return,no-untyped-call]


async def try_account(settings: Settings) -> None:
    """Get an access token, as pushes do; raise AccountRefused, ValueError for a bad key, or Unavailable."""
    account = _account(settings)
    request = functools.partial(google.auth.transport.requests.Request(), timeout=TIMEOUT)
    try:
        await asyncio.to_thread(account.refresh, request)
    except google.auth.exceptions.GoogleAuthError as error:
        if isinstance(error, google.auth.exceptions.RefreshError) and not error.retryable:
            raise AccountRefused(f"Google refuses the account: {error.args[0]}") from None
        raise errors.Unavailable(type(error).__name__) from None


class FcmSender:
    def __init__(self, settings: Settings) -> None:
        # The SDK keeps its apps by name, for the whole process.
        self._app = firebase_admin.initialize_app(
            _account(settings),
            {"httpTimeout": TIMEOUT, "projectId": settings.firebase_project_id},
            name=f"parlance-{secrets.token_hex(8)}",
        )
        service: Any = messaging._get_messaging_service(self._app)
        service._fcm_url = f"{settings.firebase_api_url}/v1/projects/{settings.firebase_project_id}/messages:send"
        # The SDK's own repeats sleep for as long as Retry-After says, in the thread; here the job is tried again.
        for prefix in (*service._client.session.adapters, f"{settings.firebase_api_url}/"):
            service._client.session.mount(prefix, HTTPAdapter(max_retries=0))

    async def send(self, token: str, push: Push) -> Literal["sent", "unregistered", "refused"]:
        try:
            # Not its async functions: they fetch access tokens on the event loop.
            await asyncio.to_thread(messaging.send, _fitting_message(token, push), app=self._app)
        except (messaging.UnregisteredError, messaging.SenderIdMismatchError):
            # A token of another project will never be ours: the app registers the one that is.
            return "unregistered"
        except exceptions.InvalidArgumentError as error:
            # Without its words, which may quote the token.
            log.error("FCM refuses a push: %s", type(error).__name__)
            return "refused"
        except (exceptions.FirebaseError, google.auth.exceptions.GoogleAuthError) as error:
            raise errors.Unavailable(f"FCM does not answer: {type(error).__name__}", retry_after=_wait(error)) from None
        return "sent"

    async def close(self) -> None:
        # It runs an event loop of its own.
        await asyncio.to_thread(firebase_admin.delete_app, self._app)


def _fitting_message(token: str, push: Push) -> messaging.Message:
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


def _size(message: messaging.Message) -> int:
    """Bytes of UTF-8 of a message's JSON, which is no less than what FCM counts."""
    return len(json.dumps(messaging._MessagingService.encode_message(message), ensure_ascii=False).encode())


def _message(token: str, push: Push) -> messaging.Message:
    expires_at = datetime.now(UTC) + push.lasts
    return messaging.Message(
        token=token,
        notification=messaging.Notification(title=push.title, body=push.body),
        data=dict(push.data),
        # A repeat takes the place of the first.
        android=messaging.AndroidConfig(
            priority="high",
            ttl=push.lasts,
            notification=messaging.AndroidNotification(tag=push.id),
        ),
        apns=messaging.APNSConfig(
            headers={
                "apns-priority": "10",
                "apns-expiration": str(int(expires_at.timestamp())),
                "apns-collapse-id": push.id,
            }
        ),
        webpush=messaging.WebpushConfig(
            headers={"TTL": str(int(push.lasts.total_seconds())), "Urgency": "high"},
            notification=messaging.WebpushNotification(title=push.title, body=push.body, tag=push.id),
        ),
    )


def _wait(error: Exception) -> int | None:
    """Seconds until FCM wants to be asked again, where it says."""
    answer = getattr(error, "http_response", None)
    told = answer.headers.get("Retry-After") if answer is not None else None
    seconds: float | None = None
    if told is not None:
        try:
            seconds = float(told)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                seconds = None
    if seconds is None or not math.isfinite(seconds):
        return _QUOTA if answer is not None and answer.status_code == 429 else None
    return max(1, min(_LONGEST, math.ceil(seconds)))
