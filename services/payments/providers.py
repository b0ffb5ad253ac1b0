"""Look-up of the configured payment providers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import errors
from adapters.ports import PaymentProvider

log = logging.getLogger("parlance.payments")


def get_provider(providers: Mapping[str, PaymentProvider], name: str) -> PaymentProvider:
    """Return a provider by its name; raise Unavailable where it is not configured."""
    try:
        return providers[name]
    except KeyError:
        log.error("payment_provider_not_configured provider=%s", name)
        raise errors.Unavailable("Payments are not configured.") from None
