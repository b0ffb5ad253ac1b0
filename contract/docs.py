"""The documentation: Swagger UI over the REST contract, the AsyncAPI viewer over the events, and both specs as JSON.

All files of the pages are served from here; their Content-Security-Policy allows no others.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import orjson
from starlette.routing import Route
from swagger_ui_bundle import swagger_ui_path

from contract import page_shell, served
from contract.static_files import CSS, JAVASCRIPT, POLICY, Files

_ASYNCAPI_BUNDLE = Path(__file__).parent.parent / "web" / "vendor" / "asyncapi"

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


def _viewer_file(path: Path) -> bytes:
    # The source maps are not served, and a browser's developer tools would ask for them.
    return re.sub(rb"\n(//|/\*)# sourceMappingURL=.*", b"", path.read_bytes())


def routes(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> list[Route]:
    """Build the routes of `/docs`, `/docs/events`, `/openapi.json`, `/asyncapi.json` and of what the pages load."""
    files = Files("/docs/assets")
    serve, asset = files.serve, files.asset

    icon = page_shell.ICON
    frame = asset("frame.css", _STYLE.encode(), CSS)

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
        files.page(path, html, policy)

    page(
        "/docs",
        openapi["info"]["title"],
        "/openapi.json",
        style=asset("swagger-ui.css", _viewer_file(swagger_ui_path / "swagger-ui.css"), CSS),
        viewer=asset("swagger-ui.js", _viewer_file(swagger_ui_path / "swagger-ui-bundle.js"), JAVASCRIPT),
        script=asset("rest.js", _REST_SCRIPT.encode(), JAVASCRIPT),
        policy=POLICY,
    )
    page(
        "/docs/events",
        asyncapi["info"]["title"],
        "/asyncapi.json",
        style=asset("asyncapi.css", _viewer_file(_ASYNCAPI_BUNDLE / "default.min.css"), CSS),
        viewer=asset("asyncapi.js", _viewer_file(_ASYNCAPI_BUNDLE / "index.js"), JAVASCRIPT),
        script=asset("events.js", _EVENTS_SCRIPT.encode(), JAVASCRIPT),
        policy=_EVENTS_POLICY,
    )
    serve("/openapi.json", orjson.dumps(served.openapi(openapi)), "application/json")
    serve("/asyncapi.json", orjson.dumps(served.asyncapi(asyncapi)), "application/json")
    return [*page_shell.routes(), *files.routes]
