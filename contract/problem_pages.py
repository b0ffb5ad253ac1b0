"""Pages about error codes: `/problems/{code}`, to which the `type` of each problem leads, and the list `/problems`."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

import errors
from contract import page_shell, schemas
from contract.event_bindings import COMMON_CODES as COMMON_EVENT_CODES
from contract.operations import COMMON_CODES, definitions
from contract.problem_texts import TEXTS
from contract.problems import PAGES
from contract.static_files import HTML, POLICY, Files


def routes(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> list[Route]:
    """Build the routes of the pages."""
    files = Files(PAGES)

    def serve(path: str, title: str, content: str) -> None:
        page = page_shell.render(title, content)
        files.serve(path, page.encode(), HTML, **{"Content-Security-Policy": POLICY})

    operations, events = _operations_by_code(openapi), _events_by_code(asyncapi)
    kinds = errors.list_error_classes()
    for kind in kinds:
        text = TEXTS[kind.code]
        content = page_shell.fill(
            "problem.html",
            code=kind.code,
            title=kind.title,
            status=_status(kind),
            cause=text.cause,
            remedy=text.remedy,
            is_common=kind.code in COMMON_CODES,
            is_common_event=kind.code in COMMON_EVENT_CODES,
            operations=operations.get(kind.code, []),
            events=events.get(kind.code, []),
        )
        serve(f"{PAGES}/{kind.code}", f"{kind.code}: error code", content)
    listed = [(kind.code, _status(kind) or "event", kind.title) for kind in kinds]
    serve(PAGES, "Error codes", page_shell.fill("problems.html", codes=listed))
    return files.routes


def _status(kind: type[errors.ProductError]) -> int | None:
    """Return the HTTP status of a code; None where only events answer it."""
    return kind.status if kind.code in errors.REST_CODES else None


def _operations_by_code(openapi: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Map each code to the operations that list it: method with path, and the address in the documentation."""
    found: dict[str, list[tuple[str, str]]] = {}
    for operation_id, each in definitions(openapi).items():
        if not each.get("x-internal"):
            name, address = f"{each['method'].upper()} {each['path']}", f"/docs#/{each['tags'][0]}/{operation_id}"
            for code in each.get("x-codes", []):
                found.setdefault(code, []).append((name, address))
    return found


def _events_by_code(asyncapi: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in asyncapi["operations"].values():
        for code in each.get("x-codes", []):
            found.setdefault(code, []).append(schemas.follow(each["messages"][0], asyncapi)["name"])
    return found
