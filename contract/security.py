"""Bearer tokens of REST: the functions named by `x-bearerInfoFunc` in openapi.yaml, as Connexion's security handler."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

from connexion.security import NO_VALUE, BearerSecurityHandler

import parlance
from contract.operations import METHODS, is_public

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionRequest

    from container import Container
    from services.identity.logins import Identity

#: Marks, in the document for Connexion, a scheme with an optional token.
OPTIONAL = "x-optional"


class Bearer(BearerSecurityHandler):  # type: ignore[misc]
    """Security handler of the schemes `bearer` and `admin`. Connexion makes one for each operation and scheme."""

    #: Set in the subclass that `bearer_handler` makes.
    services: ClassVar[Container]

    def token_check(self, scheme: dict[str, Any]) -> Callable[[str], Awaitable[Identity]]:
        """Return the function of a scheme that maps a token to its identity, or raises."""
        module_name, _, name = scheme["x-bearerInfoFunc"].rpartition(".")
        return functools.partial(getattr(parlance.import_module(module_name), name), self.services)

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


def with_optional_schemes(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with `[{}, {bearer: []}]` as one scheme with an optional token.

    Connexion takes the first requirement that is met: with `{}` no token is read, and an invalid one is accepted.
    """
    schemes = document["components"]["securitySchemes"]
    optional = {f"{name}Optional": {**scheme, OPTIONAL: True} for name, scheme in schemes.items()}

    def rewritten(method: str, operation: Any) -> Any:
        if method not in METHODS or not is_public(operation):
            return operation
        needed: list[dict[str, list[str]]] = [
            {f"{name}Optional": [] for name in each} for each in operation["security"] if each
        ]
        return {**operation, "security": needed}

    paths = {
        path: {method: rewritten(method, operation) for method, operation in item.items()}
        for path, item in document["paths"].items()
    }
    components = {**document["components"], "securitySchemes": {**schemes, **optional}}
    return {**document, "paths": paths, "components": components}
