"""Errors of the product: one class each, with its status, code and title.

    Refused                                  for operators, never sent to a client
    └── SettingsError, KeyFileError, ContractError, ...         in the modules that raise them
    ProductError
    ├── RequestInvalid, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, NotAcceptable,
    │   RequestTimeout, PayloadTooLarge, UriTooLong, UnsupportedMediaType, HeadersTooLarge, RateLimited,
    │   Unavailable, Internal
    ├── EmailTaken, InvalidCredentials, AccountBanned, RefreshTokenInvalid, RefreshTokenReused,
    │   TokenInvalid, PasswordTooCommon, LastAdmin, SecondFactorRequired, SecondFactorInvalid    accounts
    │   TokenInvalid, PasswordTooCommon, LastAdmin                        accounts
    ├── GateClosed: AgeRequired, TooYoung, TermsRequired, EmailUnverified
    │                                                                 gates, also of Socket.IO events
    ├── UsernameTaken                                                     profiles
    │   TokenInvalid, PasswordTooCommon, LastAdmin                        accounts
    ├── UsernameTaken, TextRefused, PictureRefused                        profiles
    ├── AlreadyRated, CallNotEnded, AlreadyReported                    history and safety
    ├── EmailTaken, InvalidCredentials, AccountBanned, AccountSuspended, RefreshTokenInvalid,
    │   RefreshTokenReused, TokenInvalid, PasswordTooCommon, LastAdmin    accounts
    ├── UsernameTaken                                                     profiles
    ├── AlreadyRated, CallNotEnded, AlreadyReported, AlreadySanctioned, SanctionLifted,
    │   AlreadyAppealed, AppealClosed, PictureNotWaiting                  history and safety
    ├── TooManyPartners, TooManyAppointments, AppointmentClosed           people one knows
    ├── CourseIsFree, AlreadyEnrolled, PaymentPending, SignatureInvalid, PaymentRefused,
    │   OrderNotRefundable, RefundPending, RefundTooLarge                  payments
    ├── NotEnrolled, CourseInUse, SlugTaken, LessonsDiffer, VideoNotReady,
    │   UploadOffsetDiffers, UploadVersionUnsupported                      courses
    ├── IdempotencyKeyReused, IdempotencyInFlight                         repeats
    └── SocketError: Banned, PairingOnHold, ProfileIncomplete, ...        calls (the socket's `error` event)

A REST response carries `status`, `code`, `title` and `detail` (RFC 9457); the socket carries `code` and
`detail` as `{code, message}`. `openapi.yaml` and `asyncapi.yaml` list the codes; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Refused(Exception):
    """A command of an operator that cannot be done; the message says why and what to do. Never sent to a client."""


class ProductError(Exception):
    """An error with a code. `detail` is about this request; it defaults to the title."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The server failed to handle the request."

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        #: Seconds, sent as Retry-After.
        self.retry_after = retry_after
        #: Whether a refusal with 401 counts for limits of failures: a secret could have been guessed.
        self.is_guess = True
        #: Further headers of a REST response.
        self.headers: dict[str, str] = {}
        #: Further members of the problem (RFC 9457, 3.2), or data of a refused handshake.
        self.members: Mapping[str, object] = {}


def _describe_duration(seconds: int) -> str:
    """Write a duration in its largest unit, rounded up."""
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
    title = "A valid access token is required; log in or refresh the token."

    def __init__(self, detail: str | None = None, *, is_token_sent: bool = True) -> None:
        super().__init__(detail)
        #: Whether the request had a token, which is then invalid (RFC 6750, 3.1).
        self.is_token_sent = is_token_sent


class Forbidden(ProductError):
    status = 403
    code = "forbidden"
    title = "This account is not allowed to do this."


class NotFound(ProductError):
    status = 404
    code = "not_found"
    title = "The resource does not exist, or this account may not see it."


class MethodNotAllowed(ProductError):
    status = 405
    code = "method_not_allowed"
    title = "The method is not allowed for this URL; the header Allow lists those that are."


class NotAcceptable(ProductError):
    status = 406
    code = "not_acceptable"
    title = "No media type in the header Accept is available."


