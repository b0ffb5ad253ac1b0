"""Rate limits of REST operations, `x-rate-limit` of openapi.yaml."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import errors
from adapters.rate_limiter import CountedCall
from contract import client_addresses
from contract.schemas import ContractError
from models import email_addresses

if TYPE_CHECKING:
    from container import Container
    from services.identity.logins import Identity

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Limit(NamedTuple):
    """`calls` in `seconds`, counted for each `per`: `ip`, or `account` (the identity, else the e-mail of the body).

    With `failures` a call counts only if it is answered with 401, and a device that proves an earlier login to the
    account is counted separately, so that failed logins of others cannot lock the owner out.
    """

    calls: int
    seconds: float
    per: str
    failures: bool = False

    async def take(
        self, services: Container, operation_id: str, client: str, identity: Identity | None, body: Any
    ) -> CountedCall:
        """Count a call; raise RateLimited."""
        who = client_addresses.canonical(client)
        if self.per == "account":
            who = identity.user_id if identity else email_addresses.account_key(body["email"])
            proof = body.get("deviceProof") if self.failures and body else None
            if proof is not None and services.logins.is_known_device(proof, body["email"], body["deviceId"]):
                who += f":{body['deviceId']}"
        return await services.rate_limiter.take(f"{operation_id}:{self.per}:{who}", self.calls, self.seconds)


@asynccontextmanager
async def counted(
    services: Container, operation_id: str, limits: list[Limit], client: str, identity: Identity | None, body: Any
) -> AsyncIterator[None]:
    """Count a call while it runs.

    If only failures count, it is counted first and removed at the end, so that no more calls than the limit run
    at once. A cancelled one stays counted.
    """
    provisional: list[CountedCall] = []
    for limit in limits:
        taken = await limit.take(services, operation_id, client, identity, body)
        if limit.failures:
            provisional.append(taken)
    try:
        yield
    except Exception as error:
        if not (isinstance(error, errors.ProductError) and error.status == 401):
            await _give_back(services, provisional)
        raise
    await _give_back(services, provisional)


async def _give_back(services: Container, provisional: list[CountedCall]) -> None:
    for taken in provisional:
        await services.rate_limiter.give_back(taken)


def read(operation: dict[str, Any]) -> list[Limit]:
    """Read the `x-rate-limit` of an operation; raise ContractError."""
    limits = []
    for entry in operation.get("x-rate-limit", []):
        match = re.fullmatch(r"(\d+)([smhd])", entry["window"])
        counts = entry.get("counts", "calls")
        if match is None or entry["per"] not in ("ip", "account") or counts not in ("calls", "failures"):
            raise ContractError(f"openapi.yaml: {operation['operationId']} has an x-rate-limit that is not understood")
        window = timedelta(**{_UNITS[match[2]]: int(match[1])})
        limits.append(Limit(entry["limit"], window.total_seconds(), entry["per"], counts == "failures"))
    return limits
