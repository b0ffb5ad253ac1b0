"""Every failure the product can name: one class each, with its status, code and title.

    Refused                                  for operators, never on the wire
    └── SettingsError, KeyFileError, ContractError, ...         beside what they are about
    ProductError
    ├── RequestInvalid, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, NotAcceptable,
    │   RequestTimeout, PayloadTooLarge, UriTooLong, UnsupportedMediaType, HeadersTooLarge, RateLimited,
    │   Unavailable, Internal
    ├── EmailTaken, InvalidCredentials, AccountBanned, RefreshTokenInvalid, RefreshTokenReused,
    │   TokenInvalid, PasswordTooCommon, LastAdmin                        accounts
    ├── UsernameTaken                                                     profiles
    ├── AlreadyRated, SessionNotEnded, AlreadyReported                    history and safety
    ├── CourseIsFree, AlreadyEnrolled, PaymentPending, SignatureInvalid, PaymentRefused,
    │   OrderNotRefundable, RefundPending, RefundTooLarge                  payments
    ├── NotEnrolled, CourseInUse, SlugTaken, LessonsDiffer, VideoNotReady,
    │   UploadOffsetDiffers, UploadVersionUnsupported                      courses
    ├── IdempotencyKeyReused, IdempotencyInFlight                         repeats
    └── SocketError: Banned, ProfileIncomplete, AlreadySearching, ...     calls (the socket's `error` event)

A REST answer carries `status`, `code`, `title` and `detail` (RFC 9457); the socket carries `code` and
`detail` as `{code, message}`. `openapi.yaml` and `asyncapi.yaml` list the codes; a test holds them equal.
"""

from __future__ import annotations

from typing import ClassVar


class Refused(Exception):
    """The process cannot do what the operator asks; the message says why and what to do. Never on the wire."""


class ProductError(Exception):
    """A failure with a name. `detail` says what happened to this caller; it defaults to the title."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        #: Seconds, sent as Retry-After.
        self.retry_after = retry_after


def _describe_duration(seconds: int) -> str:
    """Write a span as people say it, never shorter than it is."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{-(-seconds // length)} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


class RequestInvalid(ProductError):
    status = 400
    code = "request_invalid"
    title = "The request does not match the contract."


class Unauthenticated(ProductError):
    status = 401
    code = "unauthenticated"
    title = "A valid access token is needed."

    def __init__(self, detail: str | None = None, *, is_token_sent: bool = True) -> None:
        super().__init__(detail)
        #: Whether there was a token, which is invalid then (RFC 6750, 3.1).
        self.is_token_sent = is_token_sent


class Forbidden(ProductError):
    status = 403
    code = "forbidden"
    title = "This account may not do that."


class NotFound(ProductError):
    status = 404
    code = "not_found"
    title = "There is nothing here."


class MethodNotAllowed(ProductError):
    status = 405
    code = "method_not_allowed"
    title = "This address does not take that method."


class NotAcceptable(ProductError):
    status = 406
    code = "not_acceptable"
    title = "The answer cannot be given in that form."


class RequestTimeout(ProductError):
    status = 408
    code = "request_timeout"
    title = "The request did not come in time."


class PayloadTooLarge(ProductError):
    status = 413
    code = "payload_too_large"
    title = "The body is too large."


class UnsupportedMediaType(ProductError):
    status = 415
    code = "unsupported_media_type"
    title = "The body has a content type that this address does not take."


class RateLimited(ProductError):
    status = 429
    code = "rate_limited"
    title = "Too many requests; wait before the next one."

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        if detail is None and retry_after is not None:
            detail = f"Too many requests; try again in {_describe_duration(retry_after)}."
        super().__init__(detail, retry_after=retry_after)


class UriTooLong(ProductError):
    status = 414
    code = "uri_too_long"
    title = "The address is too long."


class HeadersTooLarge(ProductError):
    status = 431
    code = "headers_too_large"
    title = "The headers are too large or too many."


class Internal(ProductError):
    pass


class Unavailable(ProductError):
    status = 503
    code = "unavailable"
    title = "A service we depend on is away; try again shortly."

    def __init__(self, detail: str | None = None, *, retry_after: int | None = 2) -> None:
        super().__init__(detail, retry_after=retry_after)


# --- Accounts ---------------------------------------------------------------------------------


class EmailTaken(ProductError):
    status = 409
    code = "email_taken"
    title = "An account with this e-mail address exists."


class InvalidCredentials(ProductError):
    status = 401
    code = "invalid_credentials"
    title = "The e-mail address or the password is wrong."


class AccountBanned(ProductError):
    status = 403
    code = "account_banned"
    title = "This account is banned."


class RefreshTokenInvalid(ProductError):
    status = 401
    code = "refresh_token_invalid"
    title = "This refresh token does not work; sign in again."


class RefreshTokenReused(ProductError):
    status = 401
    code = "refresh_token_reused"
    title = "This refresh token was used before; its device is signed out."


class TokenInvalid(ProductError):
    status = 400
    code = "token_invalid"
    title = "This link does not work: it is wrong, too old or already used."


