"""HTTP clients of identity providers: 5 seconds, no redirects, answers of bounded size."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from typing import Any

import httpx

with warnings.catch_warnings():
    # Authlib prefers httpx2, and warns of httpx.
    warnings.simplefilter("ignore")
    from authlib.integrations.httpx_client import AsyncOAuth2Client

#: Of a whole request, with the connection and the body.
TIMEOUT_SECONDS = 5
#: Discovery documents and key sets have a few kilobytes.
MAX_BYTES = 256 * 1024
#: A compressed body could grow beyond any limit in one step.
HEADERS = {"Accept-Encoding": "identity"}


class _Bounded(httpx.AsyncClient):
    """Client that reads each answer whole, within the limits; raises httpx.HTTPError beyond them."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._read(request, options)
        except TimeoutError:
            raise httpx.ReadTimeout("the whole answer took too long", request=request) from None

    async def _read(self, request: httpx.Request, options: dict[str, Any]) -> httpx.Response:
        response = await super().send(request, **{**options, "stream": True})
        try:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise httpx.DecodingError("the answer is compressed", request=request)
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise httpx.ReadError("the answer is too large", request=request)
        finally:
            await response.aclose()
        headers = {
            name: response.headers[name] for name in ("Content-Type", "Cache-Control") if name in response.headers
        }
        return httpx.Response(response.status_code, headers=headers, content=body, request=request)


class DocumentClient(_Bounded):
    """Client of discovery documents and key sets."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(timeout=TIMEOUT_SECONDS, follow_redirects=False, verify=tls, headers=HEADERS)


class OAuthClient(_Bounded, AsyncOAuth2Client):  # type: ignore[misc]
    """OAuth client of one client id: authorization addresses with PKCE, exchanges of codes, revocations."""

    def __init__(self, tls: ssl.SSLContext, client_id: str, *, auth_method: str) -> None:
        AsyncOAuth2Client.__init__(
            self,
            client_id,
            token_endpoint_auth_method=auth_method,
            revocation_endpoint_auth_method=auth_method,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            verify=tls,
            headers=HEADERS,
        )
