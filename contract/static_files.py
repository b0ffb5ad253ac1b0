"""Static bodies of pages and the files they load: ETags, compression, addresses that change with the content."""

from __future__ import annotations

import gzip
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digests import compute_digest

#: Hex digits of a digest that names a file in its ETag and its address.
_TAG_LENGTH = 16
HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
JAVASCRIPT, SVG = "text/javascript; charset=utf-8", "image/svg+xml"

#: Content-Security-Policy of pages that load all their files from this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: The same for pages without scripts whose forms this server answers.
FORM_POLICY = POLICY.replace("script-src 'self'", "script-src 'none'").replace(
    "form-action 'none'", "form-action 'self'"
)


def allow_pictures(policy: str, origin: str) -> str:
    """Extend a Content-Security-Policy by pictures of an origin."""
    return policy.replace("img-src 'self' data:", f"img-src 'self' data: {origin}")


class File:
    """A static body: revalidated by ETag, gzipped once, at the first request."""

    def __init__(self, body: bytes, media_type: str, **headers: str) -> None:
        self.body = body
        # Weak, since the gzipped body carries the same tag.
        self.etag = f'W/"{compute_digest(body)[:_TAG_LENGTH]}"'
        self.media_type = media_type
        self.headers = {
            "Cache-Control": "no-cache",
            "ETag": self.etag,
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            **headers,
        }

    @cached_property
    def gzipped(self) -> bytes:
        return gzip.compress(self.body, mtime=0)

    # Not async: Starlette calls it in a thread, and compressing 3 MB does not block the event loop.
    def respond(self, request: Request) -> Response:
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self.body, headers=self.headers, media_type=self.media_type)
        return Response(self.gzipped, headers={**self.headers, "Content-Encoding": "gzip"}, media_type=self.media_type)


def html_file(html: str, policy: str = POLICY) -> File:
    """Return a page as a file, with its Content-Security-Policy."""
    return File(html.encode(), HTML, **{"Content-Security-Policy": policy})


class Files:
    """Routes of pages and of the files they load."""

    def __init__(self, folder: str) -> None:
        """`folder` is the path below which `asset` puts what it serves."""
        self._folder = folder
        self.routes: list[Route] = []

    def serve(self, path: str, body: bytes, media_type: str, **headers: str) -> None:
        self.routes.append(Route(path, File(body, media_type, **headers).respond, methods=["GET"]))

    def page(self, path: str, html: str, policy: str = POLICY) -> None:
        """Serve a page under its Content-Security-Policy."""
        self.routes.append(Route(path, html_file(html, policy).respond, methods=["GET"]))

    def asset(self, name: str, body: bytes, media_type: str) -> str:
        """Serve a file under an address that changes with its content, so that browsers keep it; return that."""
        path = f"{self._folder}/{compute_digest(body)[:_TAG_LENGTH]}/{name}"
        self.serve(path, body, media_type, **{"Cache-Control": "public, max-age=31536000, immutable"})
        return path
