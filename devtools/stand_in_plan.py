"""Stand-ins of `parlance dev`: of payment providers and of identity providers, where no real ones are configured."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

#: One of these is set where an account of Stripe or Razorpay is configured.
_PAYMENT_KEYS = ("STRIPE_SECRET_KEY", "RAZORPAY_KEY_ID")
#: One of these is set where an identity provider is configured.
_CLIENTS = (
    *(
        f"{name}_CLIENT_IDS_{platform}"
        for name in ("GOOGLE", "APPLE", "OIDC")
        for platform in ("IOS", "ANDROID", "WEB")
    ),
    "OIDC_PROVIDER",
)


@dataclass(frozen=True)
class StandInPlan:
    """Command and environment of the stand-ins, the address of their dashboard, and whom they stand in for."""

    command: list[str]
    environment: dict[str, str]
    dashboard: str
    names: list[str]


def payments_are_configured() -> bool:
    """Return whether an account of either payment provider is configured."""
    return any(_configured(name) for name in _PAYMENT_KEYS)


def identity_providers_are_configured() -> bool:
    """Return whether a client of any identity provider is configured."""
    return any(_configured(name) for name in _CLIENTS)


def plan(directory: Path, site: str) -> StandInPlan | None:
    """Plan stand-ins with state in `directory` for the server at `site`; None where nothing needs one.

    They send webhooks to the server. Keys and secrets are generated.
    """
    names: list[str] = []
    environment: dict[str, str] = {}
    if payments_are_configured() and identity_providers_are_configured():
        return None
    state = directory.absolute() / "payments"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = _port(state / "port")
    url = f"http://127.0.0.1:{port}"
    if not payments_are_configured():
        names += ["Stripe", "Razorpay"]
        environment |= _plan_payments(url)
    if not identity_providers_are_configured():
        names += ["Google", "Apple", "Keycloak"]
        environment |= _plan_identity_providers(url)
    webhook = f"--webhook-url={site}/payments/webhook"
    return StandInPlan(
        command=["devtools.stand_ins", f"--port={port}", webhook, f"--state={state / 'state.json'}", "--quiet"],
        environment=environment,
        dashboard=f"{url}/dashboard",
        names=names,
    )


def _plan_payments(url: str) -> dict[str, str]:
    return {
        "PAYMENT_PROVIDER": _configured("PAYMENT_PROVIDER") or "stripe",
        "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(24)}",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
        "STRIPE_API_URL": url,
        "RAZORPAY_KEY_ID": f"rzp_test_{secrets.token_hex(7)}",
        "RAZORPAY_KEY_SECRET": secrets.token_hex(12),
        "RAZORPAY_WEBHOOK_SECRET": secrets.token_hex(16),
        "RAZORPAY_API_URL": url,
    }


def _plan_identity_providers(url: str) -> dict[str, str]:
    from devtools.stand_ins.issuers import Issuers

    return Issuers(url).environment


def _configured(name: str) -> str | None:
    # Not from the settings: an account must be found there before the rest of them is complete.
    file = os.environ.get("PARLANCE_ENV_FILE", ".env")
    return os.environ.get(name) or dotenv_values(file).get(name)


def _port(file: Path) -> int:
    """Return the port of the last start where it is free, so that addresses of open checkouts stay valid."""
    from devtools.embedded import free_ports, is_free

    kept = int(file.read_text()) if file.exists() else None
    port = kept if kept and is_free(kept) else free_ports(1, set())[0]
    file.write_text(str(port))
    return port
