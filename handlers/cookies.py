"""Cookies of web clients: HttpOnly, and SameSite."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request

from settings import Settings

#: Browsers accept this prefix over https alone, and from this very host: no subdomain can set such a cookie
#: (RFC 6265bis, 4.1.3).
_HOST_PREFIX = "__Host-"


def read(request: Request, settings: Settings, name: str) -> str:
    """Return the value of a cookie, or nothing."""
    return request.cookies.get(_full_name(request, settings, name), "")


def write(request: Request, settings: Settings, name: str, value: str, lifetime: timedelta, *, path: str) -> str:
    """Return the `Set-Cookie` value; a lifetime of zero deletes the cookie.

    Over plain http, on a developer's machine, there is neither prefix nor `Secure`: Safari drops such cookies even on
    loopback. The prefix requires `Path=/`; `path` applies without it.
    """
    seconds = int(lifetime.total_seconds())
    if _is_secure(request, settings):
        path, security = "/", "; Secure"
    else:
        security = ""
    full_name = _full_name(request, settings, name)
    return f"{full_name}={value}; Max-Age={seconds}; Path={path}; HttpOnly{security}; SameSite=Strict"


def _full_name(request: Request, settings: Settings, name: str) -> str:
    return _HOST_PREFIX + name if _is_secure(request, settings) else name


def _is_secure(request: Request, settings: Settings) -> bool:
    # A proxy that terminates TLS may not pass that on.
    return request.url.scheme == "https" or settings.app_url.startswith("https://")
