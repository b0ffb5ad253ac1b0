"""Owns what an access token is worth after it has been seen once."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from joserfc.jwk import RSAKey

import errors
from adapters.tokens import LEEWAY, AccessTokens, Identity

CLAIMS = {"user_id": "u", "email": "ada@example.com", "role": "student", "family_id": "f"}


def make_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


KEY = make_key("one")


def make(seconds: float = 60, key: RSAKey = KEY, **options: Any) -> AccessTokens:
    lifetime = timedelta(seconds=seconds)
    return AccessTokens(key, [key], issuer="http://parlance.test", audience="parlance", lifetime=lifetime, **options)


def test_a_token_says_the_same_twice() -> None:
    tokens = make()
    token = tokens.issue(**CLAIMS)
    assert tokens.verify(token) is tokens.verify(token)
    assert tokens.verify(token) == Identity("u", "ada@example.com", "student", "f", tokens.verify(token).issued_at)


def test_a_token_that_was_verified_expires_all_the_same() -> None:
    tokens = make(1 - LEEWAY)
    token = tokens.issue(**CLAIMS)
    tokens.verify(token)
    time.sleep(1.1)
    with pytest.raises(errors.Unauthenticated):
        tokens.verify(token)


def test_revocation_is_asked_each_time() -> None:
    revoked: set[str] = set()
    tokens = make(is_revoked=lambda identity: identity.family_id in revoked)
    token = tokens.issue(**CLAIMS)
    tokens.verify(token)
    revoked.add("f")
    with pytest.raises(errors.Unauthenticated):
        tokens.verify(token)


def test_a_key_that_is_gone_verifies_nothing_more() -> None:
    tokens = make()
    token = tokens.issue(**CLAIMS)
    tokens.verify(token)
    other = make_key("two")
    tokens.replace_keys(other, [other])
    with pytest.raises(errors.Unauthenticated):
        tokens.verify(token)
    tokens.replace_keys(other, [KEY, other])
    assert tokens.verify(token)


def test_one_changed_character_is_another_token() -> None:
    tokens = make()
    token = tokens.issue(**CLAIMS)
    tokens.verify(token)
    header, claims, signature = token.split(".")
    for forged in (f"{header}.{claims}.", f"{header}.{claims}.A{signature[1:]}", token + " ", token[:-4]):
        with pytest.raises(errors.Unauthenticated):
            tokens.verify(forged)
