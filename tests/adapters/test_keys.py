"""Key files: readable at any moment, rotated without a refused token, pruned after the last token."""

from __future__ import annotations

import json
import stat
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import errors
import settings as configuration
from adapters.keys import KeyFileError, KeyFiles, KeyRing, is_exposed
from adapters.tokens import AccessTokens
from handlers.shapes import json_web_key_set

Files = Callable[..., KeyFiles]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Make the key files of this test, in a directory of their own."""

    def make(**changes: str) -> KeyFiles:
        directory = tmp_path / "keys"
        paths = {"jwt_private_key_path": directory / "private.pem", "jwt_public_key_path": directory / "public.pem"}
        return KeyFiles(configuration.load(None, **paths, **changes))

    return make


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tokens(files: KeyFiles, clock: Callable[[], float] = time.monotonic) -> AccessTokens:
    """What one worker signs and verifies with."""
    ring = KeyRing(files, clock=clock)
    return AccessTokens(ring, issuer="https://a.example", audience="a", lifetime=timedelta(minutes=15))


def issue(worker: AccessTokens) -> str:
    return worker.issue(user_id="u1", email="ada@example.com", role="student", family_id="f1")


def key_id(token: str) -> str:
    return str(json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def retire(files: KeyFiles, name: str, *, ago: timedelta) -> None:
    """Say that a key stopped signing some time ago."""
    note = files.private_path.parent / "published" / f"{name}.retired"
    assert note.exists()
    note.write_text((datetime.now(UTC) - ago).isoformat())


def write_own_pair(files: KeyFiles, private_format: serialization.PrivateFormat) -> rsa.RSAPrivateKey:
    """Write a pair as an operator might with openssl: two files and nothing else."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    files.private_path.parent.mkdir(exist_ok=True)
    files.private_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private_format, serialization.NoEncryption())
    )
    files.public_path.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return key


def test_private_keys_stay_readable_by_their_owner_alone(files: Files) -> None:
    keys = files()
    keys.generate()
    for _ in range(2):
        assert mode(keys.private_path) == 0o600
        everything = [path for path in keys.private_path.parent.rglob("*") if path.is_file()]
        assert [path for path in everything if b"PRIVATE" in path.read_bytes()] == [keys.private_path]
        keys.rotate()


def test_generate_overwrites_no_key(files: Files) -> None:
    keys = files()
    assert keys.generate_if_missing() and not keys.generate_if_missing()
    before = keys.private_path.read_bytes()
    with pytest.raises(KeyFileError, match="rotate"):
        keys.generate()
    assert keys.private_path.read_bytes() == before


def test_rotation_keeps_publishing_the_old_key(files: Files) -> None:
    keys = files(jwt_key_id="prod-2026-9")
    assert keys.generate() == "prod-2026-9"
    old = issue(tokens(keys))
    assert keys.rotate() == "prod-2026-10"
    worker = tokens(keys)
    assert (key_id(old), key_id(issue(worker))) == ("prod-2026-9", "prod-2026-10")
    assert worker.verify(old).user_id == "u1"
    assert {key.key_id for key in worker.list_public_keys()} == {"prod-2026-9", "prod-2026-10"}
    assert all(
        set(key) == {"kty", "use", "alg", "kid", "n", "e"}
        for key in json_web_key_set(worker.list_public_keys())["keys"]
    )
    assert [(key.key_id, key.signs, key.retired_at is None) for key in keys.published()] == [
        ("prod-2026-10", True, True),
        ("prod-2026-9", False, False),
    ]


