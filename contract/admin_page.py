"""Administration page at /admin-ui: the files of web/admin, a client of the REST contract.

All its files are served from here, and its Content-Security-Policy allows no others but pictures of learners, which
come from storage.
"""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Route

from contract.static_files import CSS, JAVASCRIPT, POLICY, SVG, Files, allow_pictures

_FOLDER = Path(__file__).parent.parent / "web" / "admin"
_TYPES = {".css": CSS, ".js": JAVASCRIPT, ".svg": SVG}
_PAGE = "/admin-ui"


def routes(pictures: str) -> list[Route]:
    """Build the routes of the page and of each of its files; `pictures` is the origin of storage, to browsers."""
    files = Files(_PAGE)
    files.page(_PAGE, (_FOLDER / "index.html").read_text(), allow_pictures(POLICY, pictures))
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            files.serve(f"{_PAGE}/{path.name}", path.read_bytes(), _TYPES[path.suffix])
    return files.routes
