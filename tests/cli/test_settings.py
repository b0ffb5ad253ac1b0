"""Settings that are wrong are one sentence that names each; values are never repeated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

import settings as configuration
from adapters import postgresql
from adapters.turn import Turn
from settings import Settings, SettingsError

ORIGIN = "should be a scheme and a host"
PROXIES = "should be IP addresses and networks, such as 10.0.0.0/8"
SENDER = "should be one address on one line"
HOST = "should be a host name or an IP address, without scheme, port or path"
APPLE_KEY = "-----BEGIN PRIVATE KEY-----\\nMIGT\\n-----END PRIVATE KEY-----"
PROVIDER = "should be a short name of lower-case letters, digits and -, other than google and apple"
ISSUER = "should be the issuer of the discovery document"
UNIT = "should be a whole number and a unit, such as 90s, 15m, 12h or 30d"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("JWT_ACCESS_EXPIRY", "0m", "should be between 30s and 24h"),
        ("JWT_ACCESS_EXPIRY", "1000000000000d", "should be between 30s and 24h"),
        ("JWT_ACCESS_EXPIRY", "1" + "0" * 5000 + "d", "should be between 30s and 24h"),
        ("RECONNECT_GRACE", "0s", "should be between 1s and 5m"),
        ("SEARCH_EXPIRY", "-5m", UNIT),
        ("JWT_REFRESH_EXPIRY", "1.5h", UNIT),
        ("VIDEO_LINK_EXPIRY", "10", UNIT),
        ("CHECKOUT_EXPIRY", "30m", "should be between 1h and 23h"),
        ("CORS_ORIGINS", "*", ORIGIN),
        ("CORS_ORIGINS", "https://app.example.com/", ORIGIN),
        ("CORS_ORIGINS", "https://app.example.com/web", ORIGIN),
        ("CORS_ORIGINS", "learn.example.com", ORIGIN),
        ("APP_URL", "https://app.example.com/", ORIGIN),
        ("APP_URL", "localhost:5503", "should begin with https:// or http://"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", PROXIES),
        ("TRUSTED_PROXIES", "nginx", PROXIES),
        ("TRUSTED_PROXIES", "*", PROXIES),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "write 10.0.0.0/8"),
        ("EMAIL_FROM", "Us\nBcc: all@example.com <us@example.com>", SENDER),
        ("EMAIL_FROM", "Parlance", SENDER),
        ("EMAIL_FROM", "a@example.com, b@example.com", SENDER),
        ("DB_HOST", "postgresql://db", HOST),
        ("DB_HOST", "db1,,db2", HOST),
        ("DB_HOST", "db1,db2:99999", "has a port that is not between 1 and 65535"),
        ("DB_SSLMODE", "on", "should be 'disable', 'allow', 'prefer', 'require', 'verify-ca' or 'verify-full'"),
        ("REDIS_HOST", "redis:6379", HOST),
        ("STORAGE_REGION", "us east", "should match"),
        # Clients get it in answers: an address of its own, whose form is that of a URI.
        ("STORAGE_PUBLIC_URL", "/pictures", "should be an address such as https://files.example.com/pictures"),
        ("STORAGE_PUBLIC_URL", "ftp://files.example.com", "should begin with https:// or http://"),
        ("STORAGE_PUBLIC_URL", "https://files.example.com/my pictures", "without spaces, ? and #"),
        ("STORAGE_PUBLIC_URL", "https://files.example.com/%zz", "should be an address"),
        ("PORT", "99999", "should be less than or equal to 65535"),
        ("OIDC_PROVIDER", "google", PROVIDER),
        ("OIDC_PROVIDER", "Key cloak", PROVIDER),
        ("OIDC_ISSUER", "id.example.com", ISSUER),
        ("GOOGLE_ISSUER", "https://accounts.google.com?x", ISSUER),
        ("GOOGLE_CLIENT_IDS_WEB", "a b", "should be client ids with commas between"),
        ("APPLE_TEAM_ID", "team", "should match"),
        ("APPLE_PRIVATE_KEY", "AuthKey_1.p8", "should be the content of Apple's AuthKey_….p8 file"),
        ("BUS_DIRECTORY", "/tmp/" + 90 * "a", "should be a path of at most 85 bytes"),
    ],
)
def test_setting_out_of_range_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        configuration.load(None, **{name.lower(): value})
    message = str(refused.value)
    assert message.startswith(f"{name} ") and sentence in message and "\n" not in message


def test_public_url_keeps_its_path() -> None:
    for given in ("https://CDN.example.com/p%20/a", "https://CDN.example.com/p%20/a/"):
        assert configuration.load(None, storage_public_url=given).storage_public_url == "https://cdn.example.com/p%20/a"


def test_cors_origins_have_the_form_browsers_send() -> None:
    given = "HTTPS://App.Example.com:443, http://[::1]:3000, capacitor://localhost"
    loaded = configuration.load(None, cors_origins=given)
    assert loaded.cors_origins == ["https://app.example.com", "http://[::1]:3000", "capacitor://localhost"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("JWT_AUDIENCE=caf\u00e9\n".encode("utf-16"), "is not UTF-8 but looks like UTF-16; save it as UTF-8"),
        ("# one\nJWT_AUDIENCE=caf\u00e9\n".encode("latin-1"), "is not UTF-8, as line 2 shows; save it as UTF-8"),
    ],
    ids=["utf-16", "latin-1"],
)
def test_env_file_in_another_encoding_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        configuration.load(file)
    assert str(refused.value) == f"{file} {sentence}"


def test_env_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(SettingsError, match="is a directory, and should be a file"):
        configuration.load(tmp_path / "directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SettingsError, match="cannot be read: Too many levels"):
        configuration.load(tmp_path / "loop")


def test_env_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("JWT_AUDIENCE=caf\u00e9\n", encoding="utf-8-sig")
    assert configuration.load(file).jwt_audience == "caf\u00e9"


def list_problems(**values: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        configuration.load(None, **values).require_services()
    return str(refused.value)


def test_production_needs_an_https_address() -> None:
    production: dict[str, Any] = {"app_env": "production"}
    assert "APP_URL is not set; set it to the https:// address" in list_problems(**production)
    assert "APP_URL is http://app.example.com, and production" in list_problems(
        **production, app_url="http://app.example.com"
    )
    assert "APP_URL" not in list_problems(**production, app_url="https://app.example.com")


def test_rate_limits_are_relaxed_in_development_alone() -> None:
    def factor(**values: Any) -> int:
        return configuration.load(None, **values).rate_limit_factor

    assert factor() == configuration.LOOSE_RATE_LIMIT_FACTOR and factor(rate_limits="strict") == 1
    assert factor(app_env="test") == factor(app_env="production") == 1
    assert factor(app_env="test", rate_limits="loose") == configuration.LOOSE_RATE_LIMIT_FACTOR
    assert "RATE_LIMITS is loose" in list_problems(app_env="production", rate_limits="loose")


@pytest.mark.parametrize("given", ["::1", "[::1]"])
def test_ipv6_hosts_have_brackets_in_urls_alone(given: str) -> None:
    loaded = configuration.load(None, db_host=given, redis_host=given, turn_host=given)
    assert loaded.db_host == loaded.redis_host == loaded.turn_host == "::1"
    assert "@[::1]:5432/" in loaded.database_url and loaded.redis_address == "[::1]:6379"
    stun, turn = (server["urls"] for server in Turn(loaded).ice_servers("u1"))
    assert stun == ["stun:[::1]:3478"]
    assert turn[0] == "turn:[::1]:3478?transport=udp" and turn[2] == "turns:[::1]:5349?transport=tcp"


def test_durations_are_read_with_their_unit() -> None:
    assert Settings.model_validate({"jwt_access_expiry": " 90s "}).jwt_access_expiry == timedelta(seconds=90)


def test_loopback_origins_are_equal_in_development_alone() -> None:
    own, others = "http://localhost:5503", ["http://127.0.0.1:5503", "http://[::1]:5503"]
    development = configuration.load(None)
    assert all(development.is_own_origin(origin) for origin in (own, *others))
    for origin in (
        "http://127.0.0.1:5504",
        "https://127.0.0.1:5503",
        "http://localhost.example.com:5503",
        "null",
        None,
    ):
        assert not development.is_own_origin(origin)
    for env in ("test", "production"):
        strict = configuration.load(None, app_env=env, app_url=own)
        assert strict.is_own_origin(own) and not any(strict.is_own_origin(origin) for origin in others)
    elsewhere = configuration.load(None, app_url="https://app.example.com")
    assert not any(elsewhere.is_own_origin(origin) for origin in (own, *others))


def test_several_database_hosts_have_ports_of_their_own() -> None:
    loaded = configuration.load(None, db_host=" db1, db2:5433,[::1],[fd00::1]:6000", db_port=5434)
    assert loaded.database_hosts == [("db1", 5434), ("db2", 5433), ("::1", 5434), ("fd00::1", 6000)]
    assert loaded.database_address == "db1:5434,db2:5433,[::1]:5434,[fd00::1]:6000"
    hosts = conninfo_to_dict(postgresql.conninfo(loaded))
    assert (hosts["host"], hosts["port"]) == ("db1,db2,::1,fd00::1", "5434,5433,5434,6000")


def test_identity_providers_are_those_with_client_ids() -> None:
    apple = {"apple_team_id": "TEAM123456", "apple_key_id": "KEY1234567", "apple_private_key": APPLE_KEY}
    loaded = configuration.load(
        None,
        google_client_ids_ios="ios.apps.example, ios-beta.apps.example",
        google_client_ids_web="web.apps.example",
        oidc_provider="keycloak",
        oidc_issuer="https://id.example.com/realms/main/",
        oidc_client_ids_web="parlance",
        oidc_client_secret="hidden",
        oidc_trusts_email="on",
        **apple,
    )
    providers = loaded.identity_providers
    # Apple has a key and no client.
    assert list(providers) == ["google", "keycloak"]
    assert providers["google"].audiences == ("ios.apps.example", "ios-beta.apps.example", "web.apps.example")
    assert providers["google"].web_client_id is None and not providers["google"].trusts_email
    other = providers["keycloak"]
    assert (other.name, other.issuer) == ("Keycloak", "https://id.example.com/realms/main/")
    assert other.web_client_id == "parlance" and other.trusts_email

    loaded = configuration.load(None, apple_client_ids_ios="app.example", apple_client_ids_web="web.example", **apple)
    assert loaded.identity_providers["apple"].web_client_id == "web.example"
    assert "\n" in loaded.apple_private_key.get_secret_value()  # type: ignore[union-attr]
    assert configuration.load(None).identity_providers == {}


def test_identity_provider_that_is_half_configured_is_named() -> None:
    assert "APPLE_KEY_ID is not set; Apple's key needs it" in list_problems(
        apple_client_ids_ios="app.example", apple_team_id="TEAM123456", apple_private_key=APPLE_KEY
    )
    key = {"apple_team_id": "TEAM123456", "apple_key_id": "KEY1234567", "apple_private_key": APPLE_KEY}
    assert "APPLE_CLIENT_IDS_IOS is not set, nor those of Android and the web" in list_problems(**key)
    needs = "GOOGLE_CLIENT_IDS_WEB is not set; GOOGLE_CLIENT_SECRET needs it"
    assert needs in list_problems(google_client_ids_ios="ios.example", google_client_secret="hidden")
    message = list_problems(oidc_client_ids_web="parlance")
    assert "OIDC_PROVIDER is not set" in message and "OIDC_ISSUER is not set" in message
    message = list_problems(oidc_provider="keycloak", oidc_issuer="https://id.example.com")
    assert "OIDC_CLIENT_IDS_WEB is not set, nor those of iOS and Android" in message
    # A client of the web without a secret has ID tokens alone.
    assert "GOOGLE" not in list_problems(google_client_ids_web="web.example")
    for name in ("google_issuer", "apple_issuer", "oidc_issuer"):
        plain = {name: "http://id.example.com"}
        needs = f"{name.upper()} is http://id.example.com, and production needs an https:// address"
        assert needs in list_problems(app_env="production", **plain)
        assert needs not in list_problems(**plain)
