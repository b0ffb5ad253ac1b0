"""REDIS_URL: its forms, its mistakes, users and TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import settings as configuration
from adapters.redis_pipeline import RedisPipeline
from services.operations import startup
from settings import Settings, SettingsError
from testing.debian_programs import certificate
from testing.ports import free_port
from testing.redis_servers import running_servers, tcp_name

SECRET = "p@ss:w/ord"


def load(url: str, **others: Any) -> Settings:
    return configuration.load(None, redis_url=url, **others)


@pytest.mark.parametrize(
    ("url", "nodes", "kind", "name", "login", "tls"),
    [
        ("redis://cache", [("cache", 6379)], "server", "", None, False),
        ("redis://[::1]:7000/0", [("::1", 7000)], "server", "", None, False),
        ("rediss://ada:p%40ss%3Aw%2Ford@cache:6380", [("cache", 6380)], "server", "", ("ada", SECRET), True),
        ("redis://:p@s/s#@cache", [("cache", 6379)], "server", "", (None, "p@s/s#"), False),
        ("redis+sentinel://a,b:1/main", [("a", 26379), ("b", 1)], "sentinel", "main", None, False),
        ("rediss+sentinel://u:p@a/main", [("a", 26379)], "sentinel", "main", ("u", "p"), True),
        ("redis+cluster://a,b:7001,[::1]", [("a", 6379), ("b", 7001), ("::1", 6379)], "cluster", "", None, False),
        ("rediss+cluster://:pw@a", [("a", 6379)], "cluster", "", (None, "pw"), True),
    ],
)
def test_form_of_redis_url_is_read(
    url: str, nodes: list[Any], kind: str, name: str, login: tuple[str | None, str] | None, tls: bool
) -> None:
    found = load(url).redis
    assert found is not None
    assert (list(found.nodes), found.kind, found.primary_name, found.uses_tls) == (nodes, kind, name, tls)
    password = found.password.get_secret_value() if found.password else None
    assert (found.username, password) == (login or (None, None))
    assert password != SECRET or password not in f"{found}{found!r}{load(url)!r}"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("cache:6379", "should be redis://"),
        ("http://cache", "should be redis://"),
        ("redis://a,b", "begin it with redis\\+sentinel"),
        ("redis+sentinel://a,b", "needs the name of the primary"),
        ("redis://cache/3", "only database 0"),
        ("redis+cluster://cache/name", "only database 0"),
        ("redis://cache:99999", "host or port"),
        ("redis://ada@cache", "user without a password"),
        ("redis://a b", "should be redis://"),
    ],
)
def test_mistake_in_redis_url_is_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=f"^REDIS_URL .*{sentence}") as refused:
        load(url)
    assert "ada" not in str(refused.value) and "\n" not in str(refused.value)


def test_redis_url_replaces_the_other_settings() -> None:
    loaded = load("redis://cache:7000", redis_host="other", redis_password="other")
    assert loaded.redis_address == "cache:7000" and loaded.redis is not None and loaded.redis.password is None


async def test_user_and_tls_of_redis_url(tmp_path: Path) -> None:
    """What the product sends is encrypted; a front decrypts it, because the embedded Valkey has no TLS."""
    own, foreign = certificate(tmp_path / "own"), certificate(tmp_path / "foreign")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own, own.with_name("privkey.pem"))
    with running_servers(tmp_path / "servers", 1) as (server,):
        server.client.acl_setuser("ada", enabled=True, passwords=[f"+{SECRET}"], categories=["+@all"], keys=["*"])
        # May neither ask for the role nor for what the server is.
        server.client.acl_setuser(
            "bob", enabled=True, passwords=["+bob"], categories=["+@all", "-@dangerous", "-@admin"], keys=["*"]
        )
        server.client.acl_setuser("default", enabled=True, reset_passwords=True, passwords=["+none"])
        async with tcp_name(server.port, tls) as front:
            where = f"127.0.0.1:{front.port}"
            for user, password in (("ada", "p%40ss%3Aw%2Ford"), ("bob", "bob")):
                right = load(f"rediss://{user}:{password}@{where}", redis_sslrootcert=own)
                await startup.check_redis(right)
                pipeline = RedisPipeline(right)
                assert await pipeline.execute("SET", "written by", user) == "OK"
                await pipeline.link.look()
                await pipeline.close()
            cases: list[tuple[str, dict[str, Any], str]] = [
                (f"rediss://ada:no@{where}", {"redis_sslrootcert": own}, "refuses the password; correct REDIS_URL"),
                (f"rediss://{where}", {"redis_sslrootcert": own}, "needs a password; set REDIS_URL"),
                (f"rediss://ada:no@{where}", {}, "certificate that is not trusted: .*REDIS_SSLROOTCERT"),
                (f"rediss://ada:no@{where}", {"redis_sslrootcert": foreign}, "certificate that is not trusted"),
                (f"rediss://ada:no@localhost:{front.port}", {"redis_sslrootcert": own}, "not trusted: .*ismatch"),
                (f"redis://ada:no@{where}", {}, "does not answer as Redis does without TLS.* rediss://"),
                (
                    f"rediss://ada:no@{where}",
                    {"redis_sslrootcert": tmp_path / "no"},
                    "REDIS_SSLROOTCERT cannot be used",
                ),
            ]
            for url, options, sentence in cases:
                with pytest.raises(startup.Misconfigured, match=sentence) as refused:
                    await startup.check_redis(load(url, **options))
                assert "\n" not in str(refused.value)
        # A server without TLS takes what it gets for a command, which ends where a random byte is a line feed, or not.
        with pytest.raises(startup.StartupError, match=r"with TLS|no answer within .* that uses TLS"):
            await startup.check_redis(load(f"rediss://ada:no@127.0.0.1:{server.port}"))


async def test_unreachable_redis_of_any_form_is_named() -> None:
    where = f"127.0.0.1:{free_port()}"
    for url in (f"redis://{where}", f"redis+sentinel://{where}/a", f"redis+cluster://{where}"):
        with pytest.raises(startup.Unreachable, match=f"Redis at {where}") as refused:
            await startup.check_redis(load(url))
        assert "\n" not in str(refused.value)


async def test_kind_of_redis_url_must_fit(tmp_path: Path) -> None:
    for options, form, sentence in (
        ((), "redis+cluster", "is no cluster; begin REDIS_URL with redis://"),
        (("--cluster-enabled", "yes"), "redis", "begins with redis\\+cluster"),
    ):
        with (
            running_servers(tmp_path / form, 1, *options) as (server,),
            pytest.raises(startup.Misconfigured, match=sentence),
        ):
            await startup.check_redis(load(f"{form}://127.0.0.1:{server.port}"))
