"""Rate limits of REST operations, `x-rate-limit` of openapi.yaml."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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

    With `account-ip` each account is counted apart for each client address. With `failures` a call counts only if it is
    answered with 401. A device that proves an earlier login to the account is counted separately, so that calls of
    others cannot lock the owner out.
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
        if self.per != "ip":
            address = who
            who = identity.user_id if identity else email_addresses.account_key(body["email"])
            proof, device = (body.get("deviceProof"), body.get("deviceId")) if body else (None, None)
            if proof and device and services.logins.is_known_device(proof, body["email"], device):
                who += f":{device}"
            if self.per == "account-ip":
                who += f":{address}"
        return await services.rate_limiter.take(f"{operation_id}:{self.per}:{who}", self.calls, self.seconds)


@dataclass(slots=True)
class Usage:
    """What a call has left of each limit, as the headers of draft-ietf-httpapi-ratelimit-headers-10."""

    policy: str
    #: By policy: the calls that are left, and the seconds until one more is available; None if none is used.
    left: dict[str, tuple[int, int | None]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        states = (f'"{name}";r={left}' + (f";t={wait}" if wait else "") for name, (left, wait) in self.left.items())
        return {"RateLimit-Policy": self.policy, "RateLimit": ", ".join(states)}


def describe_policy(limits: list[Limit], factor: int) -> str:
    """Write `RateLimit-Policy`: the quota and the window of each limit."""
    return ", ".join(f'"{each.per}";q={each.calls * factor};w={int(each.seconds)}' for each in limits)


@asynccontextmanager
async def counted(
    services: Container,
    operation_id: str,
    limits: list[Limit],
    usage: Usage,
    client: str,
    identity: Identity | None,
    body: Any,
) -> AsyncIterator[None]:
    """Count a call while it runs, and note in `usage` what is left; a ProductError gets its headers.

    If only failures count, it is counted first and removed at the end, so that no more calls than the limit run
    at once. A cancelled one stays counted.
    """
    provisional: list[tuple[Limit, CountedCall]] = []
    try:
        for limit in limits:
            try:
                taken = await limit.take(services, operation_id, client, identity, body)
            except errors.RateLimited as error:
                usage.left[limit.per] = 0, error.retry_after
                raise
            usage.left[limit.per] = taken.left, taken.seconds
            if limit.failures:
                provisional.append((limit, taken))
        try:
            yield
        except Exception as error:
            if not (isinstance(error, errors.ProductError) and error.status == 401 and error.is_guess):
                await _give_back(services, provisional, usage)
            raise
        await _give_back(services, provisional, usage)
    except errors.ProductError as error:
        error.headers |= usage.headers
        raise


async def _give_back(services: Container, provisional: list[tuple[Limit, CountedCall]], usage: Usage) -> None:
    for limit, taken in provisional:
        await services.rate_limiter.give_back(taken)
        left = taken.left + 1
        usage.left[limit.per] = left, None if left == limit.calls * services.rate_limiter.factor else taken.seconds


def read(operation: dict[str, Any]) -> list[Limit]:
    """Read the `x-rate-limit` of an operation; raise ContractError."""
    limits = []
    for entry in operation.get("x-rate-limit", []):
        match = re.fullmatch(r"(\d+)([smhd])", entry["window"])
        counts = entry.get("counts", "calls")
        if match is None or entry["per"] not in ("ip", "account", "account-ip") or counts not in ("calls", "failures"):
            raise ContractError(f"openapi.yaml: {operation['operationId']} has an x-rate-limit that is not understood")
        window = timedelta(**{_UNITS[match[2]]: int(match[1])})
        limits.append(Limit(entry["limit"], window.total_seconds(), entry["per"], counts == "failures"))
    if len({limit.per for limit in limits}) < len(limits):  # it is the name of a policy
        raise ContractError(f"openapi.yaml: {operation['operationId']} has two limits per ip or per account")
    return limits
