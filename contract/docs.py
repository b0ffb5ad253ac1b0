"""The documentation: Swagger UI over the REST contract, the AsyncAPI viewer over the events, and both specs as JSON.

All files of the pages are served from here; their Content-Security-Policy allows no others.
"""

from __future__ import annotations

import gzip
import re
from functools import cached_property
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from swagger_ui_bundle import swagger_ui_path

from contract import served
from digests import compute_digest

_ASYNCAPI_BUNDLE = Path(__file__).parent.parent / "web" / "vendor" / "asyncapi"

#: Hex digits of a digest that names a file in its ETag and its address.
_TAG_LENGTH = 16
_CSS, _JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The bundle's parser compiles its JSON Schemas with `new Function`.
_EVENTS_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'")

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>$title</title>
  <link rel="icon" href="$icon">
  <link rel="stylesheet" href="$style">
  <link rel="stylesheet" href="$frame">
</head>
<body>
  <header class="frame">
    <img src="$icon" alt="" width="22" height="22">
    <nav>$links</nav>
    <a class="spec" href="$spec">$spec</a>
  </header>
  <main id="docs">
    <noscript>This page needs JavaScript. The contract itself is at <a href="$spec">$spec</a>.</noscript>
  </main>
  <script src="$viewer"></script>
  <script type="module" src="$script"></script>
