"""The published policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.json_text import encode_json
from digests import compute_digest
from handlers import shapes
from wire import rest

if TYPE_CHECKING:
    from container import Container

_HEADERS = {"Cache-Control": "public, max-age=300"}


async def get_policy(services: Container) -> tuple[rest.Policy, dict[str, str]]:
    body = shapes.policy(services.policy, services.settings.app_url)
    return body, {**_HEADERS, "ETag": f'"{compute_digest(encode_json(body))[:16]}"'}