class RequestTimeout(ProductError):
    status = 408
    code = "request_timeout"
    title = "The request did not arrive in time; send it again."


class PayloadTooLarge(ProductError):
    status = 413
    code = "payload_too_large"
    title = "The body is too large."


class UnsupportedMediaType(ProductError):
    status = 415
    code = "unsupported_media_type"
    title = "The content type of the body is not supported by this URL."


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
    title = "The URL is too long."


class HeadersTooLarge(ProductError):
    status = 431
    code = "headers_too_large"
    title = "The headers are too large or too many."


class Internal(ProductError):
    pass


class Unavailable(ProductError):
    status = 503
    code = "unavailable"
    title = "A service that the server depends on is unavailable; try again shortly."

    def __init__(self, detail: str | None = None, *, retry_after: int | None = 2) -> None:
        super().__init__(detail, retry_after=retry_after)


# --- Accounts ---------------------------------------------------------------------------------


class EmailTaken(ProductError):
    status = 409
    code = "email_taken"
    title = "An account with this e-mail address exists; log in, or reset its password."


class InvalidCredentials(ProductError):
    status = 401
    code = "invalid_credentials"
    title = "The e-mail address or the password is wrong."


class AccountBanned(ProductError):
    status = 403
    code = "account_banned"
    title = "This account is banned."

    def __init__(self, detail: str | None = None, *, notice: object = None) -> None:
        super().__init__(detail)
        #: The sanction in force, as services describe it to the learner.
        self.notice = notice


class AccountSuspended(ProductError):
    status = 403
    code = "account_suspended"
    title = "This account is suspended."

    def __init__(self, detail: str | None = None, *, notice: object = None) -> None:
        super().__init__(detail)
        #: The sanction in force, as services describe it to the learner.
        self.notice = notice


class RefreshTokenInvalid(ProductError):
    status = 401
    code = "refresh_token_invalid"
    title = "This refresh token is invalid, expired or revoked; log in again."


class RefreshTokenReused(ProductError):
    status = 401
    code = "refresh_token_reused"
    title = "This refresh token was used before, so its login was ended; log in again."


class TokenInvalid(ProductError):
    status = 400
    code = "token_invalid"
    title = "This link is wrong, expired or already used; request a new one."


class PasswordTooCommon(ProductError):
    status = 400
    code = "password_too_common"
    title = "This password is among the most common ones, which are guessed first; choose another."


# --- Ways to log in -----------------------------------------------------------------------------


class IdTokenInvalid(ProductError):
    status = 401
    code = "id_token_invalid"
    title = "The ID token is wrong, expired, already used or of another app; get a new one from the provider."


class CodeInvalid(ProductError):
    status = 401
    code = "code_invalid"
    title = "The code is wrong, expired, already used or was tried too often; request a new one."

    def __init__(self, detail: str | None = None, *, is_guess: bool = True) -> None:
        super().__init__(detail)
        self.is_guess = is_guess


class PasskeyInvalid(ProductError):
    status = 401
    code = "passkey_invalid"
    title = "This passkey is not known here, or its answer is wrong or too late; try again or log in another way."


class AuthorizationFailed(ProductError):
    status = 400
    code = "authorization_failed"
    title = "The login at the provider was not completed; begin it again."


class EmailMissing(ProductError):
    status = 400
    code = "email_missing"
    title = "The provider shares no e-mail address, which an account needs; allow it to, or sign up another way."


class PasswordRequired(ProductError):
    status = 409
    code = "password_required"
    title = "An account with this e-mail address exists; send its password too, or log in another way and link it."


class IdentityTaken(ProductError):
    status = 409
    code = "identity_taken"
    title = "This identity is linked to another account."


class LastLoginMethod(ProductError):
    status = 409
    code = "last_login_method"
    title = "This is the account's last way to log in; add another or verify the e-mail address first."


class TooManyLoginMethods(ProductError):
    status = 409
    code = "too_many_login_methods"
    title = "The account has as many passkeys or identities as it may have; remove one first."


class LastAdmin(ProductError):
    status = 409
    code = "last_admin"
    title = "This is the last administrator; promote another account first."