</body>
</html>
""")

# The lower half fits the two viewers under the frame, and hides what is redundant with one channel.
_STYLE = """\
body { margin: 0; background: #fff; font-family: system-ui, sans-serif; }
[id] { scroll-margin-top: 60px; }
.frame { position: sticky; top: 0; z-index: 30; box-sizing: border-box; height: 48px; padding: 0 20px; display: flex;
  align-items: center; gap: 14px; background: #1b2733; font-size: 15px; line-height: 1; }
.frame nav { display: flex; gap: 4px; flex: 1; }
.frame a { color: #c9d4df; text-decoration: none; padding: 8px 10px; border-radius: 6px; }
.frame a:hover, .frame a:focus-visible, .frame a[aria-current] { color: #fff; background: #33475b; }
.frame .spec { font-family: ui-monospace, monospace; font-size: 13px; }
noscript { display: block; padding: 40px 20px; line-height: 1.5; }
.swagger-ui .info { margin: 28px 0; }
.swagger-ui .scheme-container { margin: 0 0 20px; padding: 20px 0; }
.swagger-ui .info li { line-height: 1.7; }
.swagger-ui .responses-inner { overflow-x: auto; }
.aui-root .prose code::before, .aui-root .prose code::after { content: none; }
.aui-root #operations .text-sm:has(> ul a[href*="#server-"]) { display: none; }
.aui-root [id^="operation-reply-"] .rounded-t + .flex { display: none; }
.aui-root #servers strong { display: inline-block; }
.aui-root .sidebar a strong { flex: none; }
.aui-root .sidebar, .aui-root .sidebar > div { top: 48px; height: calc(100% - 48px); }
@media (min-width: 1024px) {
  .aui-root .burger-menu { display: none; }
  .aui-root .sidebar { position: relative; top: 0; display: block; flex: none; width: 17rem; }
  .aui-root .sidebar--content { width: 15rem; }
}
"""

ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
  <path fill="#5aa9e6" d="M4 5h24a3 3 0 0 1 3 3v13a3 3 0 0 1-3 3H15l-8 6v-6H4a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3z"/>
  <path stroke="#fff" stroke-width="2.5" stroke-linecap="round" d="M9 12v5m4.7-8v11M18.3 11v7m4.7-5v3"/>
</svg>
"""

# validatorUrl is null because Swagger UI would otherwise send the spec's address to a public validator.
_REST_SCRIPT = """\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  validatorUrl: null,
});
"""

# The viewer heads each operation with its channel's address, which on Socket.IO is always the namespace. So every event
# is shown as a channel of its own; the document itself stays as it is.
_EVENTS_SCRIPT = """\
const spec = await (await fetch("/asyncapi.json")).json();
for (const [key, operation] of Object.entries(spec.operations)) {
  const event = key.split(".").at(-1);
  spec.channels[event] = {...spec.channels.root, address: event};
  operation.channel = {$ref: `#/channels/${event}`};
  operation.messages = operation.messages.map(({$ref}) => ({$ref: $ref.replace("/root/", `/${event}/`)}));
  operation.description = [operation.summary, operation.description].filter(Boolean).join("\\n\\n");
  delete operation.summary;
  delete operation.reply?.channel;
}
AsyncApiStandalone.render(
  {
    schema: spec,
    config: {
      show: {sidebar: true, messages: false},
      sidebar: {useChannelAddressAsIdentifier: true},
      receiveLabel: "you send",
      replyLabel: "you send",
      sendLabel: "you receive",
    },
  },
  document.getElementById("docs"),
);
"""


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


class Files:
    """Routes of pages and of the files they load."""

    def __init__(self, folder: str) -> None:
        """`folder` is the path below which `asset` puts what it serves."""
        self._folder = folder
        self.routes: list[Route] = []

    def serve(self, path: str, body: bytes, media_type: str, **headers: str) -> None:
        self.routes.append(Route(path, File(body, media_type, **headers).respond, methods=["GET"]))

    def asset(self, name: str, body: bytes, media_type: str) -> str:
        """Serve a file under an address that changes with its content, so that browsers keep it; return that."""
        path = f"{self._folder}/{compute_digest(body)[:_TAG_LENGTH]}/{name}"
        self.serve(path, body, media_type, **{"Cache-Control": "public, max-age=31536000, immutable"})
        return path


def _viewer_file(path: Path) -> bytes:
    # The source maps are not served, and a browser's developer tools would ask for them.
    return re.sub(rb"\n(//|/\*)# sourceMappingURL=.*", b"", path.read_bytes())


def routes(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> list[Route]:
    """Build the routes of `/docs`, `/docs/events`, `/openapi.json`, `/asyncapi.json` and of what the pages load."""
    files = Files("/docs/assets")
    serve, asset = files.serve, files.asset

    icon = asset("icon.svg", ICON.encode(), "image/svg+xml")
    frame = asset("frame.css", _STYLE.encode(), _CSS)

    def page(path: str, title: str, spec: str, style: str, viewer: str, script: str, policy: str) -> None:
        html = _PAGE.substitute(
            title=escape(title),
            icon=icon,
            style=style,
            frame=frame,
            links="".join(
                f'<a href="{href}"{" aria-current=page" if href == path else ""}>{name}</a>'
                for href, name in (("/docs", "REST"), ("/docs/events", "Events"))
            ),
            spec=spec,
            viewer=viewer,
            script=script,
        )
        serve(path, html.encode(), "text/html; charset=utf-8", **{"Content-Security-Policy": policy})

    page(
        "/docs",
        openapi["info"]["title"],
        "/openapi.json",
        style=asset("swagger-ui.css", _viewer_file(swagger_ui_path / "swagger-ui.css"), _CSS),
        viewer=asset("swagger-ui.js", _viewer_file(swagger_ui_path / "swagger-ui-bundle.js"), _JAVASCRIPT),
        script=asset("rest.js", _REST_SCRIPT.encode(), _JAVASCRIPT),
        policy=POLICY,
    )
    page(
        "/docs/events",
        asyncapi["info"]["title"],
        "/asyncapi.json",
        style=asset("asyncapi.css", _viewer_file(_ASYNCAPI_BUNDLE / "default.min.css"), _CSS),
        viewer=asset("asyncapi.js", _viewer_file(_ASYNCAPI_BUNDLE / "index.js"), _JAVASCRIPT),
        script=asset("events.js", _EVENTS_SCRIPT.encode(), _JAVASCRIPT),
        policy=_EVENTS_POLICY,
    )
    serve("/openapi.json", orjson.dumps(served.openapi(openapi)), "application/json")
    serve("/asyncapi.json", orjson.dumps(served.asyncapi(asyncapi)), "application/json")
    return files.routes
