"""Control API: the methods of `StandIns` over HTTP, for stand-ins in another process."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devtools.stand_ins.ledger import ACTIONS, Refused

if TYPE_CHECKING:
    from devtools.stand_ins import StandIns


class Control:
    """POST bodies are JSON. A refusal is 409, a body that makes no sense 400, both `{"error": "..."}`."""

    def __init__(self, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins

    def routes(self) -> list[Route]:
        return [
            Route("/control/ledger", self._ledger),
            Route("/control/ledger/{checkout}", self._standing),
            Route("/control/checkouts/{checkout}/{action}", self._act, methods=["POST"]),
            Route("/control/deliveries", self._deliveries),
            Route("/control/deliveries/{event}/resend", self._resend, methods=["POST"]),
            Route("/control/webhooks", self._configure, methods=["POST"]),
            Route("/control/faults", self._fault, methods=["POST"]),
            Route("/control/faults", self._clear, methods=["DELETE"]),
            Route("/control/pace", self._pace, methods=["POST"]),
            Route("/control/advance", self._advance, methods=["POST"]),
        ]

    async def _ledger(self, _request: Request) -> Response:
        return JSONResponse({"items": [asdict(state) for state in self._stand_ins.ledger()]})

    async def _standing(self, request: Request) -> Response:
        try:
            return JSONResponse(asdict(self._stand_ins.get_state(request.path_params["checkout"])))
        except Refused as refused:
            return _error(404, refused)

    async def _act(self, request: Request) -> Response:
        """`refund` takes `{"amount": ...}`; `alter` the fields to change."""
        checkout, action = request.path_params["checkout"], request.path_params["action"]
        body = await _body(request)
        try:
            provider = self._stand_ins.find_provider(checkout)
            if action == "refund":
                provider.refund(checkout, body.get("amount"))
            elif action == "alter":
                provider.alter(checkout, **body)
            elif action in ACTIONS:
                ACTIONS[action](provider, checkout)
            else:
                return _error(404, f"no such action: {action}")
        except Refused as refused:
            return _error(409, refused)
        return JSONResponse(asdict(provider.get_state(checkout)))

    async def _deliveries(self, _request: Request) -> Response:
        return JSONResponse({"items": self._stand_ins.webhooks.deliveries()})

    async def _resend(self, request: Request) -> Response:
        self._stand_ins.webhooks.resend(request.path_params["event"])
        return Response(status_code=204)

    async def _configure(self, request: Request) -> Response:
        """Knobs of `Delivery`, and `url`."""
        body = await _body(request)
        try:
            if "url" in body:
                self._stand_ins.webhooks.url = body.pop("url")
            self._stand_ins.webhooks.configure(**body)
        except ValueError as error:
            return _error(400, error)
        return Response(status_code=204)

    async def _fault(self, request: Request) -> Response:
        try:
            self._stand_ins.faults.add(**await _body(request))
        except TypeError as error:
            return _error(400, error)
        return Response(status_code=204)

    async def _clear(self, _request: Request) -> Response:
        self._stand_ins.faults.clear()
        return Response(status_code=204)

    async def _pace(self, request: Request) -> Response:
        for name, value in (await _body(request)).items():
            if not hasattr(self._stand_ins.pace, name):
                return _error(400, f"no such pace: {name}")
            setattr(self._stand_ins.pace, name, value)
        return Response(status_code=204)

    async def _advance(self, request: Request) -> Response:
        """`{"seconds": ...}`: put the providers' clock forward."""
        self._stand_ins.advance(float((await _body(request)).get("seconds", 0)))
        return Response(status_code=204)


async def _body(request: Request) -> dict[str, Any]:
    found = await request.json() if await request.body() else {}
    return dict(found)


def _error(status: int, message: object) -> Response:
    return JSONResponse({"error": str(message)}, status)
