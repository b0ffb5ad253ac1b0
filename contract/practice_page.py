"""The practice page: a client of both contracts, at `/` and where emails and payments link to.

The page routes by its address. Its files are served here, under addresses that change with their content; pictures and
segments of videos come from storage.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

from starlette.routing import Route

from contract import oauth_callback, page_shell
from contract.static_files import CSS, JAVASCRIPT, POLICY, Files, allow_pictures, html_file

_PAGE = Path(__file__).parent.parent / "web" / "practice"
#: Linked from emails, `{APP_URL}/...?token=`, and from payments, `STRIPE_SUCCESS_URL` and its siblings.
PATHS = (
    *("/", "/reset-password", "/verify-email", "/undo-email-change", "/appeal"),
    *("/payment/success", "/payment/cancel", "/oauth/callback"),
)


def routes(pictures: str, videos: str) -> list[Route]:
    """Build the routes of the page and of what it loads; the arguments are the origins of storage, to browsers."""
    files = Files("/practice")
    asset = files.asset
    html = Template((_PAGE / "index.html").read_text()).substitute(
        icon=page_shell.ICON,
        style=asset("page.css", (_PAGE / "page.css").read_bytes(), CSS),
        script=asset("page.js", (_PAGE / "page.js").read_bytes(), JAVASCRIPT),
        player=asset("player.js", (_PAGE / "player.js").read_bytes(), JAVASCRIPT),
    )
    for path in PATHS:
        files.page(path, html, _policy(pictures, videos))
    return [*files.routes, oauth_callback.route(html_file(html, _policy(pictures, videos)))]


def _policy(pictures: str, videos: str) -> str:
    """Extend the Content-Security-Policy by storage: pictures, and segments for scripts and the browser's player."""
    policy = allow_pictures(POLICY, pictures).replace("connect-src 'self'", f"connect-src 'self' {videos}")
    # hls.js plays through a blob: address. No page parses HTML, so no script may.
    return f"{policy}; media-src 'self' blob: {videos}; require-trusted-types-for 'script'; trusted-types 'none'"