class SecondFactorRequired(ProductError):
    status = 403
    code = "second_factor_required"
    title = "This needs a second factor; send a code to POST /auth/second-factor/proof and repeat the request."


class LoginNeedsSecondFactor(SecondFactorRequired):
    """The same code, where no one is logged in yet."""

    status = 401
    title = "This account has a second factor; send the login again with secondFactorCode."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        self.is_guess = False  # what came before it was right


class SecondFactorInvalid(ProductError):
    status = 403
    code = "second_factor_invalid"
    title = "The code is wrong, expired or already used; enter the next one that the app shows."


# --- Gates: what an account needs before it meets others, in REST and in Socket.IO events ---------


class GateClosed(ProductError):
    """An account may not search for a partner, or write what others read, yet."""

    status = 403


class AgeRequired(GateClosed):
    code = "age_required"
    title = "Enter your date of birth before you practise with others."


class TooYoung(GateClosed):
    code = "too_young"
    title = "This account cannot be used to practise with others; write to support if that is a mistake."


class TermsRequired(GateClosed):
    code = "terms_required"
    title = "Accept the current terms, rules and privacy notice before you practise with others."


class EmailUnverified(GateClosed):
    code = "email_unverified"
    title = "Verify your e-mail address before you practise with others."


# --- Profiles ---------------------------------------------------------------------------------


class UsernameTaken(ProductError):
    status = 409
    code = "username_taken"
    title = "This username is taken; choose another."


class TextRefused(ProductError):
    """Of REST and of events; `detail` names the field, and never the word."""

    status = 400
    code = "text_refused"
    title = "The text has a word that is not allowed here; change it."


class PictureRefused(ProductError):
    status = 400
    code = "picture_refused"
    title = "This picture is not allowed here; choose another."


# --- Calls as history, and safety ---------------------------------------------------------------


class AlreadyRated(ProductError):
    status = 409
    code = "already_rated"
    title = "You have already rated this call."


class CallNotEnded(ProductError):
    status = 409
    code = "call_not_ended"
    title = "The call has not ended."


class AlreadyReported(ProductError):
    status = 409
    code = "already_reported"
    title = "You have already reported this."


class AlreadySanctioned(ProductError):
    status = 409
    code = "already_sanctioned"
    title = "A ban or a suspension of this account is in force; lift it before you issue another."


class SanctionLifted(ProductError):
    status = 409
    code = "sanction_lifted"
    title = "This sanction has already been lifted."


class AlreadyAppealed(ProductError):
    status = 409
    code = "already_appealed"
    title = "An appeal against this sanction was already received; the answer is sent by e-mail."


class AppealClosed(ProductError):
    status = 409
    code = "appeal_closed"
    title = "This appeal has already been decided or closed."


class PictureNotWaiting(ProductError):
    status = 409
    code = "picture_not_waiting"
    title = "This picture no longer waits for review: it is decided, or its owner has replaced or removed it."


# --- Partners and appointments --------------------------------------------------------------------


class TooManyPartners(ProductError):
    status = 409
    code = "too_many_partners"
    title = "You have as many partners, or have asked as many learners, as one may; remove some first."


class TooManyAppointments(ProductError):
    status = 409
    code = "too_many_appointments"
    title = "You have proposed many times to this partner; wait for an answer, or until tomorrow."


class AppointmentExists(ProductError):
    status = 409
    code = "appointment_exists"
    title = "There is another appointment of you two at this time; cancel it first, or propose another time."


class AppointmentClosed(ProductError):
    status = 409
    code = "appointment_closed"
    title = "This appointment has begun, or was answered or cancelled before."


# --- Payments -----------------------------------------------------------------------------------


class CourseIsFree(ProductError):
    status = 409
    code = "course_is_free"
    title = "This course is free; enroll in it without a payment."


class AlreadyEnrolled(ProductError):
    status = 409
    code = "already_enrolled"
    title = "You are already enrolled in this course."


class PaymentPending(ProductError):
    status = 409
    code = "payment_pending"
    title = "A payment for this course is being processed; wait until it has arrived."


class SignatureInvalid(ProductError):
    status = 400
    code = "signature_invalid"
    title = "The signature is missing, wrong or too old."


