"""Every environment variable the product reads, typed.

Import nothing of ours here. `load()` is the only way in: it names each variable that is wrong.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class SettingsError(Exception):
    """A setting is missing or unreadable; the message names each one and what it should be."""


def _duration(value: Any) -> Any:
    """Read `15m`, `30d`, `90s`, `12h` as a timedelta."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)([smhd])", value.strip())
        if not match:
            raise ValueError("should be a number and a unit, such as 90s, 15m, 12h or 30d")
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    return value


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Strings = Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)]


class Settings(BaseSettings):
    """The configuration of one process. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    # Server
    app_env: Literal["development", "test", "production"] = "development"
    port: int = Field(5503, ge=0, le=65535)
    app_url: str = Field("http://localhost:5503", pattern=r"^https?://[^/]+$")
    cors_origins: Strings = []
    trusted_proxies: Strings = ["127.0.0.1"]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Off: connexion answers every request, with the same answers, later.
    rest_fast_path: bool = True

    # Sockets
    #: Off: signaling events go the way of all others, with the same answers, later.
    events_fast_lane: bool = True
    socket_events_per_second: int = Field(30, ge=1)
    socket_event_burst: int = Field(60, ge=1)
    sockets_per_user: int = Field(3, ge=1)
    socket_handshake_timeout: Duration = timedelta(seconds=10)

    # PostgreSQL
    db_host: str | None = None
    db_port: int = Field(5432, ge=1, le=65535)
    db_username: str = "root"
    db_password: SecretStr = SecretStr("root")
    db_name: str = "english_speaking_dev"
    db_pool_size: int = Field(10, ge=1)

    # Redis or Valkey
    redis_host: str | None = None
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_password: SecretStr | None = None

    # Sockets between the workers of a host; a private directory under the temporary one when unset
    bus_directory: Path | None = None

    # Access and refresh tokens
    jwt_private_key_path: Path = Path("./keys/private.pem")
    jwt_public_key_path: Path = Path("./keys/public.pem")
    jwt_access_expiry: Duration = timedelta(minutes=15)
    jwt_refresh_expiry: Duration = timedelta(days=30)
    jwt_key_id: str = Field("key-v1", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    jwt_audience: str = "parlance"
    bcrypt_rounds: int = Field(12, ge=4, le=20)

    # Mail: Resend with a key; without one each mail is a file
    resend_api_key: SecretStr | None = None
    resend_api_url: str = Field("https://api.resend.com", pattern=r"^https?://")
    email_from: str = "Parlance <noreply@localhost>"
    mail_directory: Path = Path("./.parlance/mail")

    # Matchmaking and calls
    search_expiry: Duration = timedelta(minutes=5)
    join_deadline: Duration = timedelta(seconds=20)
    reconnect_grace: Duration = timedelta(seconds=10)

    # Payments: the provider of new orders, and the accounts of both
    payment_provider: Literal["stripe", "razorpay"] = "stripe"
    checkout_expiry: Duration = Field(timedelta(hours=2), ge=timedelta(hours=1), le=timedelta(hours=23))
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_success_url: str = Field("http://localhost:3000/payment/success", pattern=r"^[a-z][a-z0-9+.-]*://")
    stripe_cancel_url: str = Field("http://localhost:3000/payment/cancel", pattern=r"^[a-z][a-z0-9+.-]*://")
    stripe_api_url: str = Field("https://api.stripe.com", pattern=r"^https?://[^/]+$")
    razorpay_key_id: str | None = None
    razorpay_key_secret: SecretStr | None = None
    razorpay_webhook_secret: SecretStr | None = None
    razorpay_callback_url: str = Field("http://localhost:3000/payment/success", pattern=r"^[a-z][a-z0-9+.-]*://")
    razorpay_api_url: str = Field("https://api.razorpay.com", pattern=r"^https?://[^/]+$")

    # Push: a service account of Firebase with all three; without them each push is a log line
    firebase_project_id: str | None = Field(None, pattern=r"^[a-z0-9.:-]+$")
    firebase_client_email: str | None = None
    firebase_private_key: SecretStr | None = None
    firebase_api_url: str = Field("https://fcm.googleapis.com", pattern=r"^https?://[^/]+$")
    firebase_token_url: str = Field("https://oauth2.googleapis.com/token", pattern=r"^https?://")

    # Pruning, every night: how long rows are kept after they were read, expired, were handled or failed. Providers
    # repeat events for days.
    prune_notifications_after: Duration = Field(timedelta(days=90), ge=timedelta(days=1))
    prune_mailed_tokens_after: Duration = Field(timedelta(days=7), ge=timedelta(0))
    prune_webhook_events_after: Duration = Field(timedelta(days=90), ge=timedelta(days=7))
    prune_failed_jobs_after: Duration = Field(timedelta(days=30), ge=timedelta(days=1))

    # Video: what an upload may have, how long an unfinished one is kept, how long links to play work beyond the length
    # of what they play, and the ffmpeg that is not the one of the package
    video_max_bytes: int = Field(10 * 1024**3, ge=1, le=80 * 1024**3)
    video_upload_expiry: Duration = timedelta(hours=24)
    video_link_expiry: Duration = timedelta(minutes=10)
    ffmpeg_path: Path | None = None

    # TURN (coturn, shared-secret credentials)
    turn_secret: SecretStr = SecretStr("your_hmac_secret")
    turn_host: str = "localhost"
    turn_port: int = Field(3478, ge=1, le=65535)
    turn_tls_port: int = Field(5349, ge=1, le=65535)

    # S3-compatible storage
    storage_endpoint: str | None = Field(None, pattern=r"^https?://[^/]+$")
    storage_access_key: str = ""
    storage_secret_key: SecretStr = SecretStr("")
    storage_bucket_name: str = "parlance"
    storage_public_url: str | None = None

    @field_validator("firebase_private_key")
    @classmethod
    def _is_pem(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        # On one line, as the account's JSON file has it and a file of variables wants it.
        pem = value.get_secret_value().replace("\\n", "\n").strip()
        if not (pem.startswith("-----BEGIN PRIVATE KEY-----") and pem.endswith("-----END PRIVATE KEY-----")):
            raise ValueError("should be the private_key of the service account's JSON file, with its \\n")
        return SecretStr(pem + "\n")

    @field_validator("bus_directory")
    @classmethod
    def _fits_unix_sockets(cls, value: Path | None) -> Path | None:
        if value is not None and len(os.fsencode(value.absolute())) > 85:
            raise ValueError("should be a path of at most 85 bytes: addresses of Unix sockets are short")
        return value

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"

    @property
    def database_url(self) -> str:
        """A libpq connection URI, password included: never log it."""
        from urllib.parse import quote

        password = quote(self.db_password.get_secret_value(), safe="")
        return (
            f"postgresql://{quote(self.db_username, safe='')}:{password}@{self.db_host}:{self.db_port}/{self.db_name}"
        )

    def require_services(self) -> None:
        """Raise SettingsError, naming each, where a service that `serve` and `worker` need is not configured."""
        missing = [
            name for name in ("DB_HOST", "REDIS_HOST", "STORAGE_ENDPOINT") if getattr(self, name.lower()) is None
        ]
        problems = [f"{name} is not set" for name in missing]
        if self.is_production and self.turn_secret.get_secret_value() == "your_hmac_secret":
            problems.append("TURN_SECRET still has its example value; use the static-auth-secret of your coturn")
        if self.is_production and self.resend_api_key is None:
            problems.append("RESEND_API_KEY is not set; without it no mail leaves the house")
        problems += self._payment_problems()
        problems += self._push_problems()
        if self.bcrypt_rounds < 12 and self.app_env != "test":
            problems.append("BCRYPT_ROUNDS is below 12, which only APP_ENV=test may use")
        if problems:
            hint = " (`parlance dev` starts its own services and needs none of this)" if missing else ""
            raise SettingsError("; ".join(problems) + hint)

    @property
    def has_push_account(self) -> bool:
        return None not in (self.firebase_project_id, self.firebase_client_email, self.firebase_private_key)

    def _push_problems(self) -> list[str]:
        """Name what an account of Firebase lacks; none at all is a choice: users are told in the app alone."""
        names = ("firebase_project_id", "firebase_client_email", "firebase_private_key")
        missing = [name.upper() for name in names if getattr(self, name) is None]
        return [f"{name} is not set; pushes need it" for name in missing] if len(missing) < len(names) else []

    def _payment_problems(self) -> list[str]:
        """Name what a provider lacks: one that has a key needs the rest, and production needs the one that sells."""
        accounts = {
            "stripe": ("stripe_secret_key", "stripe_webhook_secret"),
            "razorpay": ("razorpay_key_id", "razorpay_key_secret", "razorpay_webhook_secret"),
        }
        problems = []
        for provider, names in accounts.items():
            missing = [name.upper() for name in names if getattr(self, name) is None]
            wanted = len(missing) < len(names) or (self.is_production and provider == self.payment_provider)
            problems += [f"{name} is not set; payments by {provider} need it" for name in missing if wanted]
        return problems


def load(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Read the environment, then `env_file`; raise SettingsError naming every bad variable."""
    path = os.environ.get("PARLANCE_ENV_FILE", env_file) if env_file == ".env" else env_file
    return _read([path] if path else [], overrides)


def load_with(addition: Path) -> Settings:
    """Read the environment, then `addition`, then .env; raise SettingsError naming every bad variable."""
    return _read([os.environ.get("PARLANCE_ENV_FILE", ".env"), addition], {})


def _read(files: list[str | Path], overrides: dict[str, Any]) -> Settings:
    try:
        # Of several files the last one wins.
        return Settings(_env_file=files or None, **overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]).upper()
            # The value is left out on purpose: it may be a secret.
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
        raise SettingsError("; ".join(lines)) from None
