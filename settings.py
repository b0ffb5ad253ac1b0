"""Environment variables of the product, typed.

`load()` is the only way to read them: it names each variable that is wrong. Imports no other module of the product but
`setting_values`, `setting_problems` and `identity_settings`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from identity_settings import IdentitySettings
from setting_problems import list_missing_services, list_problems
from setting_values import (
    BusDirectory,
    DatabaseHosts,
    Duration,
    EmailAddress,
    EncryptionKeys,
    ErrorReportsDsn,
    Host,
    Origins,
    PrivateKeyPem,
    Proxies,
    PublicUrl,
    RedisAddress,
    RedisUrl,
    Sender,
    Site,
    UrgentReasons,
    between,
    loopback_port,
    split_port,
    strip_prefix,
    url_host,
)

#: Settings that are `on` or `off`, and on in production where they are not set.
GATES: tuple[str, ...] = ("age_gate", "terms_gate", "email_gate", "text_filter", "staff_second_factor")
#: Loose rate limits are those of the contract times this.
LOOSE_RATE_LIMIT_FACTOR = 100


class SettingsError(Exception):
    """A setting is missing or unreadable; the message names each one and what it should be."""


class Settings(IdentitySettings, BaseSettings):
    """The configuration of one process. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    # Server
    app_env: Literal["development", "test", "production"] = "development"
    port: int = Field(5503, ge=0, le=65535)
    app_url: Site = "http://localhost:5503"
    cors_origins: Origins = []
    trusted_proxies: Proxies = ["127.0.0.1"]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: How long `serve` still answers after SIGTERM, while `/ready` says that it is about to stop.
    shutdown_delay: Annotated[Duration, between("0s", "5m")] = timedelta(0)
    #: Off: Connexion handles every request, with the same responses, more slowly.
    rest_fast_path: bool = True
    #: Loose: `LOOSE_FACTOR` times the calls of each `x-rate-limit`. Unset: loose in development, else strict.
    rate_limits: Literal["strict", "loose"] | None = None

    # Sockets
    #: Off: signaling events are handled like all others, with the same results, more slowly.
    events_fast_lane: bool = True
    socket_events_per_second: int = Field(30, ge=1)
    socket_event_burst: int = Field(60, ge=1)
    sockets_per_user: int = Field(3, ge=1)
    socket_handshake_timeout: Annotated[Duration, between("1s", "5m")] = timedelta(seconds=10)

    # PostgreSQL
    #: One or several, with commas between, each with or without a port of its own.
    db_host: DatabaseHosts | None = None
    db_port: int = Field(5432, ge=1, le=65535)
    db_username: str = "root"
    db_password: SecretStr = SecretStr("root")
    db_name: str = "english_speaking_dev"
    db_pool_size: int = Field(10, ge=1)
    db_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    #: A file, or `system`.
    db_sslrootcert: str | None = None
    #: On: a pooler gives each transaction another connection, which keeps no prepared statements and no settings.
    db_transaction_pooling: bool = False

    # Redis or Valkey
    redis_host: Host | None = None
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_password: SecretStr | None = None
    #: In place of the three: TLS, a user, Sentinels, a cluster.
    redis_url: RedisUrl | None = None
    #: The certificates that TLS trusts; those of the system when unset.
    redis_sslrootcert: Path | None = None

    # Unix sockets between the web processes of a host; a private directory under the temporary one when unset
    bus_directory: BusDirectory | None = None

    # Access and refresh tokens
    jwt_private_key_path: Path = Path("./keys/private.pem")
    jwt_public_key_path: Path = Path("./keys/public.pem")
    jwt_access_expiry: Annotated[Duration, between("30s", "24h")] = timedelta(minutes=15)
    jwt_refresh_expiry: Annotated[Duration, between("1h", "400d")] = timedelta(days=30)
    jwt_key_id: str = Field("key-v1", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    jwt_audience: str = "parlance"
    bcrypt_rounds: int = Field(12, ge=4, le=20)

    # Staff: whether their operations need a second factor, the keys that encrypt its secrets (with commas between, the
    # first encrypts), and how long a login that is not used stays valid
    staff_second_factor: Literal["on", "off"] | None = None
    second_factor_keys: EncryptionKeys | None = None
    staff_login_expiry: Annotated[Duration, between("1h", "400d")] = timedelta(days=7)

    # Addresses of banned accounts that were deleted: the keys of their hashes (with commas between, the first hashes,
    # all are compared), derived from the signing key when unset, and how long they are kept
    identifier_hash_keys: EncryptionKeys | None = None
    retain_barred_addresses_for: Annotated[Duration, between("0s", "1095d")] = timedelta(days=365)

    # Mail: Resend with a key; without one each mail is written to a file
    resend_api_key: SecretStr | None = None
    resend_api_url: str = Field("https://api.resend.com", pattern=r"^https?://")
    email_from: Sender = "Parlance <noreply@localhost>"
    mail_directory: Path = Path("./.parlance/mail")

    # Matchmaking and calls
    #: `fit`: the partner who fits best; `oldest`: the one who has waited longest.
    matching: Literal["fit", "oldest"] = "fit"
    search_expiry: Annotated[Duration, between("1s", "1h")] = timedelta(minutes=5)
    join_deadline: Annotated[Duration, between("1s", "5m")] = timedelta(seconds=20)
    reconnect_grace: Annotated[Duration, between("1s", "5m")] = timedelta(seconds=10)
    process_loss_grace: Annotated[Duration, between("1s", "5m")] = timedelta(seconds=30)

    # Payments: the provider of new orders, and the accounts of both
    payment_provider: Literal["stripe", "razorpay"] = "stripe"
    checkout_expiry: Annotated[Duration, between("1h", "23h")] = timedelta(hours=2)
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_success_url: str = Field("http://localhost:3000/payment/success", pattern=r"^[a-z][a-z0-9+.-]*://")
    stripe_cancel_url: str = Field("http://localhost:3000/payment/cancel", pattern=r"^[a-z][a-z0-9+.-]*://")
    stripe_api_url: Site = "https://api.stripe.com"
    razorpay_key_id: str | None = None
    razorpay_key_secret: SecretStr | None = None
    razorpay_webhook_secret: SecretStr | None = None
    razorpay_callback_url: str = Field("http://localhost:3000/payment/success", pattern=r"^[a-z][a-z0-9+.-]*://")
    razorpay_api_url: Site = "https://api.razorpay.com"

    # Push: a service account of Firebase with all three; without them each push is a log line
    firebase_project_id: str | None = Field(None, pattern=r"^[a-z0-9.:-]+$")
    firebase_client_email: str | None = None
    firebase_private_key: PrivateKeyPem | None = None
    firebase_api_url: Site = "https://fcm.googleapis.com"
    firebase_token_url: str = Field("https://oauth2.googleapis.com/token", pattern=r"^https?://")

    # Traces: sent where there is an endpoint, the base of a collector's OTLP over HTTP; its headers, `name=value` with
    # commas between; the share of traces that is sampled. Names and meaning are OpenTelemetry's.
    otel_exporter_otlp_endpoint: str | None = Field(None, pattern=r"^https?://")
    otel_exporter_otlp_headers: SecretStr | None = None
    otel_traces_sampler_arg: float = Field(1.0, ge=0, le=1)

    # Error reports: sent to Sentry, or what speaks its protocol, where there is a DSN
    sentry_dsn: ErrorReportsDsn | None = None

    # Gates before others are met: a declared age, consent to the documents, a verified address
    age_gate: Literal["on", "off"] | None = None
    terms_gate: Literal["on", "off"] | None = None
    email_gate: Literal["on", "off"] | None = None
    #: Years; and whether those below 18 meet others, each age band apart.
    minimum_age: int = Field(18, ge=13, le=18)
    minor_pools: Literal["on", "off"] = "off"

    # Documents that learners accept or read: a folder whose files replace those that ship
    policy_directory: Path | None = None
    #: The operator, to learners and authorities; published.
    contact_email: EmailAddress | None = None
    contact_address: str | None = Field(None, max_length=500)

    # Retention, every night: how long a call, the texts of a decided report, those of an ended sanction and its appeal,
    # and the detail of the audit log are kept
    retain_calls_for: Duration = Field(timedelta(days=365), ge=timedelta(days=31))
    retain_reports_for: Duration = Field(timedelta(days=365), ge=timedelta(days=183))
    retain_sanctions_for: Duration = Field(timedelta(days=365), ge=timedelta(days=183))
    retain_audit_detail_for: Duration = Field(timedelta(days=730), ge=timedelta(days=183))

    # Reports: the weight of a learner's pending reports that flags them, the time for a review, how long an urgent
    # report may hold pairing, and the time until it may again; the reasons for which one report by anybody does, and
    # how many learners a proven reporter's record alone may hold at once; how long hashed devices and networks stay
    report_flag_weight: float = Field(1.5, gt=0, le=100)
    report_due: Annotated[Duration, between("1h", "30d")] = timedelta(hours=72)
    report_urgent_due: Annotated[Duration, between("1h", "7d")] = timedelta(hours=24)
    report_hold: Annotated[Duration, between("1h", "24h")] = timedelta(hours=24)
    report_hold_pause: Annotated[Duration, between("0s", "365d")] = timedelta(days=30)
    report_hold_reasons: UrgentReasons = Field(default_factory=list)
    report_record_holds: int = Field(3, ge=0)
    prune_report_traits_after: Duration = Field(timedelta(days=90), ge=timedelta(days=1))

    # Filter of names, bios and topics, on or off; a folder whose word lists replace those that ship
    text_filter: Literal["on", "off"] | None = None
    word_lists_directory: Path | None = None

    # Pictures: the service that screens each, with its token if it needs one, and the weight of open reports from
    # which on a learner's picture is hidden
    image_screen_url: str | None = Field(None, pattern=r"^https?://")
    image_screen_token: SecretStr | None = None
    picture_hide_weight: float = Field(1.5, gt=0)

    # Pruning, every night: how long rows are kept after they were read, expired, were handled or failed. Providers
    # repeat events for days.
    prune_notifications_after: Duration = Field(timedelta(days=90), ge=timedelta(days=1))
    prune_mailed_tokens_after: Duration = Field(timedelta(days=7), ge=timedelta(0))
    prune_webhook_events_after: Duration = Field(timedelta(days=90), ge=timedelta(days=7))
    prune_failed_jobs_after: Duration = Field(timedelta(days=30), ge=timedelta(days=1))

    # Video: the largest upload, how long an unfinished one is kept, how long playback links are valid beyond the length
    # of the video, and an ffmpeg other than that of the Python packages
    video_max_bytes: int = Field(10 * 1024**3, ge=1, le=80 * 1024**3)
    video_upload_expiry: Annotated[Duration, between("1s", "30d")] = timedelta(hours=24)
    video_link_expiry: Annotated[Duration, between("1s", "24h")] = timedelta(minutes=10)
    ffmpeg_path: Path | None = None

    # TURN (coturn, shared-secret credentials)
    turn_secret: SecretStr = SecretStr("your_hmac_secret")
    turn_host: Host = "localhost"
    turn_port: int = Field(3478, ge=1, le=65535)
    turn_tls_port: int = Field(5349, ge=1, le=65535)

    # S3-compatible storage
    storage_endpoint: Site | None = None
    #: Part of the signature of every request.
    storage_region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,63}$")
    storage_access_key: str = ""
    storage_secret_key: SecretStr = SecretStr("")
    storage_bucket_name: str = "parlance"
    storage_public_url: PublicUrl | None = None

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"

    def is_on(self, gate: str) -> bool:
        """Whether a gate of `GATES` holds: as it is set, else in production."""
        value = getattr(self, gate)
        return self.is_production if value is None else value == "on"

    def is_own_origin(self, origin: str | None) -> bool:
        """Say whether pages of an origin may send requests with cookies: APP_URL and CORS_ORIGINS.

        In development all names of loopback are one origin: a page is opened as localhost and as 127.0.0.1.
        """
        if origin is None:
            return False
        if origin == self.app_url or origin in self.cors_origins:
            return True
        own = loopback_port(self.app_url)
        return self.app_env == "development" and own is not None and loopback_port(origin) == own

    @property
    def rate_limit_factor(self) -> int:
        """Return the factor by which rate limits of the contract are multiplied."""
        loose = self.rate_limits == "loose" if self.rate_limits else self.app_env == "development"
        return LOOSE_RATE_LIMIT_FACTOR if loose else 1

    @property
    def database_hosts(self) -> list[tuple[str, int]]:
        """Hosts and ports, in the order in which they are tried."""
        return [(host, port or self.db_port) for host, port in map(split_port, (self.db_host or "").split(","))]

    @property
    def database_address(self) -> str:
        return ",".join(f"{url_host(host)}:{port}" for host, port in self.database_hosts)

    @property
    def redis(self) -> RedisAddress | None:
        """REDIS_URL, else what the other three name; None where neither is set."""
        if self.redis_url is not None or self.redis_host is None:
            return self.redis_url
        return RedisAddress(((self.redis_host, self.redis_port),), password=self.redis_password)

    @property
    def redis_address(self) -> str:
        return str(self.redis or "")

    @property
    def database_url(self) -> str:
        """A libpq connection URI, password included: never log it."""
        from urllib.parse import quote

        password = quote(self.db_password.get_secret_value(), safe="")
        return f"postgresql://{quote(self.db_username, safe='')}:{password}@{self.database_address}/{self.db_name}"

    def require_services(self) -> None:
        """Raise SettingsError, naming each, where a service that `serve` and `worker` need is not configured."""
        missing, others = list_missing_services(self), list_problems(self)
        if missing or others:
            hint = " (`parlance dev` starts its own services and needs none of these)" if missing else ""
            raise SettingsError("; ".join(missing + others) + hint)

    @property
    def has_push_account(self) -> bool:
        return None not in (self.firebase_project_id, self.firebase_client_email, self.firebase_private_key)


