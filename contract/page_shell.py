"""The shell of all documentation pages and policy pages: head, header, footer, stylesheet with both color schemes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
from starlette.routing import Route

from contract.static_files import CSS, SVG, Files

#: The folder of the pages' templates, stylesheets and scripts.
FOLDER = Path(__file__).parent.parent / "web" / "pages"
Links = Sequence[tuple[str, str]]
_LINKS: Links = (("/docs", "REST"), ("/docs/events", "Events"), ("/docs/guide", "Guide"))
#: Links of the header on the pages of `policy_pages.py`.
DOCUMENTS: Links = (("/terms", "Terms"), ("/privacy", "Privacy"), ("/safety", "Safety"), ("/contact", "Contact"))
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, auto_reload=False
)
_files = Files("/docs/assets")
ICON = _files.asset("icon.svg", (FOLDER / "icon.svg").read_bytes(), SVG)
_STYLE = _files.asset("page.css", (FOLDER / "page.css").read_bytes(), CSS)


def routes() -> list[Route]:
    """Return the routes of what every page loads."""
    return _files.routes


def render(
    title: str,
    content: str,
    *,
    current: str = "",
    links: Links = _LINKS,
    label: str = "Documentation",
    tools: str = "",
    has_own_main: bool = False,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """Render a page.

    `content` is the HTML of the page, with its own `main` where `has_own_main`; `tools` is that of the header's end.
    `links` are those of the header, addresses with titles, `label` says what they are, and `current` is the address of
    the page's own. `styles` and `scripts` are addresses of further
    stylesheets and of JavaScript modules.
    """
    return fill(
        "shell.html",
        title=title,
        content=content,
        current=current,
        tools=tools,
        has_own_main=has_own_main,
        icon=ICON,
        links=links,
        label=label,
        styles=[_STYLE, *styles],
        scripts=scripts,
    )


def fill(template: str, **values: object) -> str:
    """Render a template of the folder; values are escaped."""
    return _TEMPLATES.get_template(template).render(**values)
