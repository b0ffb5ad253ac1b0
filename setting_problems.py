"""What is wrong with settings together: services that are missing, and values that production or each other forbid.

Imports no other module of the product. A problem is the end of a message, and begins with the name of its setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from settings import Settings


def list_missing_services(settings: Settings) -> list[str]:
    """List services that `serve` and `worker` need and that have no address."""
    missing = [name for name in ("DB_HOST", "STORAGE_ENDPOINT") if getattr(settings, name.lower()) is None]
    missing += [] if settings.redis else ["REDIS_HOST (or REDIS_URL)"]
    return [f"{name} is not set" for name in missing]


def list_problems(settings: Settings) -> list[str]:
    """List what `serve` and `worker` refuse, besides services that are missing."""
    problems = _list_production_problems(settings)
    if settings.is_production and settings.turn_secret.get_secret_value() == "your_hmac_secret":
        problems.append("TURN_SECRET still has its example value; use the static-auth-secret of your coturn")
    if settings.is_production and settings.resend_api_key is None:
        problems.append("RESEND_API_KEY is not set; without it no mail is sent")
    problems += _list_payment_problems(settings)
    problems += _list_push_problems(settings)
    problems += _list_identity_problems(settings)
    if settings.bcrypt_rounds < 12 and settings.app_env != "test":
        problems.append("BCRYPT_ROUNDS is below 12, which only APP_ENV=test may use")
    return problems


def _list_production_problems(settings: Settings) -> list[str]:
    """List settings that only development may have."""
    problems = []
    if settings.is_production and "app_url" not in settings.model_fields_set:
        problems.append("APP_URL is not set; set it to the https:// address that clients use")
    elif settings.is_production and urlsplit(settings.app_url).scheme != "https":
        problems.append(f"APP_URL is {settings.app_url}, and production needs the https:// address that clients use")
    if settings.is_production and settings.rate_limits == "loose":
        problems.append("RATE_LIMITS is loose, which is for development; set it to strict or leave it out")
    return problems


def _list_push_problems(settings: Settings) -> list[str]:
    """List what an account of Firebase lacks; without any, notifications appear in the app alone."""
    names = ("firebase_project_id", "firebase_client_email", "firebase_private_key")
    missing = [name.upper() for name in names if getattr(settings, name) is None]
    return [f"{name} is not set; pushes need it" for name in missing] if len(missing) < len(names) else []


def _list_payment_problems(settings: Settings) -> list[str]:
    """List what a provider lacks: one with a key needs the rest, and production needs PAYMENT_PROVIDER."""
    accounts = {
        "stripe": ("stripe_secret_key", "stripe_webhook_secret"),
        "razorpay": ("razorpay_key_id", "razorpay_key_secret", "razorpay_webhook_secret"),
    }
    problems = []
    for provider, names in accounts.items():
        missing = [name.upper() for name in names if getattr(settings, name) is None]
        wanted = len(missing) < len(names) or (settings.is_production and provider == settings.payment_provider)
        problems += [f"{name} is not set; payments by {provider} need it" for name in missing if wanted]
    return problems


def _list_identity_problems(settings: Settings) -> list[str]:
    """List what an identity provider lacks, and issuers without TLS in production.

    A client of the web without a secret is no problem: its ID tokens are verified, it has no authorization code.
    """
    has_clients = {
        prefix: any(getattr(settings, f"{prefix}_client_ids_{platform}") for platform in ("ios", "android", "web"))
        for prefix in ("google", "apple", "oidc")
    }
    problems = _list_apple_problems(settings, has_clients["apple"])
    for prefix in ("GOOGLE", "OIDC"):
        has_secret = getattr(settings, f"{prefix.lower()}_client_secret") is not None
        if has_secret and not getattr(settings, f"{prefix.lower()}_client_ids_web"):
            problems.append(f"{prefix}_CLIENT_IDS_WEB is not set; {prefix}_CLIENT_SECRET needs it")
    if has_clients["oidc"] or any((settings.oidc_provider, settings.oidc_issuer, settings.oidc_client_secret)):
        missing = [name for name in ("oidc_provider", "oidc_issuer") if getattr(settings, name) is None]
        problems += [f"{name.upper()} is not set; another provider needs it" for name in missing]
        if not has_clients["oidc"]:
            problems.append("OIDC_CLIENT_IDS_WEB is not set, nor those of iOS and Android; another provider needs one")
    for name in ("google_issuer", "apple_issuer", "oidc_issuer"):
        issuer = getattr(settings, name)
        if settings.is_production and issuer is not None and urlsplit(issuer).scheme != "https":
            problems.append(f"{name.upper()} is {issuer}, and production needs an https:// address")
    return problems


def _list_apple_problems(settings: Settings, has_clients: bool) -> list[str]:
    names = ("apple_team_id", "apple_key_id", "apple_private_key")
    missing = [name.upper() for name in names if getattr(settings, name) is None]
    if len(missing) == len(names):
        return []
    problems = [f"{name} is not set; Apple's key needs it" for name in missing]
    if not has_clients:
        problems.append("APPLE_CLIENT_IDS_IOS is not set, nor those of Android and the web; Apple's key needs one")
    return problems
