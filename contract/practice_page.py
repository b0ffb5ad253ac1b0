"""The practice page: a client of both contracts, at `/` and where mails and payments lead to.

The page decides by its address what it shows. What it loads comes from here, under an address that changes with it.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

from starlette.routing import Route

from contract.docs import ICON, POLICY, Files

_PAGE = Path(__file__).parent.parent / "web" / "practice"
#: Of mails, `{APP_URL}/...?token=`, and of payments, `STRIPE_SUCCESS_URL` and its siblings.
PATHS = ("/", "/reset-password", "/verify-email", "/payment/success", "/payment/cancel")
# Nothing on the page parses HTML, so no script may.
_POLICY = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"


def routes() -> list[Route]:
    """Build the routes of the page and of what it loads."""
    files = Files("/practice")
    asset = files.asset
    html = Template((_PAGE / "index.html").read_text()).substitute(
        icon=asset("icon.svg", ICON.encode(), "image/svg+xml"),
        style=asset("page.css", (_PAGE / "page.css").read_bytes(), "text/css; charset=utf-8"),
        script=asset("page.js", (_PAGE / "page.js").read_bytes(), "text/javascript; charset=utf-8"),
    )
    for path in PATHS:
        files.serve(path, html.encode(), "text/html; charset=utf-8", **{"Content-Security-Policy": _POLICY})
    return files.routes
