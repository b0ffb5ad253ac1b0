"""Probes of a configured provider, without a person: its documents, and the secret of its client."""

from __future__ import annotations

import secrets

import httpx

import errors
from adapters.identity_providers import build_provider
from adapters.identity_providers.documents import IssuerDocuments
from adapters.identity_providers.http import DocumentClient
from identity_settings import ProviderSettings


async def count_keys(configured: ProviderSettings) -> int:
    """Count the usable keys of a provider; raise Unavailable, which says what is wrong with its documents."""
    async with DocumentClient(httpx.create_ssl_context()) as http:
        documents = IssuerDocuments(configured.issuer, configured.provider, http)
        # First by itself: loading the keys would hide why there is no document.
        await documents.load_metadata()
        keys, _ = await documents.load_keys()
        return len(keys)


async def try_client(configured: ProviderSettings, redirect_uri: str) -> bool:
    """Exchange a code that does not exist; return False where nothing proves a client, as none has a secret.

    A provider authenticates the client before it reads the code. Raises Unavailable, which says what the provider
    answers, where it refuses the client.
    """
    client_id = configured.web_client_id or (configured.audiences[0] if configured.apple_key else None)
    if client_id is None:
        return False
    provider = build_provider(configured)
    try:
        await provider.exchange_code(
            secrets.token_urlsafe(32),
            client_id=client_id,
            redirect_uri=redirect_uri if client_id == configured.web_client_id else None,
            verifier=secrets.token_urlsafe(32),
        )
    except errors.AuthorizationFailed:
        return True
    finally:
        await provider.close()
    raise errors.Unavailable(f"{configured.provider} accepts a code that it has not given")
