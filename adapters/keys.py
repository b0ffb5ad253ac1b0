"""Owns the RSA key files that sign and verify access tokens."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

import errors
from settings import Settings


class KeyFileError(errors.Refused):
    """A key file is missing, unreadable or in the way; the message says which and what to do."""


class KeyFiles:
    """The key pair at JWT_PRIVATE_KEY_PATH and JWT_PUBLIC_KEY_PATH, known to clients as JWT_KEY_ID."""

    def __init__(self, settings: Settings) -> None:
        self.private_path = settings.jwt_private_key_path
        self.public_path = settings.jwt_public_key_path
        self.key_id = settings.jwt_key_id

    def generate(self) -> None:
        """Write a new 2048-bit pair, the private key readable by its owner only; never overwrite one."""
        if self.private_path.exists():
            raise KeyFileError(f"{self.private_path} exists; moving it away makes every access token invalid")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public_pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(self.public_path, public_pem, 0o644)
        _write(self.private_path, private_pem, 0o600)

    def generate_if_missing(self) -> bool:
        """Write a pair where there is none; say whether one was written."""
        if self.private_path.exists():
            return False
        self.generate()
        return True

    def signing_key(self) -> RSAKey:
        return self._read(self.private_path)

    def public_keys(self) -> list[RSAKey]:
        return [self._read(self.public_path)]

    def _read(self, path: Path) -> RSAKey:
        try:
            key = RSAKey.import_key(path.read_bytes(), {"kid": self.key_id, "use": "sig", "alg": "RS256"})
        except FileNotFoundError:
            raise KeyFileError(f"there is no key at {path}; `parlance keys generate` makes one") from None
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{path} cannot be read as an RSA key: {error}") from None
        if path == self.private_path and not key.is_private:
            raise KeyFileError(f"{path} holds no private key")
        return key


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write by rename, so that a reader never sees half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    draft.rename(path)
