"""Accounts: registration, ways to log in, passwords, e-mail addresses, profiles, data export and deletion."""

from models import (
    AccountDeletionToken,
    EmailChange,
    EmailCode,
    EmailVerificationToken,
    LinkedIdentity,
    Passkey,
    PasswordResetToken,
    Profile,
    RecoveryCode,
    RefreshToken,
    SecondFactor,
    SpentToken,
    User,
)

TAGS = ("auth", "identities", "passkeys", "account", "users")
EVENTS: tuple[str, ...] = ()
MODELS = (
    AccountDeletionToken,
    EmailChange,
    EmailCode,
    EmailVerificationToken,
    LinkedIdentity,
    Passkey,
    PasswordResetToken,
    Profile,
    RecoveryCode,
    RefreshToken,
    SecondFactor,
    SpentToken,
    User,
)
JOBS = (
    "auth.send_deletion_link",
    "auth.send_email_change",
    "auth.send_email_code",
    "auth.send_password_reset",
    "auth.send_security_notice",
    "auth.send_verification",
    "identities.exchange_code",
    "identities.revoke_grant",
    "sign_ins.forget_expired",
)