class PasswordTooCommon(ProductError):
    status = 400
    code = "password_too_common"
    title = "This password is among the commonest, which are guessed first; choose another one."


class LastAdmin(ProductError):
    status = 409
    code = "last_admin"
    title = "This is the last administrator."


# --- Profiles ---------------------------------------------------------------------------------


class UsernameTaken(ProductError):
    status = 409
    code = "username_taken"
    title = "This username belongs to somebody else."


# --- Calls as history, and safety ---------------------------------------------------------------


class AlreadyRated(ProductError):
    status = 409
    code = "already_rated"
    title = "You have rated this call."


class SessionNotEnded(ProductError):
    status = 409
    code = "session_not_ended"
    title = "The call has not ended."


class AlreadyReported(ProductError):
    status = 409
    code = "already_reported"
    title = "You have reported this."


# --- Payments -----------------------------------------------------------------------------------


class CourseIsFree(ProductError):
    status = 409
    code = "course_is_free"
    title = "This course costs nothing: enroll in it."


class AlreadyEnrolled(ProductError):
    status = 409
    code = "already_enrolled"
    title = "You are enrolled in this course."


class PaymentPending(ProductError):
    status = 409
    code = "payment_pending"
    title = "A payment for this course is on its way; wait for it to arrive."


class SignatureInvalid(ProductError):
    status = 400
    code = "signature_invalid"
    title = "This was not signed by a payment provider just now."


class PaymentRefused(ProductError):
    status = 502
    code = "payment_refused"
    title = "The payment provider refused this."


class OrderNotRefundable(ProductError):
    status = 409
    code = "order_not_refundable"
    title = "There is no payment to give back."


class RefundPending(ProductError):
    status = 409
    code = "refund_pending"
    title = "Another refund of this order is under way."


class RefundTooLarge(ProductError):
    status = 409
    code = "refund_too_large"
    title = "More than what is left of the payment cannot be given back."


# --- Courses ------------------------------------------------------------------------------------


class NotEnrolled(ProductError):
    status = 403
    code = "not_enrolled"
    title = "Enroll in the course to see this lesson."


class CourseInUse(ProductError):
    status = 409
    code = "course_in_use"
    title = "Learners have taken or ordered this course: unpublish it instead."


class SlugTaken(ProductError):
    status = 409
    code = "slug_taken"
    title = "Another course has this slug."


class LessonsDiffer(ProductError):
    status = 409
    code = "lessons_differ"
    title = "These are not the lessons that the course has now; read them again."


class VideoNotReady(ProductError):
    status = 409
    code = "video_not_ready"
    title = "This lesson has no video to play yet."


class UploadOffsetDiffers(ProductError):
    status = 409
    code = "upload_offset_differs"
    title = "Upload-Offset does not match the stored offset; send HEAD to read it, then resume."


class UploadVersionUnsupported(ProductError):
    status = 412
    code = "upload_version_unsupported"
    title = "Tus-Resumable is missing or not supported; send the version 1.0.0, which Tus-Version names."


# --- Repeats ------------------------------------------------------------------------------------


class IdempotencyKeyReused(ProductError):
    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request."


class IdempotencyInFlight(ProductError):
    status = 409
    code = "idempotency_in_flight"
    title = "The first request with this Idempotency-Key is still running."


# --- Calls: what a socket can be told -----------------------------------------------------------


class SocketError(ProductError):
    """A failure that only the socket door answers with; the status is what REST would say."""

    status = 409


class Banned(SocketError):
    status = 403
    code = "banned"
    title = "This account is banned."


class ProfileIncomplete(SocketError):
    code = "profile_incomplete"
    title = "Choose a username and an English level before looking for a partner."


class AlreadySearching(SocketError):
    code = "already_searching"
    title = "This account is already looking for a partner."


class AlreadyInRoom(SocketError):
    code = "already_in_room"
    title = "This account is already in a call."


class NotSearching(SocketError):
    code = "not_searching"
    title = "This account is not looking for a partner."


class NotInRoom(SocketError):
    status = 404
    code = "not_in_room"
    title = "You are not in that room."


class PeerNotReady(SocketError):
    code = "peer_not_ready"
    title = "Your partner has not joined the room yet."


class BadRole(SocketError):
    code = "bad_role"
    title = "The caller sends the offer and the receiver the answer."


class RoomClosed(SocketError):
    code = "room_closed"
    title = "That call has ended."


class BadPayload(SocketError):
    status = 400
    code = "bad_payload"
    title = "The event does not match the contract."


def list_error_classes(root: type[ProductError] = ProductError) -> list[type[ProductError]]:
    """List the error classes that own a code, depth first, `root`'s namesake base classes left out."""
    found = []
    for child in root.__subclasses__():
        if "code" in child.__dict__ or child is Internal:
            found.append(child)
        found.extend(list_error_classes(child))
    return found


#: Codes that a REST answer carries, and codes that the socket's `error` event and acks carry.
SOCKET_CODES = frozenset(
    {e.code for e in list_error_classes(SocketError)} | {"rate_limited", "unavailable", "internal"}
)
REST_CODES = frozenset(e.code for e in list_error_classes() if not issubclass(e, SocketError))
