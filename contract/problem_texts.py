"""Texts of the pages about error codes: for each code the usual cause, and what a client does then."""

from __future__ import annotations

from typing import NamedTuple


class ProblemText(NamedTuple):
    cause: str
    remedy: str


TEXTS: dict[str, ProblemText] = {
    # --- Any operation ---
    "request_invalid": ProblemText(
        "A parameter, a header or the body does not match the contract. `detail` names the place and the rule.",
        "Change the request; the same request is refused again. Show `detail` to developers, not to users.",
    ),
    "unauthenticated": ProblemText(
        "No access token was sent, or it has expired, or its login has ended by logout, ban or a new password.",
        "Refresh the tokens with POST /auth/refresh and repeat the request once; if it fails, ask the user to log in.",
    ),
    "forbidden": ProblemText(
        "The account is not allowed to do this: the operation is for other roles, or is refused for this account.",
        "Do not repeat the request. Hide the action from accounts that lack the role.",
    ),
    "not_found": ProblemText(
        "The resource does not exist, was deleted, or belongs to another account.",
        "Read the list again that the id came from. An id of another account is answered in the same way.",
    ),
    "method_not_allowed": ProblemText(
        "The path exists, but not with this method.",
        "Use one of the methods in the header Allow.",
    ),
    "not_acceptable": ProblemText(
        "The header Accept excludes every media type that the operation can send.",
        "Send `Accept: application/json`, or no such header.",
    ),
    "request_timeout": ProblemText(
        "The head or the body of the request arrived too slowly.",
        "Repeat the request. Send large files as a resumable upload.",
    ),
    "payload_too_large": ProblemText(
        "The body, or the file in it, has more bytes than the operation accepts. `detail` has the limit.",
        "Send less: reduce the picture, or send the video as a resumable upload within the limit.",
    ),
    "uri_too_long": ProblemText(
        "The path and the query together are longer than 8 KB.",
        "Shorten the query; a cursor is sent as it was received.",
    ),
    "unsupported_media_type": ProblemText(
        "The operation does not take the Content-Type of the body, or the type that the bytes of the file have.",
        "Send JSON as `application/json`. Convert the file to a type that `detail` names.",
    ),
    "headers_too_large": ProblemText(
        "The head of the request has more than 16 KB or more than 100 lines.",
        "Send fewer headers and cookies.",
    ),
    "rate_limited": ProblemText(
        "The address or the account has sent more requests, or the socket more events, than the limit allows.",
        "Wait for the seconds in Retry-After, then repeat. RateLimit of each response has the number that is left.",
    ),
    "internal": ProblemText(
        "The server failed in a way that it does not expect. Its log has the reason under the id in X-Request-Id.",
        "Repeat the request later, with an Idempotency-Key where the operation takes one. Report the request id.",
    ),
    "unavailable": ProblemText(
        "A service that the server depends on does not answer, or the server has too much work.",
        "Wait for the seconds in Retry-After, then repeat the same request, each time after a longer pause.",
    ),
    # --- Accounts ---
    "email_taken": ProblemText(
        "Another account has this e-mail address. Upper and lower case make no difference.",
        "Offer to log in, or to reset the password.",
    ),
    "invalid_credentials": ProblemText(
        "The e-mail address has no account, or the password is wrong; the response does not say which.",
        "Ask for both again. Failed logins count against the rate limit of the account.",
    ),
    "account_banned": ProblemText(
        "An administrator has banned the account. The password was correct.",
        "Show the reason and the appeal of `sanction` to the user. Each login is refused until the ban is lifted.",
    ),
    "account_suspended": ProblemText(
        "An administrator has suspended the account for a time, which `sanction` of the login's response states.",
        "Show the reason, the end and the appeal of `sanction` to the user. A login works again after the end.",
    ),
    "refresh_token_invalid": ProblemText(
        "The refresh token is unknown, has expired, or its login was revoked.",
        "Delete the stored tokens and ask the user to log in.",
    ),
    "refresh_token_reused": ProblemText(
        "A refresh token was sent after the token that replaced it was used. It may be stolen, so the login was ended.",
        "Delete the stored tokens and ask the user to log in. Store each new refresh token before the next request.",
    ),
    "token_invalid": ProblemText(
        "The token of the link in an e-mail is wrong, has expired, or was used already.",
        "Offer to send another e-mail.",
    ),
    "password_too_common": ProblemText(
        "The password is on a list of the 10,000 most common passwords.",
        "Ask for another password; a longer one of several words is accepted.",
    ),
    "id_token_invalid": ProblemText(
        "The ID token is malformed, expired, was used before, lacks the nonce, or was issued to an app that is not"
        " among this installation's clients of the platform.",
        "Get a new ID token from the provider's SDK with a new nonce, and send it once. If each one is refused, compare"
        " the app's client id with those that GET /auth/methods lists.",
    ),
    "code_invalid": ProblemText(
        "The code is wrong, older than ten minutes, was used before, was tried five times, or is of another request.",
        "Ask to enter the code of the newest e-mail, or offer to send another.",
    ),
    "passkey_invalid": ProblemText(
        "The passkey is of no account here, was removed, or its answer is wrong, late or was sent before.",
        "Begin again with POST /auth/passkeys/challenge, or offer another way to log in.",
    ),
    "authorization_failed": ProblemText(
        "The login at the provider was cancelled, took longer than ten minutes, or was begun in another browser.",
        "Begin again with POST /auth/authorization, in the browser that completes it.",
    ),
    "email_missing": ProblemText(
        "The identity is new here, and its ID token has no e-mail address.",
        "Ask the user to share the address with the app, or to sign up another way and link the identity then.",
    ),
    "password_required": ProblemText(
        "An account has this e-mail address, and the address is not verified on both sides, so that the identity alone"
        " does not show that the account is its owner's.",
        "Ask for the account's password and send the ID token again with it. Offer a code by e-mail to those who do not"
        " know it; the identity can be linked after the login.",
    ),
    "identity_taken": ProblemText(
        "The identity is linked to another account.",
        "Log in with the identity, and unlink it there or delete that account.",
    ),
    "last_login_method": ProblemText(
        "Without this passkey or identity nobody could log in to the account any more.",
        "Offer to set a password, to add a passkey, or to verify the e-mail address, and then to remove this.",
    ),
    "too_many_login_methods": ProblemText(
        "The account has 20 passkeys, or 10 identities.",
        "Show the list of them, and offer to remove one that is no longer used.",
    ),
    "last_admin": ProblemText(
        "The account is the only administrator, and the service needs one.",
        "Promote another account first, with `parlance admins promote`.",
    ),
    "second_factor_required": ProblemText(
        "The account has a second factor, or needs one, and this login has not proven it, or not recently enough.",
        "At a login, ask for a code and send the login again with `secondFactorCode`. Elsewhere send a code to"
        " POST /auth/second-factor/proof and repeat the request with the new access token; an account without a factor"
        " enrolls one with POST /auth/second-factor first.",
    ),
    "second_factor_invalid": ProblemText(
        "The code of the authenticator app is wrong, older than a minute or was used before, or the recovery code is"
        " wrong or was used before.",
        "Ask for the next code that the app shows. Check the clock of the phone if each code is refused.",
    ),
    "age_required": ProblemText(
        "The account has no age yet, and this needs one.",
        "Ask for the date of birth with a neutral question, and send it with PUT /users/me/age.",
    ),
    "too_young": ProblemText(
        "The learner is below the minimum age of the service, or an older age was declared than the one known before.",
        "Say that the account cannot be used for this, without the age that would be accepted. Do not ask again.",
    ),
    "terms_required": ProblemText(
        "The account has not consented to the current version of each document.",
        "Show the documents that GET /users/me/consents lists, and send POST /users/me/consents for each.",
    ),
    "email_unverified": ProblemText(
        "The e-mail address of the account is not verified.",
        "Ask the user to open the link in the e-mail, and offer to send it again.",
    ),
    "username_taken": ProblemText(
        "Another account has this username. Upper and lower case make no difference.",
        "Ask for another username.",
    ),
    "text_refused": ProblemText(
        "A username, display name, bio or topic has a word of the lists of this deployment, or a name reads like one of"
        " the staff's. `detail` names the field; the word is not repeated.",
        "Show which field it is, and let the user write it differently. A text that was stored before stays.",
    ),
    "picture_refused": ProblemText(
        "The service that screens pictures for this deployment has refused the picture.",
        "Let the user choose another picture; the earlier one stays.",
    ),
    # --- Calls and reports ---
    "already_rated": ProblemText(
        "The user has rated this call before.",
        "Show the rating that is stored, `myRating` of the call.",
    ),
    "call_not_ended": ProblemText(
        "The call is still open, or it never connected; only a call that connected and ended can be rated.",
        "Offer the rating after the event `peer_left`, or after the ack of `end_call`.",
    ),
    "already_reported": ProblemText(
        "The user has reported this call before, or has another pending report of the same learner.",
        "Show that the report is received; GET /reports/mine lists it.",
    ),
    "already_sanctioned": ProblemText(
        "The account is banned, or its suspension has not ended. Two administrators may have acted at the same time.",
        "Read the sanctions of the account, and lift the one in force before another is issued.",
    ),
    "sanction_lifted": ProblemText(
        "Another administrator, or an appeal, has lifted the sanction before.",
        "Read the sanctions of the account again. Nobody has to appeal any more.",
    ),
    "already_appealed": ProblemText(
        "A sanction has one appeal, and this one has been submitted, maybe from another device.",
        "Show its state, which `POST /appeals/sanction` returns; the decision is sent by e-mail.",
    ),
    "appeal_closed": ProblemText(
        "The appeal was decided already, or closed because the sanction was lifted or the account deleted.",
        "Read the appeal again, and show its outcome.",
    ),
    "picture_not_waiting": ProblemText(
        "Another member of staff has decided about the picture, its reports were reviewed, or the learner has replaced"
        " or removed it.",
        "Read the list of pictures again. A new picture that waits is listed with its own address.",
    ),
    "too_many_partners": ProblemText(
        "The user has 200 partners, or has asked 500 learners.",
        "Show the list of partners, so that the user can remove some.",
    ),
    "too_many_appointments": ProblemText(
        "Twenty proposals of the user to this partner are open, or were made in the last 24 hours.",
        "Wait for the partner's answers, or propose again tomorrow.",
    ),
    "appointment_exists": ProblemText(
        "The two have an appointment at this instant, with another duration, note or time zone.",
        "Read the list of appointments again. The user accepts that one, or cancels it and proposes again.",
    ),
    "appointment_closed": ProblemText(
        "The appointment has begun, or the other has cancelled or answered it meanwhile.",
        "Read the list of appointments again, and show their states.",
    ),
    # --- Payments ---
    "course_is_free": ProblemText(
        "The course has no price, so there is nothing to pay.",
        "Enroll the user with POST /courses/{courseId}/enroll.",
    ),
    "already_enrolled": ProblemText(
        "The user is enrolled in the course, by a payment or without one.",
        "Open the course; GET /my/courses lists it.",
    ),
    "payment_pending": ProblemText(
        "An earlier payment of the same user for the course is being processed by the provider, which can take days.",
        "Show the order; it becomes `paid` or `failed`, and the user gets a notification.",
    ),
    "signature_invalid": ProblemText(
        "The signature of a webhook is missing, does not match its bytes, or is older than five minutes.",
        "Compare the webhook secret of the server with that of the provider. Proxies must pass the body unchanged.",
    ),
    "payment_refused": ProblemText(
        "The payment provider refused the request of the server. `detail` has the provider's own reason.",
        "Ask an operator: the amount, the currency or the provider's account is not accepted. A repeat is a new order.",
    ),
    "order_not_refundable": ProblemText(
        "The order was not paid, is refunded already, or is disputed. `detail` has the reason.",
        "Read the order again. A disputed payment is decided by the bank.",
    ),
    "refund_pending": ProblemText(
        "Another refund of the same order has been sent to the provider and is not confirmed yet.",
        "Wait until it has succeeded or failed, then refund the rest.",
    ),
    "refund_too_large": ProblemText(
        "The amount is more than what is left of the payment after earlier refunds.",
        "Send the amount that `detail` names or less, or no amount for all that is left.",
    ),
    # --- Courses ---
    "not_enrolled": ProblemText(
        "The user is not enrolled in the course of the lesson, or of the search.",
        "Offer the course with POST /courses/{courseId}/enroll.",
    ),
    "course_in_use": ProblemText(
        "Learners are enrolled in the course, or have ordered it.",
        "Unpublish the course with PATCH /courses/{courseId}; enrolled learners keep it.",
    ),
    "slug_taken": ProblemText(
        "Another course has this slug.",
        "Choose another slug.",
    ),
    "lessons_differ": ProblemText(
        "The list does not name each lesson of the course once; one may have been added or deleted meanwhile.",
        "Read GET /courses/{courseId}/lessons again and send the order of these.",
    ),
    "video_not_ready": ProblemText(
        "No video was uploaded to the lesson, or none has been transcoded yet.",
        "Show the lesson without a player until `videoStatus` is `ready`.",
    ),
    "upload_offset_differs": ProblemText(
        "Upload-Offset is not the number of bytes that the server has stored, or another request continues the upload.",
        "Send HEAD to the upload, and continue from its Upload-Offset.",
    ),
    "upload_version_unsupported": ProblemText(
        "The header Tus-Resumable is missing, or names a version of the protocol other than 1.0.0.",
        "Send `Tus-Resumable: 1.0.0`.",
    ),
    # --- Repeats ---
    "idempotency_key_reused": ProblemText(
        "The same Idempotency-Key was sent with another body within 24 hours.",
        "Make a new key for each intent of the user, and keep it for repeats of the same request.",
    ),
    "idempotency_in_flight": ProblemText(
        "The first request with this Idempotency-Key has not been answered yet.",
        "Wait for the seconds in Retry-After, then repeat with the same key to get the first response.",
    ),
    # --- Events ---
    "banned": ProblemText(
        "An administrator has banned the account, or it was deleted.",
        "Close the socket and show the reason to the user.",
    ),
    "pairing_on_hold": ProblemText(
        "The account is not paired for at most a day, while the operators check a report that may concern safety.",
        "Show the time in the message. The pause ends then, or earlier after the check; search again afterwards.",
    ),
    "resting": ProblemText(
        "The learner declined, did not join or left within a minute several matches in a short time, and was warned.",
        "Show the time in the event `resting`; search again after it. Partners can still be met. Lost connections never"
        " lead to a rest.",
    ),
    "profile_incomplete": ProblemText(
        "The profile has no username or no English level, which partners are matched by.",
        "Ask for both, send PATCH /users/me, then search again.",
    ),
    "already_searching": ProblemText(
        "The account searches already, on this socket or on another one.",
        "Wait for `match_found`, or send `cancel_search` first.",
    ),
    "already_in_room": ProblemText(
        "The account is in a call that has not ended.",
        "Return to the call with `join_room`, or end it with `end_call`.",
    ),
    "already_inviting": ProblemText(
        "The account invites another partner already, on this socket or on another one.",
        "Send `cancel_invitation` first, or wait until the invitation is over.",
    ),
    "pool_closed": ProblemText(
        "The operators offer other ways to meet on this platform, which is that of the login.",
        "Offer what `pairing` of GET /policy lists for the platform.",
    ),
    "invitation_over": ProblemText(
        "The invitation was answered on this or another device, cancelled by the inviter, or has expired.",
        "Stop showing the invitation; after an acceptance `match_found` has arrived at one of the devices.",
    ),
    "partner_unavailable": ProblemText(
        "The inviter has disconnected, is in another call, or may not be met any more.",
        "Stop showing the invitation; invite the partner later.",
    ),
    "not_searching": ProblemText(
        "The search has ended by a match, by its expiry or by an earlier `cancel_search`.",
        "Show that the search has ended; nothing else is needed.",
    ),
    "not_in_room": ProblemText(
        "The room does not exist, or the account is no participant of it.",
        "Close the call on the screen. `roomId` is the one of the last `match_found`.",
    ),
    "peer_not_ready": ProblemText(
        "The partner has not joined the room yet.",
        "Send the offer after `peer_joined` with role `receiver`.",
    ),
    "bad_role": ProblemText(
        "The receiver has sent an offer, or the caller an answer.",
        "Keep the role of the own `peer_joined`: the caller sends `webrtc_offer`, the receiver `webrtc_answer`.",
    ),
    "room_closed": ProblemText(
        "The call has ended, by a participant, by a lost connection or after two hours.",
        "Close the call on the screen and offer the rating.",
    ),
    "bad_payload": ProblemText(
        "The payload does not match the contract, is binary, or the event does not exist. The message names the rule.",
        "Change the event; the same payload is refused again.",
    ),
}
