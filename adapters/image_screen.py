"""Screening of pictures by a service of the operator, over HTTP.

`POST IMAGE_SCREEN_URL` with the WebP as body; the answer is `{"verdict": "allow" | "refuse" | "review"}`.
"""

from __future__ import annotations

import httpx

import errors
import spans
from adapters.ports import Verdict
from settings import Settings

#: Timeout of a request in seconds.
TIMEOUT_SECONDS = 5
_VERDICTS: dict[object, Verdict] = {"allow": "allow", "refuse": "refuse", "review": "review"}


class HttpImageScreen:
    def __init__(self, settings: Settings) -> None:
        assert settings.image_screen_url is not None
        self._url = settings.image_screen_url
        token = settings.image_screen_token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, headers=headers, follow_redirects=False)

    async def screen(self, picture: bytes) -> Verdict:
        with spans.vendor("image_screen", "screen"):
            try:
                answer = await self._http.post(self._url, content=picture, headers={"Content-Type": "image/webp"})
                body = answer.raise_for_status().json()
            except (httpx.HTTPError, ValueError) as error:
                raise errors.Unavailable(f"the image screen failed: {type(error).__name__}") from None
        verdict = _VERDICTS.get(body.get("verdict")) if isinstance(body, dict) else None
        if verdict is None:
            raise errors.Unavailable("the image screen answered without a verdict")
        return verdict

    async def close(self) -> None:
        await self._http.aclose()
