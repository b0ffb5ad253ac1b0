"""RSA key files that sign and verify access tokens.

    private.pem             signs (JWT_PRIVATE_KEY_PATH), readable by its owner only
    public.pem              its public half (JWT_PUBLIC_KEY_PATH)
    published/{kid}.pem     every public key that verifies
    published/{kid}.retired the time at which that key stopped signing

A rotation publishes the new public key before anything is signed with it, and every file is written by rename, so a
server may read at any moment. Writers hold `.lock`, one at a time.
"""

from __future__ import annotations

import fcntl
import hmac
import logging
import math
import os
import re
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from joserfc.errors import InvalidKeyTypeError, JoseError, SecurityWarning
from joserfc.jwk import KeyParameters, RSAKey

import errors
from instants import utc_now
from settings import Settings

log = logging.getLogger("parlance.keys")


#: RFC 7518 3.3.
_MIN_KEY_BITS = 2048


class KeyFileError(errors.Refused):
    """A key file is missing, unreadable, or exists already; the message names it and what to do."""


@dataclass(frozen=True, slots=True)
class PublishedKey:
    key_id: str
    signs: bool
    retired_at: datetime | None


class KeyFiles:
    """The keys beside JWT_PRIVATE_KEY_PATH. JWT_KEY_ID names the first."""

    def __init__(self, settings: Settings) -> None:
        self.private_path = settings.jwt_private_key_path
        self.public_path = settings.jwt_public_key_path
        self.first_key_id = settings.jwt_key_id
        self._published = self.private_path.parent / "published"

    def generate(self) -> str:
        """Write the first 2048-bit pair and return its id; never overwrite one."""
        with self._hold_lock():
            if self.private_path.exists():
                raise KeyFileError(
                    f"{self.private_path} exists; `parlance keys rotate` makes a new key and keeps the old"
                )
            self._write_pair(self.first_key_id)
        return self.first_key_id

    def generate_if_missing(self) -> bool:
        """Write a pair if there is none; return whether one was written."""
        if self.private_path.exists():
            return False
        self.generate()
        return True

    def rotate(self) -> str:
        """Make a new signing key, keep publishing the old one, and return the new id."""
        _read(self.private_path)  # nothing is written where there is no key
        with self._hold_lock():
            old = self.signing_key().kid
            assert old is not None
            if not (self._published / f"{old}.pem").exists():  # a pair that `generate` did not write
                _write(self._published / f"{old}.pem", self.public_path.read_bytes(), 0o644)
            taken = {path.stem for path in self._published.iterdir()}
            new = _next_id(old)
            while new in taken:
                new = _next_id(new)
            self._write_pair(new)
            _write(self._published / f"{old}.retired", utc_now().isoformat().encode(), 0o644)
            return new

    def prune(self, token_lifetime: timedelta) -> list[str]:
        """Stop publishing keys that retired so long ago that every token they signed has expired; return their ids."""
        pruned = []
        _read(self.private_path)
        with self._hold_lock():
            for key in self.published():
                if key.retired_at is not None and not key.signs and key.retired_at + token_lifetime < utc_now():
                    (self._published / f"{key.key_id}.pem").unlink()
                    (self._published / f"{key.key_id}.retired").unlink()
                    pruned.append(key.key_id)
        return pruned

    def published(self) -> list[PublishedKey]:
        """Return every published key: the signing one first, then the latest retired."""
        signing = self.signing_key().kid
        keys = []
        for key in self.public_keys():
            note = self._published / f"{key.kid}.retired"
            retired_at = datetime.fromisoformat(note.read_text()) if note.exists() else None
            keys.append(PublishedKey(str(key.kid), key.kid == signing, retired_at))
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(keys, key=lambda key: (key.signs, key.retired_at or never), reverse=True)

    def derive_secret(self, purpose: str) -> bytes:
        """Derive a secret for a purpose from the private key; a rotation changes it."""
        return hmac.digest(_read(self.private_path), purpose.encode(), "sha256")

    def signing_key(self) -> RSAKey:
        # Read once: a rotation may replace the file before it could be read again under the old name.
        private = _import_key(self.private_path, _read(self.private_path), self.first_key_id)
        if not private.is_private:
            raise KeyFileError(
                f"{self.private_path} holds a public key; set JWT_PRIVATE_KEY_PATH to the private key of the pair"
            )
        modulus = private.as_dict(private=False)["n"]
        for key in self.public_keys():
            if key.as_dict(private=False)["n"] == modulus:
                return RSAKey(private.raw_value, None, _parameters(str(key.kid)))
        raise KeyFileError(
            f"{self.private_path} and {self.public_path} are not one pair; set JWT_PUBLIC_KEY_PATH to the public half"
        )

    def public_keys(self) -> list[RSAKey]:
        keys = []
        for path in sorted(self._published.glob("*.pem")) if self._published.is_dir() else []:
            with suppress(FileNotFoundError):  # pruned since it was listed
                keys.append(_import_key(path, path.read_bytes(), path.stem))
        return keys or [_import_key(self.public_path, _read(self.public_path), self.first_key_id)]

    def fingerprint(self) -> tuple[int, ...]:
        """Return a value that changes when a key file is written or removed."""
        paths = (self.private_path, self._published)
        return tuple(path.stat().st_mtime_ns for path in paths if path.exists())

    def _write_pair(self, key_id: str) -> None:
        key = RSAKey.generate_key(2048)
        private_pem, public_pem = key.as_pem(private=True), key.as_pem(private=False)
        _write(self._published / f"{key_id}.pem", public_pem, 0o644)
        _write(self.public_path, public_pem, 0o644)
        _write(self.private_path, private_pem, 0o600)

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        """Hold the lock of commands that write keys."""
        self.private_path.parent.mkdir(parents=True, exist_ok=True)
        with (self.private_path.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class KeyRing:
    """The keys in use. Checks for changed files once a second, and for an unknown key id."""

    def __init__(self, files: KeyFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._files = files
        self._clock = clock
        self._checked_at = -math.inf
        self._fingerprint: tuple[int, ...] = ()
        self.version = 0
        self.signing_key: RSAKey
        self.public_keys: dict[str, RSAKey]
        self._load(files.fingerprint())

    def refresh(self) -> None:
        """Read the files again if they have changed; check at most once a second."""
        now = self._clock()
        if now - self._checked_at >= 1:
            self._checked_at = now
            self._check_files()

    def find(self, key_id: str) -> RSAKey | None:
        """Return the public key of that id, if it is published."""
        if key_id not in self.public_keys:  # another process may sign with a new key already
            self._check_files()
        return self.public_keys.get(key_id)

    def _check_files(self) -> None:
        try:
            fingerprint = self._files.fingerprint()
            if fingerprint != self._fingerprint:
                self._load(fingerprint)
        except (KeyFileError, OSError) as error:
            log.warning("key_files_unreadable error=%s", error)  # the keys known so far stay in use

    def _load(self, fingerprint: tuple[int, ...]) -> None:
        signing_key, public_keys = self._files.signing_key(), self._files.public_keys()
        self.signing_key = signing_key
        self.public_keys = {str(key.kid): key for key in public_keys}
        self._fingerprint = fingerprint
        self.version += 1


def is_exposed(private_key: os.stat_result, user_id: int) -> bool:
    """Say whether others than this user may read a private key.

    A secret that an orchestrator mounts is not: it belongs to root, and is read by a group that is the process's own.
    """
    allowed = 0o700 if private_key.st_uid == user_id else 0o740
    return bool(stat.S_IMODE(private_key.st_mode) & ~allowed)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise KeyFileError(f"there is no key at {path}; `parlance keys generate` makes one") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None


def _import_key(path: Path, pem: bytes, key_id: str) -> RSAKey:
    if not pem.strip():
        raise KeyFileError(f"{path} is empty; remove it, and `parlance keys generate` makes a pair")
    try:
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # a short key is refused below
            key = RSAKey.import_key(pem, _parameters(key_id))
    except InvalidKeyTypeError:
        raise KeyFileError(f"{path} holds a key that is not RSA; `parlance keys generate` makes one that is") from None
    except TypeError:
        raise KeyFileError(
            f"{path} is encrypted; write it without a passphrase: `openssl pkey -in {path} -out plain.pem`"
        ) from None
    except (ValueError, JoseError):
        raise KeyFileError(f"{path} holds no RSA key in PEM; `parlance keys generate` makes one") from None
    if key.raw_value.key_size < _MIN_KEY_BITS:
        raise KeyFileError(
            f"{path} holds a key of {key.raw_value.key_size} bits, too few for RS256; use {_MIN_KEY_BITS} or more"
        )
    return key


def _parameters(key_id: str) -> KeyParameters:
    return {"kid": key_id, "use": "sig", "alg": "RS256"}


def _next_id(key_id: str) -> str:
    match = re.fullmatch(r"(.*?)(\d+)", key_id)
    return f"{match[1]}{int(match[2]) + 1}" if match else f"{key_id}-2"


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write by rename, so that a reader never reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    draft.rename(path)
