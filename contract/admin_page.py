"""Administration page at /admin-ui: the files of web/admin, a client of the REST contract.

All its files are served from here; its Content-Security-Policy allows no others.
"""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Route

from contract.static_files import CSS, JAVASCRIPT, SVG, Files

_FOLDER = Path(__file__).parent.parent / "web" / "admin"
_TYPES = {".css": CSS, ".js": JAVASCRIPT, ".svg": SVG}
_PAGE = "/admin-ui"


def routes() -> list[Route]:
    """Build the routes of the page and of each of its files."""
    files = Files(_PAGE)
    files.page(_PAGE, (_FOLDER / "index.html").read_text())
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            files.serve(f"{_PAGE}/{path.name}", path.read_bytes(), _TYPES[path.suffix])
    return files.routes
