"""Accounts: registration, login, passwords, e-mail addresses, profiles, data export and deletion."""

from models import (
    AccountDeletionToken,
    EmailVerificationToken,
    LinkedIdentity,
    PasswordResetToken,
    Profile,
    RecoveryCode,
    RefreshToken,
    SecondFactor,
    SpentToken,
    User,
)

TAGS = ("auth", "identities", "users")
EVENTS: tuple[str, ...] = ()
MODELS = (
    AccountDeletionToken,
    EmailVerificationToken,
    LinkedIdentity,
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
    "auth.send_password_reset",
    "auth.send_security_notice",
    "auth.send_verification",
    "identities.exchange_code",
    "identities.revoke_grant",
    "sign_ins.forget_expired",
)
