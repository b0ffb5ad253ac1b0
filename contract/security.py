"""Access to REST operations, as Connexion's security handler: the bearer token, `x-role` and `x-second-factor`.

A token is read by the function that `x-bearerInfoFunc` of its scheme names. What an operation asks of the role and of
the age of the second factor becomes part of a scheme of its own in the document for Connexion (`for_connexion`), so
that the fast path and Connexion check the same, before anything else of the request is read.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from connexion.security import NO_VALUE, BearerSecurityHandler

import errors
import parlance
from contract.operations import METHODS, is_public
from contract.schemas import ContractError

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionRequest

    from container import Container
    from services.identity.logins import Identity

#: Marks, in the document for Connexion, a scheme with an optional token.
OPTIONAL = "x-optional"
#: The scheme of operations of staff: they need a second factor where the settings ask for one.
STAFF = "admin"
#: The roles that may call an operation, and how recently its login must have proven its second factor. In the document
#: for Connexion a scheme has them, with `_IS_STAFF`.
ROLES, FACTOR_AGE = "x-role", "x-second-factor"
_IS_STAFF = "x-staff"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}


@dataclass(frozen=True, slots=True)
class Access:
    """What an operation needs besides a valid token."""

    #: None where every role may call it.
    roles: frozenset[str] | None
    needs_factor: bool
    factor_age: timedelta | None

    @classmethod
    def read(cls, scheme: dict[str, Any]) -> Access:
        """Read what `for_connexion` wrote into a scheme; raise ContractError where it makes no sense."""
        roles, age, is_staff = scheme.get(ROLES), scheme.get(FACTOR_AGE), scheme.get(_IS_STAFF, False)
        if (is_staff or age is not None) and not roles:
            raise ContractError(f"openapi.yaml: an operation of staff lists in {ROLES} who may call it")
        return cls(frozenset(roles) if roles else None, is_staff, None if age is None else read_age(age))

    def check(self, services: Container, identity: Identity) -> None:
        """Raise Forbidden for another role, and SecondFactorRequired."""
        if self.roles is not None and identity.role not in self.roles:
            raise errors.Forbidden()
        if self.needs_factor or self.factor_age is not None:
            services.second_factors.check(identity, self.factor_age)


def read_age(text: str) -> timedelta:
    """Read an `x-second-factor`, such as `10m`; raise ContractError."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", text)
    if match is None:
        raise ContractError(f"openapi.yaml: {FACTOR_AGE} is a number and a unit, such as 10m, not {text}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


class Bearer(BearerSecurityHandler):  # type: ignore[misc]
    """Security handler of the schemes `bearer` and `admin`. Connexion makes one for each operation and scheme."""

    #: Set in the subclass that `bearer_handler` makes.
    services: ClassVar[Container]

    def token_check(self, scheme: dict[str, Any]) -> Callable[[str], Awaitable[Identity]]:
        """Return the function of a scheme that maps a token to its identity, or raises."""
        module_name, _, name = scheme["x-bearerInfoFunc"].rpartition(".")
        identify = getattr(parlance.import_module(module_name), name)
        access, services = Access.read(scheme), self.services

        async def check(token: str) -> Identity:
            identity: Identity = await identify(services, token)
            access.check(services, identity)
            return identity

        return check

    def get_fn(self, security_scheme: dict[str, Any], required_scopes: list[str]) -> Callable[..., Any]:
        check = self.token_check(security_scheme)
        is_optional = OPTIONAL in security_scheme

        async def verify(request: ConnexionRequest) -> Any:
            if is_optional and "authorization" not in request.headers:
                return {}
            kind, token = self.get_auth_header_value(request)
            if kind != "bearer":
                return NO_VALUE
            identity = await check(token)
            return {"sub": identity.user_id, "identity": identity}  # Connexion requires a dict

        return verify


def bearer_handler(services: Container) -> type[Bearer]:
    """Return the handler class to give Connexion, which makes its instances without arguments."""
    return type("InjectedBearer", (Bearer,), {"services": services})


def for_connexion(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with a scheme for each way in which operations ask for a token, for a role and for a factor.

    `[{}, {bearer: []}]` becomes one scheme with an optional token: Connexion takes the first requirement that is met,
    so with `{}` no token is read, and an invalid one is accepted.
    """
    schemes: dict[str, dict[str, Any]] = dict(document["components"]["securitySchemes"])

    def derived(name: str, operation: dict[str, Any]) -> str:
        marks = {key: operation[key] for key in (ROLES, FACTOR_AGE) if key in operation}
        if name == STAFF:
            marks[_IS_STAFF] = True
        if is_public(operation):
            marks[OPTIONAL] = True
        if not marks:
            return name
        own = f"{name} {marks}"
        schemes[own] = {**schemes[name], **marks}
        return own

    def rewritten(method: str, operation: Any) -> Any:
        if method not in METHODS or not operation.get("security"):
            return operation
        return {
            **operation,
            "security": [{derived(name, operation): [] for name in each} for each in operation["security"] if each],
        }

    paths = {
        path: {method: rewritten(method, operation) for method, operation in item.items()}
        for path, item in document["paths"].items()
    }
    components = {**document["components"], "securitySchemes": schemes}
    return {**document, "paths": paths, "components": components}
