"""Administration page at /admin-ui: the files of web/admin, a client of the REST contract.

All its files are served from here; its Content-Security-Policy allows no others.
"""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Route

from contract.docs import POLICY, Files

_FOLDER = Path(__file__).parent.parent / "web" / "admin"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_PAGE = "/admin-ui"


def routes() -> list[Route]:
    """Build the routes of the page and of each of its files."""
    files, index = Files(_PAGE), (_FOLDER / "index.html").read_bytes()
    files.serve(_PAGE, index, "text/html; charset=utf-8", **{"Content-Security-Policy": POLICY})
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            files.serve(f"{_PAGE}/{path.name}", path.read_bytes(), _TYPES[path.suffix])
    return files.routes
