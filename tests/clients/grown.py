"""A later version of the REST contract: each response has a new field, each list that may grow a new value.

The problems have a new code. Clients that were generated before must read them.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from contract import schemas
from contract.operations import METHODS
from tests.contract.test_served_specs import OPENAPI, answers, example, grown

#: What `grown` makes of a value of a list that may grow, codes of errors among them.
NEW_VALUE = "a_new_value"


def grown_answers() -> dict[str, Any]:
    """One response of each schema, by the schema's name."""
    references = [schema["$ref"] for schema in answers(OPENAPI).values() if "$ref" in schema]
    found = {reference.rpartition("/")[2]: grown_answer({"$ref": reference}) for reference in references}
    return {name: answer for name, answer in found.items() if isinstance(answer, dict)}


def grown_answer(schema: dict[str, Any]) -> Any:
    return grown(example(schema, OPENAPI), schema, OPENAPI)


class _Handler(BaseHTTPRequestHandler):
    """Answers each operation with its success; after a logout with 401, and a second registration with 409."""

    protocol_version = "HTTP/1.1"
    server: GrownServer

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, requests = self.path.partition("?")[0], self.server.requests
        registered, logged_out = requests.count("/auth/register") == 2, "/auth/logout" in requests
        requests.append(path)
        if logged_out or (path == "/auth/register" and "/auth/register" in requests[:-1] and not registered):
            problem = grown_answer({"$ref": "#/components/schemas/Problem"})
            status = 401 if logged_out else 409
            self._send(status, {**problem, "status": status}, "application/problem+json")
            return
        status, answer = _success(self.command.lower(), path)
        self._send(status, answer)

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _send(self, status: int, answer: Any, media_type: str = "application/json") -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if body:
            self.send_header("Content-Type", media_type)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


class GrownServer(ThreadingHTTPServer):
    """A server of the later version, for one client."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def _success(method: str, path: str) -> tuple[int, Any]:
    for template, item in OPENAPI["paths"].items():
        if method in METHODS and method in item and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            status = next(each for each in item[method]["responses"] if each.startswith("2"))
            content = schemas.follow(item[method]["responses"][status], OPENAPI).get("content", {})
            return int(status), grown_answer(content["application/json"]["schema"]) if content else None
    raise AssertionError(f"the contract has no {method} {path}")


@contextmanager
def grown_server() -> Iterator[GrownServer]:
    with GrownServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
