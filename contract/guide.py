"""The guide at `/docs/guide`: the project's Markdown files as pages.

Links between the files become links between the pages; pictures are served; a link to any other file of the repository
becomes plain text, because a server has no source browser. Raw HTML is left out.
"""

from __future__ import annotations

import mimetypes
import posixpath
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contract import page_shell, schemas
from contract.static_files import CSS, File, Files, html_file

#: Folder of the files below; a package and the image have them at the same places.
ROOT = schemas.ROOT
ADDRESS = "/docs/guide"
#: In the order of the navigation; what these patterns find besides follows by name.
_FILES = (
    "README.md",
    "docs/clients.md",
    "docs/extending.md",
    "docs/deploying.md",
    "docs/operating.md",
    "docs/stores.md",
    "docs/performance.md",
    "docs/reliability.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/glossary.md",
    "docs/decisions/README.md",
    "docs/licences.md",
    "CHANGELOG.md",
)
_PATTERNS = ("docs/*.md", "docs/decisions/*.md", "bench/results/*.md")
_PICTURES = ("docs/images/*.png", "docs/images/*.svg")
#: Files with a page of their own elsewhere.
_ELSEWHERE = {"openapi.yaml": "/docs", "asyncapi.yaml": "/docs/events"}


def address_of(name: str) -> str:
    """Return the address of a Markdown file by its path in the repository."""
    stem = name.removesuffix(".md").removeprefix("docs/")
    if stem == "README":
        return ADDRESS
    if "/" not in stem:
        stem = stem.lower()
    return f"{ADDRESS}/{stem.removesuffix('/README')}"


class Guide:
    """The Markdown files of a folder, their addresses and those of their pictures."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        found = [path.relative_to(root).as_posix() for each in _PATTERNS for path in sorted(root.glob(each))]
        self.names = list(dict.fromkeys([*(name for name in _FILES if (root / name).is_file()), *found]))
        self.addresses = {name: address_of(name) for name in self.names} | _ELSEWHERE
        files = Files("/docs/assets")
        for path in (path for each in _PICTURES for path in sorted(root.glob(each))):
            media_type = mimetypes.types_map[path.suffix]
            self.addresses[path.relative_to(root).as_posix()] = files.asset(path.name, path.read_bytes(), media_type)
        self.style = files.asset("guide.css", (page_shell.FOLDER / "guide.css").read_bytes(), CSS)
        self.routes = [*files.routes, *(Route(address_of(name), Page(self, name).respond) for name in self.names)]

    @cached_property
    def navigation(self) -> list[tuple[str, str]]:
        """Address and title of each page that is not one of many in a folder."""
        return [(self.addresses[name], read_title(self.root / name)) for name in self.names if name in _FILES]


class Page:
    """A page of the guide, rendered when it is first requested: most are rarely read."""

    def __init__(self, guide: Guide, name: str) -> None:
        self._guide = guide
        self._name = name

    @cached_property
    def file(self) -> File:
        text = (self._guide.root / self._name).read_text(encoding="utf-8")
        content = page_shell.fill(
            "guide.html",
            navigation=self._guide.navigation,
            current=self._guide.addresses[self._name],
            text=render(text, self._name, self._guide.addresses),
        )
        title = f"{read_title(self._guide.root / self._name)} · Parlance"
        html = page_shell.render(title, content, current=ADDRESS, has_own_main=True, styles=[self._guide.style])
        return html_file(html)

    # Not async: Starlette calls it in a thread.
    def respond(self, request: Request) -> Response:
        return self.file.respond(request)


def routes() -> list[Route]:
    """Build the routes of the guide and of its pictures."""
    return Guide().routes


def read_title(path: Path) -> str:
    """Return the first heading of a Markdown file."""
    found = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.M)
    return found[1].replace("`", "") if found else path.stem


def render(text: str, name: str, addresses: dict[str, str]) -> str:
    """Render a Markdown file as HTML; `addresses` maps files to where they are served."""
    # HTML is recognized, so that comments are left out as a whole, and never written.
    markdown = MarkdownIt("commonmark", {"html": True}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    tokens = markdown.parse(text)
    _name_headings(tokens)
    for token in tokens:
        if token.children:
            token.children = _resolve(token.children, posixpath.dirname(name), addresses)
    html: str = markdown.renderer.render(tokens, markdown.options, {})
    return html


class _Renderer(RendererHTML):
    """Renderer without raw HTML, whose wide blocks scroll by themselves, with the keyboard too."""

    def html_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return ""

    html_inline = html_block

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="table" tabindex="0"><table>'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return super().fence(tokens, idx, options, env).replace("<pre>", '<pre tabindex="0">', 1)


def _name_headings(tokens: list[Token]) -> None:
    """Give each heading the id that repositories' pages give it, so that links with a fragment work."""
    seen: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(each.content for each in inline.children or [] if each.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = seen[slug] = seen.get(slug, -1) + 1
            opening.attrSet("id", f"{slug}-{count}" if count else slug)


def _resolve(tokens: list[Token], folder: str, addresses: dict[str, str]) -> list[Token]:
    """Point links and pictures to where they are served; drop the links, not the texts, of what is not."""
    kept, dropped = [], False
    for token in tokens:
        attribute = {"link_open": "href", "image": "src"}.get(token.type)
        target: Any = token.attrGet(attribute) if attribute else None
        if attribute and target is not None:
            address = _address(str(target), folder, addresses)
            dropped = token.type == "link_open" and address is None
            if address is not None:
                token.attrSet(attribute, address)
        if token.type == "link_open" and dropped:
            continue
        if token.type == "link_close" and dropped:
            dropped = False
            continue
        kept.append(token)
    return kept


def _address(target: str, folder: str, addresses: dict[str, str]) -> str | None:
    """Return where a link of a file in `folder` leads; None if the server does not serve that."""
    if re.match(r"[a-z]+:|/|#", target):
        return target
    path, mark, fragment = target.partition("#")
    name = posixpath.normpath(posixpath.join(folder, path))
    address = addresses.get(name) or addresses.get(f"{name}/README.md")
    return None if address is None else f"{address}{mark}{fragment}"
