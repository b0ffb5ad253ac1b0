"""Encryption of secrets that the database keeps: JWE (RFC 7516), AES-256-GCM with a key of the settings.

Each stored text begins with the id of its key, so that keys can be replaced: the first encrypts, all decrypt. Without
keys it begins with `plain` and has the secret as it is.
"""

from __future__ import annotations

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import SecretStr

import errors
from digests import compute_digest

_PLAIN = "plain"
_ALGORITHMS = ["dir", "A256GCM"]


def read_keys(setting: SecretStr | None) -> list[bytes]:
    """Return the keys of a setting, in hexadecimal with commas between."""
    return [bytes.fromhex(each.strip()) for each in setting.get_secret_value().split(",")] if setting else []


class SecretBox:
    def __init__(self, keys: SecretStr | None) -> None:
        """`keys` are those of SECOND_FACTOR_KEYS."""
        self._keys = {compute_digest(each)[:16]: OctKey.import_key(each) for each in read_keys(keys)}
        self._first = next(iter(self._keys), _PLAIN)

    def seal(self, secret: str) -> str:
        """Return a secret as it is stored."""
        if self._first == _PLAIN:
            return f"{_PLAIN}:{secret}"
        header = {"alg": "dir", "enc": "A256GCM"}
        key = self._keys[self._first]
        return f"{self._first}:{jwe.encrypt_compact(header, secret.encode(), key, algorithms=_ALGORITHMS)}"

    def open(self, stored: str) -> str:
        """Return a stored secret; raise Unavailable where its key is not among the settings'."""
        key_id, _, sealed = stored.partition(":")
        if key_id == _PLAIN:
            return sealed
        try:
            opened = jwe.decrypt_compact(sealed, self._keys[key_id], algorithms=_ALGORITHMS)
        except (JoseError, ValueError, KeyError):
            raise errors.Unavailable("SECOND_FACTOR_KEYS lacks the key of a stored secret") from None
        return (opened.plaintext or b"").decode()

    def is_current(self, stored: str) -> bool:
        """Return whether a stored secret has the key that `seal` uses."""
        return stored.startswith(f"{self._first}:")
