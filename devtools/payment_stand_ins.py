"""Payment stand-ins of `parlance dev`, used where no real keys of Stripe or Razorpay are configured."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values


@dataclass(frozen=True)
class StandInPlan:
    """Command and environment of the stand-ins, and the address of their dashboard."""

    command: list[str]
    environment: dict[str, str]
    dashboard: str


def replaced_by_real_keys() -> bool:
    """Return whether an account of either provider is configured."""
    return bool(_configured("STRIPE_SECRET_KEY") or _configured("RAZORPAY_KEY_ID"))


def plan(directory: Path, site: str) -> StandInPlan:
    """Plan stand-ins with state in `directory` that send webhooks to the server at `site`; keys are generated."""
    state = directory.absolute() / "payments"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = _port(state / "port")
    url = f"http://127.0.0.1:{port}"
    webhook = f"--webhook-url={site}/payments/webhook"
    return StandInPlan(
        command=["devtools.stand_ins", f"--port={port}", webhook, f"--state={state / 'state.json'}"],
        environment={
            "PAYMENT_PROVIDER": _configured("PAYMENT_PROVIDER") or "stripe",
            "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(24)}",
            "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
            "STRIPE_API_URL": url,
            "RAZORPAY_KEY_ID": f"rzp_test_{secrets.token_hex(7)}",
            "RAZORPAY_KEY_SECRET": secrets.token_hex(12),
            "RAZORPAY_WEBHOOK_SECRET": secrets.token_hex(16),
            "RAZORPAY_API_URL": url,
        },
        dashboard=f"{url}/dashboard",
    )


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