@pytest.mark.parametrize(
    "private_format", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_foreign_key_pair_signs_and_rotates(files: Files, private_format: serialization.PrivateFormat) -> None:
    keys = files(jwt_key_id="from-the-vault")
    write_own_pair(keys, private_format)
    worker = tokens(keys)
    old = issue(worker)
    assert key_id(old) == "from-the-vault" and worker.verify(old).user_id == "u1"
    assert [key.key_id for key in worker.list_public_keys()] == ["from-the-vault"]
    new_id = keys.rotate()
    assert new_id != "from-the-vault"
    fresh = tokens(keys)
    assert key_id(issue(fresh)) == new_id and fresh.verify(old).user_id == "u1"
    assert {key.key_id for key in fresh.list_public_keys()} == {"from-the-vault", new_id}
    assert mode(keys.private_path) == 0o600


def test_running_process_uses_a_rotated_key_after_a_second(files: Files) -> None:
    keys, clock = files(), Clock()
    keys.generate()
    worker = tokens(keys, clock)
    old = issue(worker)
    keys.rotate()
    clock.now += 0.9
    assert key_id(issue(worker)) == "key-v1", "the files are looked at once a second"
    clock.now += 0.1
    assert key_id(issue(worker)) == "key-v2"
    assert worker.verify(old).user_id == "u1"


def test_key_used_by_another_process_is_accepted_at_once(files: Files) -> None:
    keys = files()
    keys.generate()
    late = tokens(keys, Clock())
    assert late.verify(issue(late)).user_id == "u1"  # it has looked, and its clock stands still
    keys.rotate()
    new = issue(tokens(keys))
    assert key_id(new) == "key-v2" and late.verify(new).user_id == "u1"


def test_key_is_pruned_once_its_tokens_have_expired(
    files: Files,
) -> None:
    keys, clock, lifetime = files(), Clock(), timedelta(minutes=15, seconds=30)
    keys.generate()
    old = issue(tokens(keys))
    assert keys.prune(lifetime) == []
    keys.rotate()
    worker = tokens(keys, clock)
    assert worker.verify(old).user_id == "u1"
    assert keys.prune(lifetime) == []
    retire(keys, "key-v1", ago=lifetime - timedelta(seconds=5))
    assert keys.prune(lifetime) == []
    assert worker.verify(old).user_id == "u1"

    retire(keys, "key-v1", ago=lifetime + timedelta(seconds=1))
    assert keys.prune(lifetime) == ["key-v1"]
    assert keys.prune(lifetime) == []
    assert [key.key_id for key in keys.published()] == ["key-v2"]
    # A worker that verified this very token before refuses it as soon as it has looked.
    clock.now += 1
    assert [key.key_id for key in worker.list_public_keys()] == ["key-v2"]
    with pytest.raises(errors.Unauthenticated):
        worker.verify(old)
    assert worker.verify(issue(worker)).user_id == "u1"
    assert keys.rotate() == "key-v3"


def test_signing_key_is_never_pruned(files: Files) -> None:
    keys = files()
    keys.generate()
    (keys.private_path.parent / "published" / "key-v1.retired").write_text("2020-01-01T00:00:00+00:00")
    assert keys.prune(timedelta(0)) == []
    assert key_id(issue(tokens(keys))) == "key-v1"


def test_readers_during_rotations_see_whole_matching_keys(files: Files) -> None:
    keys = files()
    keys.generate()
    done = threading.Event()

    def write() -> list[str]:
        try:
            made: list[str] = []
            until = time.monotonic() + 3
            while len(made) < 4 or time.monotonic() < until:
                made.append(keys.rotate())
                keys.prune(timedelta(seconds=2))
            return made
        finally:
            done.set()

    def read() -> int:
        rounds = 0
        while not done.is_set():
            signing = keys.signing_key()
            published = {str(key.kid): key.as_dict(private=False)["n"] for key in keys.public_keys()}
            assert published[str(signing.kid)] == signing.as_dict(private=False)["n"]
            assert b"-----END" in keys.private_path.read_bytes() and b"-----END" in keys.public_path.read_bytes()
            rounds += 1
            time.sleep(0.001)
        return rounds

    def serve() -> int:
        ours, others, rounds = tokens(keys), tokens(keys), 0
        while not done.is_set():
            assert others.verify(issue(ours)).user_id == "u1"
            ours, others = (others, ours) if rounds % 3 else (tokens(keys), ours)
            rounds += 1
            time.sleep(0.001)
        return rounds

    with ThreadPoolExecutor() as pool:
        reading = [pool.submit(read), pool.submit(read), pool.submit(serve)]
        made = pool.submit(write).result()
        rounds = [each.result() for each in reading]
    assert made == [f"key-v{number + 2}" for number in range(len(made))] and min(rounds) >= 1


def test_key_pruned_while_listed_is_skipped(files: Files) -> None:
    keys = files()
    keys.generate()
    # Listed, and gone when it is read.
    (keys.private_path.parent / "published" / "key-v0.pem").symlink_to("gone.pem")
    assert [key.kid for key in keys.public_keys()] == ["key-v1"] and keys.signing_key().kid == "key-v1"


def test_concurrent_rotations_are_serialized(files: Files) -> None:
    keys = files()
    keys.generate()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: files().rotate(), range(6)))
    assert sorted(made) == [f"key-v{number}" for number in range(2, 8)]
    assert str(keys.signing_key().kid) == "key-v7"
    assert keys.signing_key().as_dict(private=False)["n"] == next(
        key.as_dict(private=False)["n"] for key in keys.public_keys() if key.kid == "key-v7"
    )
    assert [key.retired_at is None for key in keys.published()] == [True] + [False] * 6


def test_keys_stay_in_use_while_files_are_unreadable(files: Files) -> None:
    keys, clock = files(), Clock()
    keys.generate()
    worker = tokens(keys, clock)
    old, good = issue(worker), keys.private_path.read_bytes()
    keys.private_path.write_bytes(good[:200])
    clock.now += 1
    assert worker.verify(issue(worker)).user_id == "u1" and worker.verify(old).user_id == "u1"
    keys.private_path.unlink()
    clock.now += 1
    assert worker.verify(issue(worker)).user_id == "u1"
    keys.private_path.write_bytes(good)
    assert tokens(keys).verify(old).user_id == "u1"


def test_mismatched_key_files_are_refused_by_name(files: Files) -> None:
    keys = files()
    with pytest.raises(KeyFileError, match=r"no key at .*private\.pem.*generate"):
        keys.signing_key()
    with pytest.raises(KeyFileError, match=r"no key at .*private\.pem"):
        keys.rotate()
    write_own_pair(keys, serialization.PrivateFormat.PKCS8)
    keys.private_path.write_bytes(keys.public_path.read_bytes())
    with pytest.raises(KeyFileError, match="holds a public key"):
        keys.signing_key()
    write_own_pair(keys, serialization.PrivateFormat.PKCS8)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    keys.public_path.write_bytes(
        other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(KeyFileError, match="not one pair"):
        keys.rotate()
    keys.public_path.write_text("nonsense")
    with pytest.raises(KeyFileError, match=r"public\.pem holds no RSA key"):
        tokens(keys)


@pytest.mark.parametrize(
    ("mode", "is_mounted", "is_found_exposed"),
    [
        *((0o600, False, False), (0o440, False, True), (0o604, False, True)),
        *((0o440, True, False), (0o640, True, False), (0o460, True, True), (0o444, True, True)),
    ],
)
def test_mounted_private_key_may_be_read_by_its_group(
    tmp_path: Path, mode: int, is_mounted: bool, is_found_exposed: bool
) -> None:
    """A mounted secret belongs to another user, root."""
    key = tmp_path / "private.pem"
    key.touch()
    key.chmod(mode)
    owner = key.stat().st_uid
    assert is_exposed(key.stat(), owner + 1 if is_mounted else owner) is is_found_exposed
