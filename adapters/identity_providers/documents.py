"""Discovery document and key set of an issuer, cached: loaded again when they expire, kept while the issuer is away."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

import errors
import spans
from adapters.identity_providers.http import DocumentClient

log = logging.getLogger("parlance.identities")

T = TypeVar("T")
Key = RSAKey | ECKey
#: By `kid` and algorithm: a key verifies by one algorithm, also where a token's header names another.
Keys = dict[tuple[str, str], Key]

#: How long a document counts as fresh: as its `max-age` says, within these, in seconds.
FRESH_AT_LEAST, FRESH_BY_DEFAULT, FRESH_AT_MOST = 5 * 60, 60 * 60, 24 * 60 * 60
#: How long after loading it is used while the issuer cannot be reached, in seconds.
KEPT_SECONDS = 24 * 60 * 60
#: Seconds between two loads, so that tokens with made-up key ids do not become requests to the issuer; and after a
#: failed load without any document.
RELOAD_SECONDS, RETRY_SECONDS = 30, 1
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")
_CURVE_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
#: What the tokens of an issuer may be signed with: with asymmetric keys alone.
ALGORITHMS = (*_RSA_ALGORITHMS, *_CURVE_ALGORITHMS.values())
_MIN_RSA_BITS = 2048


class Metadata(NamedTuple):
    """What the discovery document says (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    keys_url: str
    authorization_url: str
    token_url: str
    revocation_url: str | None
    #: Of the clients with a secret: `client_secret_post` or `client_secret_basic`.
    auth_method: str


class CachedDocument(Generic[T]):
    def __init__(
        self, load: Callable[[], Awaitable[tuple[T, int]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`load` returns a document with the seconds for which it is fresh, or raises Unavailable."""
        self._load = load
        self._clock = clock
        self._value: T | None = None
        self._loaded_at = self._fresh_until = self._tried_at = float("-inf")
        self._has_failed = False
        self._loading: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """Return the document; raise Unavailable where it cannot be loaded and none is kept."""
        if self._value is None or self._clock() >= self._fresh_until:
            await self._reload()
        if self._value is None or self._clock() >= self._loaded_at + KEPT_SECONDS:
            raise errors.Unavailable("The identity provider does not answer; try again shortly.")
        return self._value

    async def renew(self) -> T:
        """Load the document again, unless that was done just now; raise Unavailable where that has failed."""
        await self._reload()
        if self._has_failed or self._value is None:
            raise errors.Unavailable("The identity provider does not answer; try again shortly.")
        return self._value

    async def _reload(self) -> None:
        """Load once for everyone who waits."""
        if self._loading is None:
            wait = RETRY_SECONDS if self._value is None else RELOAD_SECONDS
            if self._clock() < self._tried_at + wait:
                return
            self._loading = asyncio.create_task(self._load_once())
        # A request that is cancelled does not end the load of the others.
        await asyncio.shield(self._loading)

    async def _load_once(self) -> None:
        self._tried_at = self._clock()
        try:
            self._value, seconds = await self._load()
            self._loaded_at = self._clock()
            self._fresh_until = self._loaded_at + seconds
            self._has_failed = False
        except errors.Unavailable as error:
            self._has_failed = True
            log.warning("identity_provider_unavailable error=%s", error)
        finally:
            self._loading = None


class IssuerDocuments:
    def __init__(
        self, issuer: str, provider: str, http: DocumentClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._provider = provider
        self._http = http
        self._metadata = CachedDocument(self.load_metadata, clock)
        self._keys = CachedDocument(self.load_keys, clock)

    async def read_metadata(self) -> Metadata:
        """Return the discovery document; raise Unavailable."""
        return await self._metadata.get()

    async def find_key(self, key_id: str, algorithm: str) -> Key | None:
        """Return the key of an id that verifies by an algorithm; raise Unavailable.

        The keys are loaded again for an id that they lack, because the issuer may have new ones.
        """
        keys = await self._keys.get()
        if not any(known == key_id for known, _ in keys):
            keys = await self._keys.renew()
        return keys.get((key_id, algorithm))

    async def load_metadata(self) -> tuple[Metadata, int]:
        """Load the discovery document and the seconds for which it is fresh; raise Unavailable, which says why."""
        found, seconds = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration", "discover")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        has_post = isinstance(methods, list) and "client_secret_post" in methods
        if found.get("issuer") != self._issuer:
            raise errors.Unavailable(f"the discovery document of {self._issuer} names another issuer")
        metadata = Metadata(
            self._issuer,
            self._read_url(found, "jwks_uri"),
            self._read_url(found, "authorization_endpoint"),
            self._read_url(found, "token_endpoint"),
            self._read_url(found, "revocation_endpoint") if "revocation_endpoint" in found else None,
            "client_secret_post" if has_post else "client_secret_basic",
        )
        return metadata, seconds

    def _read_url(self, document: dict[str, Any], name: str) -> str:
        """Return an address of the document, which has the security of the issuer's or more."""
        url = document.get(name)
        schemes = ("https", urlsplit(self._issuer).scheme)
        if not isinstance(url, str) or urlsplit(url).scheme not in schemes or not urlsplit(url).hostname:
            raise errors.Unavailable(f"the discovery document of {self._issuer} has no usable {name}")
        return url

    async def load_keys(self) -> tuple[Keys, int]:
        """Load the usable keys and the seconds for which they are fresh; raise Unavailable, which says why."""
        metadata = await self._metadata.get()
        found, seconds = await self._fetch(metadata.keys_url, "keys")
        listed = found.get("keys")
        keys = dict(item for each in listed for item in _import_key(each)) if isinstance(listed, list) else {}
        if not keys:
            raise errors.Unavailable(f"the key set of {self._issuer} has no usable key")
        return keys, seconds

    async def _fetch(self, url: str, operation: str) -> tuple[dict[str, Any], int]:
        """Return a JSON object with the seconds for which it is fresh; raise Unavailable."""
        with spans.vendor(self._provider, operation):
            try:
                response = await self._http.get(url)
                # Not raise_for_status: a redirect is no document either.
                body = response.json() if response.status_code == httpx.codes.OK else None
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
                raise errors.Unavailable(f"{url} does not answer: {type(error).__name__}") from None
        if not isinstance(body, dict):
            raise errors.Unavailable(f"{url} answers {response.status_code} without a JSON object")
        match = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
        return body, min(max(int(match[1]) if match else FRESH_BY_DEFAULT, FRESH_AT_LEAST), FRESH_AT_MOST)


def _import_key(published: Any) -> list[tuple[tuple[str, str], Key]]:
    """Import a key of a set (RFC 7517, 5) with its id and algorithm; nothing where it is of another kind or use."""
    if not isinstance(published, dict) or published.get("use", "sig") != "sig":
        return []
    key_id, kind, named = published.get("kid"), published.get("kty"), published.get("alg")
    if not isinstance(key_id, str) or not key_id:
        return []
    try:
        key: Key
        if kind == "RSA":
            public = {name: published[name] for name in ("kty", "n", "e")}
            key, algorithm = RSAKey.import_key(public), "RS256" if named is None else named
            is_usable = algorithm in _RSA_ALGORITHMS and key.public_key.key_size >= _MIN_RSA_BITS
        elif kind == "EC":
            public = {name: published[name] for name in ("kty", "crv", "x", "y")}
            key, algorithm = ECKey.import_key(public), _CURVE_ALGORITHMS.get(published["crv"])
            is_usable = algorithm is not None and named in (None, algorithm)
        else:
            return []
    except (JoseError, ValueError, KeyError, TypeError):
        return []
    return [((key_id, str(algorithm)), key)] if is_usable else []
