"""Digests: SHA-256 in hex, the one form in which the product names, compares and stores what it hashes.

Other hashes belong to a protocol and stand where it is spoken: TURN credentials, names of Redis scripts, parts of S3
uploads, WebSocket handshakes, and the HMAC that derives a refresh token from its parent.
"""

from __future__ import annotations

import hashlib


def compute_digest(content: str | bytes) -> str:
    """Compute the SHA-256 of bytes, or of a text in UTF-8: 64 hex digits, of which a caller may take the first few."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def hash_token(token: str) -> str:
    """Return the stored form of a secret token, whose randomness makes a slow hash needless."""
    return compute_digest(token)
