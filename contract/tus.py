"""tus 1.0.0, the protocol of resumable uploads: checks of requests, and headers of answers.

https://tus.io/protocols/resumable-upload. It applies to the paths of openapi.yaml with `x-tus: true`. `Protocol` wraps
the whole REST app, so that refusals of any layer have the protocol's headers too; `Requests` is in
connexion's stack between authorization and validation, so that a refusal can name the header of an extension that
is not offered, and reveals nothing to a client that may not upload.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import errors

VERSION = "1.0.0"
_CONTENT_TYPE = "application/offset+octet-stream"
_OVERRIDE = b"x-http-method-override"
_PARAMETER = re.compile(r"\{[^}]+\}")
#: Headers that belong to an extension, of those that are not offered.
_NOT_OFFERED = {
    "Upload-Concat": "concatenation",
    "Upload-Defer-Length": "creation-defer-length",
    "Upload-Checksum": "checksum",
}
#: Headers that may occur once.
_SINGLE_HEADERS = ("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata")
#: As many digits as openapi.yaml allows.
_INTEGER = re.compile("[0-9]{1,15}", re.ASCII)


def pattern(document: dict[str, Any]) -> re.Pattern[str]:
    """Return a pattern of the tus paths."""
    literals = (_PARAMETER.split(path) for path, item in document["paths"].items() if item.get("x-tus"))
    return re.compile("|".join("[^/]+".join(map(re.escape, each)) for each in literals))


class Protocol:
    """Middleware of `X-HTTP-Method-Override` and of the protocol's answer headers, on the tus paths."""

    def __init__(self, app: ASGIApp, document: dict[str, Any]) -> None:
        self._app = app
        self._pattern = pattern(document)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._pattern.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == _OVERRIDE:
                # A copy: the HTTP server frames its answer by the method that was sent. A method that the path does
                # not have is answered by the router, and authorization and limits are those of the new method.
                scope = {**scope, "method": value.decode("latin-1")}
                break

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"tus-resumable", VERSION.encode())]
                if message["status"] == errors.UploadVersionUnsupported.status:
                    message["headers"].append((b"tus-version", VERSION.encode()))
            await send(message)

        await self._app(scope, receive, send_with_version)


class Requests:
    """Middleware that refuses what the protocol forbids, and extensions that are not offered."""

    def __init__(self, app: ASGIApp, document: dict[str, Any]) -> None:
        self._app = app
        self._pattern = pattern(document)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._pattern.fullmatch(scope["path"]):
            headers = Headers(scope=scope)
            _check(scope["method"], headers)
            if scope["method"] == "POST" and "transfer-encoding" in headers:
                await _read_no_body(receive)
        await self._app(scope, receive, send)


def _check(method: str, headers: Headers) -> None:
    if method == "OPTIONS":  # has no version, and Tus-Resumable is ignored
        return
    if headers.get("tus-resumable") != VERSION:
        raise errors.UploadVersionUnsupported()
    for name, extension in _NOT_OFFERED.items():
        if name in headers:
            raise errors.RequestInvalid(
                f"{name}: the extension {extension} is not offered; send the file as one upload"
            )
    for name in _SINGLE_HEADERS:
        if len(headers.getlist(name)) > 1:
            raise errors.RequestInvalid(f"{name} is given more than once")
    if method == "POST":
        if headers.get("content-length", "0") != "0":
            raise _creation_with_upload()
        _check_integer(headers, "Upload-Length")
        if "upload-metadata" in headers:
            _check_metadata(headers["upload-metadata"])
    elif method == "PATCH":
        if headers.get("content-type", "").partition(";")[0].strip().lower() != _CONTENT_TYPE:
            raise errors.UnsupportedMediaType(f"Content-Type should be {_CONTENT_TYPE}")
        _check_integer(headers, "Upload-Offset")


def _check_integer(headers: Headers, name: str) -> None:
    if name not in headers:
        raise errors.RequestInvalid(f"{name} is missing")
    if not _INTEGER.fullmatch(headers[name]):
        raise errors.RequestInvalid(f"{name} should be a whole number of bytes, written in digits")


def _check_metadata(value: str) -> None:
    """Raise RequestInvalid unless it is a list of distinct keys, each with a value in base64 or none."""
    keys = set()
    for pair in value.split(","):
        key, _, encoded = pair.strip(" ").partition(" ")
        if not key or not (key.isascii() and key.isprintable()):
            raise errors.RequestInvalid("Upload-Metadata: a key should be of printable ASCII characters")
        if key in keys:
            raise errors.RequestInvalid("Upload-Metadata: a key is given more than once")
        keys.add(key)
        try:
            base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise errors.RequestInvalid("Upload-Metadata: a value should be base64") from None


def _creation_with_upload() -> errors.RequestInvalid:
    return errors.RequestInvalid(
        "Content-Length: the extension creation-with-upload is not offered; send the bytes with PATCH to the Location"
    )


async def _read_no_body(receive: Receive) -> None:
    """Read a body whose length was not declared; raise RequestInvalid at its first byte."""
    more = True
    while more:
        message = await receive()
        if message.get("body"):
            raise _creation_with_upload()
        more = message.get("more_body", False)
