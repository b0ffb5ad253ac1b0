"""Signing keys of a stand-in issuer, which rotate on demand."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

Json = dict[str, Any]


class KeyRing:
    """The keys that sign, one of each algorithm, and those of before that are still published."""

    def __init__(self, *algorithms: str) -> None:
        """Make no key yet; each is generated when it is first needed."""
        self._algorithms = algorithms
        self._lock = threading.Lock()
        self._signing: dict[str, Key] = {}
        self._former: list[Key] = []

    def signing_key(self, algorithm: str) -> Key:
        with self._lock:
            if algorithm not in self._signing:
                self._signing[algorithm] = _generate(algorithm)
            return self._signing[algorithm]

    def rotate(self, *, keep_old: bool) -> None:
        """Replace the keys that sign; the old ones stay published where `keep_old` is true."""
        for algorithm in self._algorithms:
            self.signing_key(algorithm)
        with self._lock:
            self._former = [*self._signing.values(), *self._former] if keep_old else []
            self._signing = {}

    def jwks(self) -> Json:
        """Return the public keys as a JWK Set, those that sign first."""
        current = [self.signing_key(algorithm) for algorithm in self._algorithms]
        return {"keys": [dict(key.as_dict(private=False)) for key in (*current, *self._former)]}


def _generate(algorithm: str) -> Key:
    parameters: Any = {"kid": secrets.token_hex(10), "use": "sig", "alg": algorithm}
    if algorithm.startswith("ES"):
        return ECKey.generate_key("P-256", parameters=parameters)
    return RSAKey.generate_key(2048, parameters=parameters)


def sign(header: Json, claims: Json, key: Key) -> str:
    """Return a JWT with exactly this header; `alg` none makes one without a signature."""
    content = json.dumps(claims, separators=(",", ":")).encode()
    if header["alg"] == "none":
        return f"{_encode(json.dumps(header).encode())}.{_encode(content)}."
    return jws.serialize_compact(header, content, key, algorithms=[header["alg"]])


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
