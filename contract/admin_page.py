"""The operators' page at /admin-ui: the files of web/admin, a client of the REST contract like any other.

Everything it loads is served from here, and its Content-Security-Policy allows nothing else.
"""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Route

from contract.docs import POLICY, File

_FOLDER = Path(__file__).parent.parent / "web" / "admin"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_PAGE = "/admin-ui"


def routes() -> list[Route]:
    """Build the routes of the page and of each of its files."""
    page = File(
        (_FOLDER / "index.html").read_bytes(), "text/html; charset=utf-8", **{"Content-Security-Policy": POLICY}
    )
    served = [Route(_PAGE, page.respond, methods=["GET"])]
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            file = File(path.read_bytes(), _TYPES[path.suffix])
            served.append(Route(f"{_PAGE}/{path.name}", file.respond, methods=["GET"]))
    return served