def load(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Read the environment, then `env_file`; raise SettingsError naming every bad variable."""
    path = os.environ.get("PARLANCE_ENV_FILE", env_file) if env_file == ".env" else env_file
    return _read([path] if path else [], overrides)


def load_with(addition: Path) -> Settings:
    """Read the environment, then `addition`, then .env; raise SettingsError naming every bad variable."""
    return _read([os.environ.get("PARLANCE_ENV_FILE", ".env"), addition], {})


def _read(files: list[str | Path], overrides: dict[str, Any]) -> Settings:
    for file in files:
        _require_text(Path(file))
    try:
        # The last file has precedence. Some editors begin a file with a byte order mark.
        return Settings(_env_file=files or None, _env_file_encoding="utf-8-sig", **overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]).upper()
            # Without the value, which may be a secret.
            lines.append(f"{name} {strip_prefix(problem['msg'])}")
        raise SettingsError("; ".join(dict.fromkeys(lines))) from None


def _require_text(file: Path) -> None:
    """Raise SettingsError where an environment file exists and cannot be read as UTF-8."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise SettingsError(f"{file} is a directory, and should be a file of NAME=value lines") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    try:
        if b"\0" in content:
            raise SettingsError(f"{file} is not UTF-8 but looks like UTF-16; save it as UTF-8")
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file} is not UTF-8, as line {line} shows; save it as UTF-8") from None
