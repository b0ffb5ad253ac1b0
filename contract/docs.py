"""The documentation: both contracts in one viewer, `/docs` and `/docs/events`, and both specs as JSON.

All files of the pages are served from here; their Content-Security-Policy allows no others.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from starlette.routing import Route

from contract import code_samples, page_shell, reference, sequences, served
from contract.static_files import CSS, JAVASCRIPT, POLICY, Files

_VIEWER = page_shell.FOLDER.parent / "vendor" / "scalar" / "standalone.js"
#: The source map is not served, and a browser's developer tools would ask for it.
_SOURCE_MAP = re.compile(rb"\n//# sourceMappingURL=\S*\s*\Z")
#: The viewer writes its stylesheet, and lines of highlighted code, into the page. Scripts are of this server alone.
_VIEWER_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


def routes(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> list[Route]:
    """Build the routes of `/docs`, `/docs/events`, `/openapi.json`, `/asyncapi.json` and of what the pages load."""
    files = Files("/docs/assets")
    rest, events = served.openapi(openapi), served.asyncapi(asyncapi)
    styles = [files.asset("reference.css", (page_shell.FOLDER / "reference.css").read_bytes(), CSS)]
    viewer = files.asset("viewer.js", _SOURCE_MAP.sub(b"", _VIEWER.read_bytes()), JAVASCRIPT)

    def page(path: str, spec: str, title: str, name: str, shown: dict[str, Any], **parts: str) -> None:
        document = files.asset(f"{name}.json", orjson.dumps(shown), "application/json")
        script = files.asset(f"{name}.js", (page_shell.FOLDER / f"{name}.js").read_bytes(), JAVASCRIPT)
        origin = code_samples.ORIGIN
        content = page_shell.fill("reference.html", spec=spec, document=document, origin=origin, parts=parts)
        tools = page_shell.fill("login.html")
        html = page_shell.render(
            title, content, current=path, tools=tools, has_own_main=True, styles=styles, scripts=[viewer, script]
        )
        files.page(path, html, _VIEWER_POLICY)

    page("/docs", "/openapi.json", openapi["info"]["title"], "rest", reference.openapi(rest))
    shown = reference.asyncapi(events)
    parts = {"sequences": sequences.render(shown), "console": page_shell.fill("console.html")}
    page("/docs/events", "/asyncapi.json", asyncapi["info"]["title"], "events", shown, **parts)
    files.serve("/openapi.json", orjson.dumps(rest), "application/json")
    files.serve("/asyncapi.json", orjson.dumps(events), "application/json")
    return [*page_shell.routes(), *files.routes]