class PaymentRefused(ProductError):
    status = 502
    code = "payment_refused"
    title = "The payment provider refused the request."


class OrderNotRefundable(ProductError):
    status = 409
    code = "order_not_refundable"
    title = "This order has no payment that can be refunded."


class RefundPending(ProductError):
    status = 409
    code = "refund_pending"
    title = "Another refund of this order is in progress; wait until it has ended."


class RefundTooLarge(ProductError):
    status = 409
    code = "refund_too_large"
    title = "The amount is larger than what is left of the payment."


# --- Courses ------------------------------------------------------------------------------------


class NotEnrolled(ProductError):
    status = 403
    code = "not_enrolled"
    title = "Enroll in the course first."


class CourseInUse(ProductError):
    status = 409
    code = "course_in_use"
    title = "Learners are enrolled in this course or have ordered it; unpublish it instead."


class SlugTaken(ProductError):
    status = 409
    code = "slug_taken"
    title = "Another course has this slug; choose another."


class LessonsDiffer(ProductError):
    status = 409
    code = "lessons_differ"
    title = "The list does not match the lessons of the course; read them again."


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
    title = "This Idempotency-Key was used for another request; send a new one."


class IdempotencyInFlight(ProductError):
    status = 409
    code = "idempotency_in_flight"
    title = "The first request with this Idempotency-Key is still running; try again later."


# --- Calls: errors of Socket.IO events -----------------------------------------------------------


class SocketError(ProductError):
    """An error of Socket.IO events alone; the status is the one of REST for the same case."""

    status = 409


class Banned(SocketError):
    status = 403
    code = "banned"
    title = "This account is banned."


class PairingOnHold(SocketError):
    status = 403
    code = "pairing_on_hold"
    title = "This account is not paired with partners for now."

    @classmethod
    def until(cls, end: str) -> PairingOnHold:
        """Name the end, a time in RFC 3339."""
        return cls(f"This account is not paired with partners until {end}, or until an earlier check by the operators.")


class Resting(SocketError):
    status = 403
    code = "resting"
    title = "This account meets no strangers for some minutes."

    def __init__(self, until: str) -> None:
        """`until` is the end, a time in RFC 3339."""
        super().__init__(f"Several matches were declined, not joined or left early: search again after {until}.")
        self.until = until


class ProfileIncomplete(SocketError):
    code = "profile_incomplete"
    title = "Choose a username and an English level before searching for a partner."


class AlreadySearching(SocketError):
    code = "already_searching"
    title = "This account is already searching for a partner."


class AlreadyInRoom(SocketError):
    code = "already_in_room"
    title = "This account is already in a call."


class AlreadyInviting(SocketError):
    code = "already_inviting"
    title = "Another invitation of this account is open; cancel it first."


class PoolClosed(SocketError):
    status = 403
    code = "pool_closed"
    title = "This platform does not offer meeting these learners."


class InvitationOver(SocketError):
    code = "invitation_over"
    title = "The invitation was answered, cancelled or has expired."


class PartnerUnavailable(SocketError):
    code = "partner_unavailable"
    title = "Your partner cannot be met any more; the invitation is over."


class NotSearching(SocketError):
    code = "not_searching"
    title = "This account is not searching for a partner."


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
    title = "The call has ended."


class BadPayload(SocketError):
    status = 400
    code = "bad_payload"
    title = "The event does not match the contract."


def list_error_classes(root: type[ProductError] = ProductError) -> list[type[ProductError]]:
    """List the error classes that own a code, depth first, without the base classes."""
    found = []
    for child in root.__subclasses__():
        if "code" in child.__dict__ or child is Internal:
            found.append(child)
        found.extend(list_error_classes(child))
    return found


#: Codes of acks and of the `error` event, and codes of REST responses.
SOCKET_CODES = frozenset(
    {e.code for base in (SocketError, GateClosed) for e in list_error_classes(base)}
    | {"rate_limited", "unavailable", "internal", "text_refused", "account_suspended", "not_found", "not_enrolled"}
)
REST_CODES = frozenset(e.code for e in list_error_classes() if not issubclass(e, SocketError))
