"""Control API of the stand-in issuers: methods of `Issuer` over HTTP, for stand-ins in another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devtools.stand_ins.issuers.issuer import Issuer

#: Attributes of an issuer that may be set.
_SWITCHES = {"algorithm", "booleans_as_text", "cache_control", "documents", "issuer_without_scheme"}


class IssuerControl:
    """POST bodies are JSON. A body that makes no sense is 400, an unknown issuer 404, both `{"error": "..."}`.

    Faults are those of all stand-ins: /control/faults.
    """

    def __init__(self, issuers: Mapping[str, Issuer]) -> None:
        self._issuers = issuers

    def routes(self) -> list[Route]:
        return [
            Route("/control/issuers", self._list),
            Route("/control/issuers/{issuer}/{action}", self._act, methods=["POST"]),
        ]

    async def _list(self, _request: Request) -> Response:
        items = [
            {
                "id": each.id,
                "url": each.url,
                "clientIds": each.client_ids,
                "people": [asdict(person) for person in each.people()],
                "revoked": [asdict(revocation) for revocation in each.revoked],
                "calls": dict(each.calls),
            }
            for each in self._issuers.values()
        ]
        return JSONResponse({"items": items})

    async def _act(self, request: Request) -> Response:
        """`id-token`, `code`, `authorize` and `rotate` with the arguments of the method; `set` with attributes."""
        issuer = self._issuers.get(request.path_params["issuer"])
        if issuer is None:
            return JSONResponse({"error": f"no such issuer: {request.path_params['issuer']}"}, 404)
        body: dict[str, Any] = await request.json() if await request.body() else {}
        try:
            return JSONResponse(_act(issuer, request.path_params["action"], body))
        except LookupError as error:
            return JSONResponse({"error": str(error.args[0])}, 404)
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)


def _act(issuer: Issuer, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """Do one action; raise LookupError for an unknown one, TypeError or ValueError for wrong arguments."""
    if action == "id-token":
        return {"idToken": issuer.issue_id_token(**body)}
    if action == "code":
        return {"code": issuer.issue_code(**body)}
    if action == "authorize":
        return dict(issuer.authorize(**body))
    if action == "rotate":
        issuer.rotate_keys(**body)
    elif action == "set":
        if unknown := [name for name in body if name not in _SWITCHES or not hasattr(issuer, name)]:
            raise ValueError(f"{issuer.id} has no {', '.join(unknown)}")
        for name, value in body.items():
            setattr(issuer, name, value)
    else:
        raise LookupError(f"no such action: {action}")
    return {}
